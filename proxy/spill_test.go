package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"stasis/integration/standin"
	"stasis/proxy"
	"stasis/store"
)

// cramped is a rig whose disk is full once it was asked for room some more times.
func cramped(t *testing.T, change ...func(*settings)) (w *rig, fill func(after int64)) {
	t.Helper()
	var room atomic.Int64
	room.Store(1 << 40)
	w = newRig(t, append(change, func(s *settings) {
		s.store.FreeSpace = func(string) (int64, error) {
			if room.Add(-1) < 0 {
				return 1 << 20, nil
			}
			return 1 << 40, nil
		}
		s.store.MinFreeSpace = 1 << 30
	})...)
	return w, room.Store
}

// TestTheRoomEndsInTheMiddle fills the disk while clients are in the middle of an archive: all of them get the whole of it
// from the one download, however fast they read, unless they leave; and one who comes then gets it, too.
func TestTheRoomEndsInTheMiddle(t *testing.T) {
	for _, driver := range []string{store.DriverBadger, store.DriverFiles} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, chunked %t", driver, chunked), func(t *testing.T) {
				w, fill := cramped(t, func(s *settings) { s.store.Archives, s.standin.Chunked = driver, chunked })
				r := w.big(12 << 20)
				w.want(bigDocument, 200, missed)
				half := len(r.Archive)/2 + 1000
				gate := w.up.HoldAfter(bigArchive, half)
				shown := half - proxy.HoldBack - 64<<10
				parts := make([]*http.Response, 5)
				heads := make([][]byte, len(parts))
				together(t, len(parts), func(i int) (err error) {
					if parts[i], err = w.open(bigPath(r)); err != nil {
						return err
					}
					heads[i] = make([]byte, shown)
					_, err = io.ReadFull(parts[i].Body, heads[i])
					return err
				})
				fill(0)
				w.Advance(time.Minute)
				gate.Open()
				// The first leaves; the others read at speeds of their own.
				slow := make(chan error, 1)
				rest := make([][]byte, len(parts))
				go func() { slow <- parts[0].Body.Close() }()
				together(t, len(parts)-1, func(i int) (err error) {
					i++
					rest[i], err = io.ReadAll(&trickle{parts[i].Body, i})
					return errors.Join(err, parts[i].Body.Close())
				})
				if err := <-slow; err != nil {
					t.Error(err)
				}
				for i := range parts[1:] {
					if got := append(heads[i+1], rest[i+1]...); !bytes.Equal(got, r.Archive) {
						t.Errorf("client %d got %d bytes that are not the archive's %d", i+1, len(got), len(r.Archive))
					}
				}
				w.asked(bigArchive, 1)
				if a, err := w.download(bigPath(r)); err != nil || a.cache() != passed || !bytes.Equal(a.body, r.Archive) {
					t.Errorf("one who came later: %v %v", a, err)
				}
				w.p.Settle()
				if n := w.store.Usage().Blobs; n != 0 {
					t.Errorf("%d archives were stored", n)
				}
			})
		}
	}
}

// trickle reads in steps that grow with a number.
type trickle struct {
	io.Reader
	n int
}

func (r *trickle) Read(b []byte) (int, error) { return r.Reader.Read(b[:min(len(b), 300*r.n)]) }

// TestTheRoomEndsAtTheEnd fills the disk when all but the last bytes of an archive are there, so that what fails is keeping it.
func TestTheRoomEndsAtTheEnd(t *testing.T) {
	w, fill := cramped(t)
	r := w.big(1<<20 + 1000)
	w.want(bigDocument, 200, missed)
	gate := w.up.HoldAfter(bigArchive, len(r.Archive)-10)
	resp, err := w.open(bigPath(r))
	if err != nil {
		t.Fatal(err)
	}
	fill(0)
	w.Advance(time.Minute)
	gate.Open()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, r.Archive) {
		t.Errorf("%d of %d bytes, %v", len(got), len(r.Archive), err)
	}
	_ = resp.Body.Close()
	w.p.Settle()
	if n := w.store.Usage().Blobs; n != 0 {
		t.Errorf("%d archives were stored", n)
	}
}

// TestABadArchiveIsNotCompletedWithoutRoomEither: what the store does not check any more is checked by its end and its sum.
func TestABadArchiveIsNotCompletedWithoutRoomEither(t *testing.T) {
	for name, f := range map[string]standin.Fault{
		"no central directory": standin.NoCentralDirectory(), "a cut": standin.CutAt(2<<20, standin.Short), "a cut nobody sees": standin.CutAt(2<<20, standin.Unknown),
	} {
		t.Run(name, func(t *testing.T) {
			w, fill := cramped(t)
			r := w.big(3 << 20)
			w.want(bigDocument, 200, missed)
			w.up.Fault(bigArchive, f)
			w.Advance(time.Minute)
			fill(5) // one to begin, four chunks
			resp, err := w.open(bigPath(r))
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 200 || resp.Header.Get("Cache-Status") == passed {
				t.Fatalf("the client has not begun: %d %s", resp.StatusCode, resp.Header.Get("Cache-Status"))
			}
			if got, err := io.ReadAll(resp.Body); err == nil || len(got) >= len(r.Archive)-proxy.HoldBack {
				t.Errorf("a complete answer, or all but the end: %d of %d bytes, %v", len(got), len(r.Archive), err)
			}
			_ = resp.Body.Close()
		})
	}
}
