package upstream_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stasis/proxy/upstream"
)

func TestAFailureThatPassesIsRetried(t *testing.T) {
	for _, status := range []int{408, 425, 429, 500, 502, 503, 504, 507} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				n := newNetwork(t, func(w http.ResponseWriter, _ *http.Request) {
					if asked.Add(1) < 3 {
						w.WriteHeader(status)
						return
					}
					_, _ = io.WriteString(w, "well again")
				})
				c := newClient(t, func(o *upstream.Options) { o.DialContext = n.DialContext })
				got, body, err := get(c, "http://registry.test/p2/a/b.json")
				if err != nil || got != 200 || body != "well again" || asked.Load() != 3 {
					t.Errorf("got %d %q %v after %d requests", got, body, err, asked.Load())
				}
			})
		})
	}
}

func TestRetriesAreBounded(t *testing.T) {
	for retries, want := range map[int]int32{-1: 1, 0: 3, 1: 2, 4: 5} {
		t.Run(fmt.Sprint(retries), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				n := newNetwork(t, func(w http.ResponseWriter, _ *http.Request) {
					asked.Add(1)
					w.WriteHeader(http.StatusBadGateway)
				})
				c := newClient(t, func(o *upstream.Options) { o.DialContext, o.Retries = n.DialContext, retries })
				start := time.Now()
				_, _, err := get(c, "http://registry.test/")
				if e := wantKind(t, err, upstream.ServerError); e.Status != 502 {
					t.Errorf("the error says %d", e.Status)
				}
				if asked.Load() != want {
					t.Errorf("asked %d times, want %d", asked.Load(), want)
				}
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestOnlyGETAndHEADAreRetried(t *testing.T) {
	for method, want := range map[string]int32{"GET": 3, "HEAD": 3, "POST": 1, "PUT": 1, "DELETE": 1} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				n := newNetwork(t, func(w http.ResponseWriter, _ *http.Request) {
					asked.Add(1)
					w.WriteHeader(http.StatusBadGateway)
				})
				c := newClient(t, func(o *upstream.Options) { o.DialContext = n.DialContext })
				_, _, err := fetch(c, upstream.Request{Method: method, URL: "http://registry.test/", Body: bodyFor(method)})
				wantKind(t, err, upstream.ServerError)
				if asked.Load() != want {
					t.Errorf("asked %d times, want %d", asked.Load(), want)
				}
			})
		})
	}
}

func bodyFor(method string) []byte {
	if method == "POST" || method == "PUT" {
		return []byte(`{"downloads":[]}`)
	}
	return nil
}

func TestARequestBodyArrives(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s %d %s", r.Method, r.Header.Get("Content-Type"), r.ContentLength, body)
	})
	_, got, err := fetch(newClient(t, nil), upstream.Request{
		Method: "POST", URL: s.URL, Body: []byte("packages[]=a/b"), Class: upstream.ClassAPI,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	})
	if want := "POST application/x-www-form-urlencoded 14 packages[]=a/b"; err != nil || got != want {
		t.Errorf("got %q %v, want %q", got, err, want)
	}
}

func TestAConnectionThatBreaksIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		n := newNetwork(t, func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) < 3 {
				panic(http.ErrAbortHandler)
			}
		})
		c := newClient(t, func(o *upstream.Options) { o.DialContext = n.DialContext })
		if _, _, err := get(c, "http://registry.test/"); err != nil || asked.Load() != 3 {
			t.Errorf("%v after %d requests", err, asked.Load())
		}
	})
}

func TestAShortRetryAfterIsWaitedOut(t *testing.T) {
	for _, form := range []string{"seconds", "date"} {
		t.Run(form, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var first time.Time
				n := newNetwork(t, func(w http.ResponseWriter, _ *http.Request) {
					if !first.IsZero() {
						return
					}
					first = time.Now()
					value := "2"
					if form == "date" {
						value = first.Add(2 * time.Second).UTC().Format(http.TimeFormat)
					}
					w.Header().Set("Retry-After", value)
					w.WriteHeader(http.StatusTooManyRequests)
				})
				c := newClient(t, func(o *upstream.Options) { o.DialContext = n.DialContext })
				start := time.Now()
				if _, _, err := get(c, "http://registry.test/"); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took < 2*time.Second || took > 3*time.Second {
					t.Errorf("waited %v, want two seconds and a little", took)
				}
			})
		})
	}
}

