package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stasis/proxy/upstream"
)

func TestAHeaderThatDoesNotComeEndsTheRequestInTime(t *testing.T) {
	for _, class := range []string{upstream.ClassMetadata, upstream.ClassArchive} {
		t.Run(class, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				n := newNetwork(t, func(_ http.ResponseWriter, r *http.Request) {
					asked.Add(1)
					<-r.Context().Done()
				})
				c := newClient(t, func(o *upstream.Options) { o.DialContext, o.Timeout = n.DialContext, 20*time.Second })
				start := time.Now()
				_, _, err := fetch(c, upstream.Request{URL: "http://registry.test/", Class: class})
				wantKind(t, err, upstream.Timeout)
				if took := time.Since(start); took != 20*time.Second {
					t.Errorf("took %v, want the timeout", took)
				}
				if asked.Load() != 1 {
					t.Errorf("a host that did not answer in time was asked %d times", asked.Load())
				}
			})
		})
	}
}

// trickle answers with one byte at a time.
func trickle(bytes int, pause time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(bytes))
		for range bytes {
			_, _ = io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			select {
			case <-time.After(pause):
			case <-r.Context().Done():
				return
			}
		}
	}
}

func TestADocumentHasOneTimeForAllAndAnArchiveForEverySilence(t *testing.T) {
	for _, c := range []struct {
		class string
		pause time.Duration
		want  upstream.Kind
		after time.Duration
	}{
		{upstream.ClassMetadata, time.Second, 0, 0},
		{upstream.ClassMetadata, 3 * time.Second, upstream.Timeout, 20 * time.Second},
		{upstream.ClassArchive, 19 * time.Second, 0, 0},
		{upstream.ClassArchive, 21 * time.Second, upstream.Timeout, 20 * time.Second},
	} {
		t.Run(fmt.Sprint(c.class, c.pause), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, trickle(10, c.pause))
				client := newClient(t, func(o *upstream.Options) { o.DialContext, o.Timeout = n.DialContext, 20*time.Second })
				start := time.Now()
				_, body, err := fetch(client, upstream.Request{URL: "http://registry.test/", Class: c.class})
				if c.want == 0 {
					if err != nil || len(body) != 10 {
						t.Errorf("%d bytes, %v", len(body), err)
					}
					return
				}
				wantKind(t, err, c.want)
				if took := time.Since(start); took != c.after {
					t.Errorf("took %v, want %v", took, c.after)
				}
			})
		})
	}
}

func TestASlowReaderOfAnArchiveIsNotTheHostsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, trickle(5, 0))
		c := newClient(t, func(o *upstream.Options) { o.DialContext, o.Timeout = n.DialContext, time.Second })
		resp, err := c.Do(t.Context(), upstream.Request{URL: "http://registry.test/", Class: upstream.ClassArchive})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			<-time.After(time.Hour)
			if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := resp.Body.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
	})
}

func TestACallerWhoGoesAwayEndsTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, trickle(10, time.Second))
		c := newClient(t, func(o *upstream.Options) { o.DialContext = n.DialContext })
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := c.Do(ctx, upstream.Request{URL: "http://registry.test/", Class: upstream.ClassArchive})
		if err != nil {
			t.Fatal(err)
		}
		context.AfterFunc(t.Context(), cancel)
		time.AfterFunc(3500*time.Millisecond, cancel)
		_, err = io.ReadAll(resp.Body)
		wantKind(t, err, upstream.Canceled)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v does not match context.Canceled", err)
		}
		if _, again := resp.Body.Read(make([]byte, 1)); again != err { //nolint:errorlint // the very same error
			t.Errorf("the error changed to %v", again)
		}
	})
}

func TestABodyThatNobodyClosesGivesItsSlotBackInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) })
		c := newClient(t, func(o *upstream.Options) { o.DialContext, o.Concurrency = n.DialContext, 1 })
		if _, err := c.Do(t.Context(), upstream.Request{URL: "http://registry.test/"}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := get(c, "http://registry.test/"); err != nil {
			t.Error(err)
		}
	})
}

func TestAConnectionThatIsNeverMadeIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, func(o *upstream.Options) {
			o.Retries = -1
			o.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		})
		wantKind(t, second(get(c, "http://registry.test/")), upstream.Timeout)
	})
}

func TestAnUnwantedBodyThatTricklesDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/end" {
				return
			}
			w.Header().Set("Location", "/end")
			w.WriteHeader(http.StatusFound)
			trickle(100, time.Minute)(w, r)
		})
		c := newClient(t, func(o *upstream.Options) { o.DialContext = n.DialContext })
		start := time.Now()
		if _, _, err := fetch(c, upstream.Request{URL: "http://registry.test/", Class: upstream.ClassArchive}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}