func TestALongRetryAfterIsRememberedForTheHost(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header http.Header
		wait   time.Duration
	}{
		"429 with seconds":         {429, http.Header{"Retry-After": {"60"}}, time.Minute},
		"503 with seconds":         {503, http.Header{"Retry-After": {"60"}}, time.Minute},
		"429 with a date":          {429, http.Header{"Retry-After": {"Wed, 01 Jul 2026 12:01:00 GMT"}}, time.Minute},
		"429 with a year":          {429, http.Header{"Retry-After": {"31536000"}}, 5 * time.Minute},
		"GitHub's spent quota":     {403, http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"1782907260"}}, time.Minute},
		"GitHub's secondary limit": {403, http.Header{"Retry-After": {"60"}}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			limited := true
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				if limited {
					for k, v := range c.header {
						w.Header()[k] = v
					}
					w.WriteHeader(c.status)
				}
			})
			now := newClock()
			client := newClient(t, func(o *upstream.Options) { o.Now = now.Now })
			_, _, err := get(client, s.URL)
			var e *upstream.Error
			if !errors.As(err, &e) || e.RetryAfter != c.wait || e.Status != c.status {
				t.Fatalf("got %v, want to be told to wait %v", err, c.wait)
			}
			now.advance(c.wait - time.Second)
			_, _, err = get(client, s.URL)
			if e := wantKind(t, err, upstream.RateLimited); e.RetryAfter != time.Second {
				t.Errorf("told to wait %v more, want 1s", e.RetryAfter)
			}
			if state := client.Hosts()[0]; state.State != "rate-limited" || !state.OpenUntil.Equal(now.Now().Add(time.Second)) {
				t.Errorf("the status page says %+v", state)
			}
			if asked.Load() != 1 {
				t.Errorf("asked %d times, want once", asked.Load())
			}
			limited = false
			now.advance(time.Second)
			if _, _, err := get(client, s.URL); err != nil {
				t.Errorf("after the wait: %v", err)
			}
		})
	}
}

func TestAForbiddenAnswerWithoutAQuotaIsAnAnswer(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Remaining", "12")
		w.Header().Set("X-RateLimit-Reset", "4102444800")
		w.WriteHeader(http.StatusForbidden)
	})
	if status, _, err := get(newClient(t, nil), s.URL); err != nil || status != 403 {
		t.Errorf("got %d %v", status, err)
	}
}

func TestCodeloadsBadRequestIsAskedOnceMoreOnAFreshConnection(t *testing.T) {
	for _, c := range []struct {
		name, host, proto string
		bad               int // bad answers in a row
		status, asked     int
	}{
		{"one bad answer", "codeload.github.com", "HTTP/2.0", 1, 200, 2},
		{"two bad answers", "codeload.github.com", "HTTP/2.0", 2, 400, 2},
		{"one bad answer over HTTP/1.1", "codeload.github.com", "HTTP/1.1", 1, 200, 2},
		{"another host", "archives.test", "HTTP/2.0", 1, 400, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var remotes []string
			w := newWorld(t, c.proto == "HTTP/2.0", func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != c.proto {
					t.Errorf("%s is spoken, want %s", r.Proto, c.proto)
				}
				if r.URL.Path == "/warm" {
					return
				}
				remotes = append(remotes, r.RemoteAddr)
				if len(remotes) <= c.bad {
					w.WriteHeader(http.StatusBadRequest)
				}
			})
			client := newClient(t, w.options)
			for _, path := range []string{"/warm", "/a/b/legacy.zip/1"} {
				status, _, err := fetch(client, upstream.Request{URL: "https://" + c.host + path, Class: upstream.ClassArchive})
				if err != nil || (path != "/warm" && status != c.status) {
					t.Fatalf("got %d %v, want %d", status, err, c.status)
				}
			}
			if len(remotes) != c.asked {
				t.Fatalf("asked %d times, want %d", len(remotes), c.asked)
			}
			if c.asked == 2 && remotes[0] == remotes[1] {
				t.Error("the second request came over the same connection")
			}
		})
	}
}
