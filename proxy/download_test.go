package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stasis/integration/standin"
	"stasis/proxy"
)

// big is a release whose archive is many chunks long.
func (w *rig) big(size int64) standin.Published {
	return w.release(standin.Release{Name: "acme/big", Version: "1.0.0", Size: size, Dist: "direct"})
}

func bigPath(r standin.Published) string {
	return "/dist-proxy/acme/big/1.0.0.0/" + r.Reference + ".zip"
}

const (
	bigDocument = "/p2/acme/big.json"
	bigArchive  = "/dl/acme/big/*"
	libArchive  = "/acme/lib/legacy.zip/*"
)

func TestOneFetchHoweverManyClientsWantADocument(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	gate := w.up.Hold("/p2/*")
	go func() {
		// Once upstream has the question, all others can only join it.
		_ = gate.Wait(w.Context(), 1)
		gate.Open()
	}()
	together(t, 200, func(int) error {
		if a := w.get(lib); a.status != 200 || len(a.body) == 0 {
			return fmt.Errorf("got %v", a)
		}
		return nil
	})
	w.asked("/p2/*", 1)
}

func TestAClientThatLeavesDoesNotEndTheFetch(t *testing.T) {
	w := newRig(t)
	w.publish("1.0.0", "")
	gate := w.up.Hold("/p2/*")
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, w.srv.URL+lib, nil)
		resp, err := w.srv.Client().Do(req)
		if err == nil {
			resp.Body.Close()
		}
		left <- err
	}()
	if err := gate.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	leave()
	if err := <-left; err == nil {
		t.Error("the client that left got an answer")
	}
	gate.Open()
	w.await("/p2/*", 1)
	w.want(lib, 200, hit)
	w.asked("/p2/*", 1)
}

func TestOneDownloadHoweverManyClientsWantAnArchive(t *testing.T) {
	w := newRig(t)
	r := w.big(512 << 10)
	w.want(bigDocument, 200, missed)
	gate := w.up.HoldAfter(bigArchive, 256<<10)
	go func() {
		_ = gate.Wait(w.Context(), 1)
		gate.Open()
	}()
	together(t, 200, func(int) error {
		a, err := w.download(bigPath(r))
		if err != nil || a.status != 200 || !bytes.Equal(a.body, r.Archive) {
			return fmt.Errorf("%d bytes of %d, status %d: %w", len(a.body), len(r.Archive), a.status, err)
		}
		return nil
	})
	w.asked(bigArchive, 1)
	if a, err := w.download(bigPath(r)); err != nil || a.cache() != hit || a.header.Get("Etag") == "" || !bytes.Equal(a.body, r.Archive) {
		t.Errorf("from the store: %d %s %v", a.status, a.cache(), err)
	}
	w.asked(bigArchive, 1)
}

func TestClientsReadWhileItIsWritten(t *testing.T) {
	w := newRig(t)
	r := w.big(3 << 20)
	w.want(bigDocument, 200, missed)
	half := len(r.Archive) / 2
	gate := w.up.HoldAfter(bigArchive, half)
	// What the origin has sent reaches everybody before it has finished, but
	// for the end that is held back.
	shown := half - proxy.HoldBack - 64<<10 // what may lie in buffers on the way
	parts := make([]*http.Response, 5)
	together(t, len(parts), func(i int) (err error) {
		if parts[i], err = w.open(bigPath(r)); err != nil {
			return err
		}
		got := make([]byte, shown)
		if _, err := io.ReadFull(parts[i].Body, got); err != nil {
			return err
		}
		if !bytes.Equal(got, r.Archive[:shown]) {
			return errors.New("other bytes")
		}
		if n := parts[i].ContentLength; n != int64(len(r.Archive)) {
			return fmt.Errorf("Content-Length %d", n)
		}
		return nil
	})
	if t.Failed() {
		gate.Open()
		return
	}
	if rec := w.up.Records(bigArchive); len(rec) != 1 || rec[0].Status != 0 {
		t.Errorf("the origin was asked %d times or has finished", len(rec))
	}
	gate.Open()
	// The first client reads no further; the others are not kept waiting.
	together(t, len(parts)-1, func(i int) error {
		rest, err := io.ReadAll(parts[i+1].Body)
		_ = parts[i+1].Body.Close()
		if err == nil && !bytes.Equal(rest, r.Archive[shown:]) {
			err = errors.New("other bytes")
		}
		return err
	})
	rest, err := io.ReadAll(parts[0].Body)
	_ = parts[0].Body.Close()
	if err != nil || !bytes.Equal(rest, r.Archive[shown:]) {
		t.Errorf("the slow client got %d bytes: %v", len(rest), err)
	}
	w.asked(bigArchive, 1)
}

func TestAnArchiveWithoutALength(t *testing.T) {
	w := newRig(t, func(s *settings) { s.standin.Chunked = true })
	r := w.big(1 << 20)
	w.want(bigDocument, 200, missed)
	if a, err := w.download(bigPath(r)); err != nil || !bytes.Equal(a.body, r.Archive) {
		t.Errorf("%d bytes, %v", len(a.body), err)
	}
}

// boundaries are the offsets in a zip at which its parts begin and end.
func boundaries(zip []byte) (list []int) {
	list = append(list, 0, 1, 4, len(zip)-1, len(zip)-22)
	for _, sig := range []string{"PK\x03\x04", "PK\x07\x08", "PK\x01\x02", "PK\x05\x06"} {
		for i := 0; ; i++ {
			k := bytes.Index(zip[i:], []byte(sig))
			if k < 0 {
				break
			}
			i += k
			list = append(list, i, i+4, min(i+30, len(zip)-1))
		}
	}
	return list
}

// TestACutDownloadStoresNothing cuts the origin's answer at many places, in
// every way an answer can end.
func TestACutDownloadStoresNothing(t *testing.T) {
	w := newRig(t, func(s *settings) { s.upstream.BreakerFailures = 1 << 30 })
	r := w.release(standin.Release{Name: "acme/big", Version: "1.0.0", Dist: "direct", Size: 200 << 10})
	w.want(bigDocument, 200, missed)
	offsets := boundaries(r.Archive)
	random := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		offsets = append(offsets, random.IntN(len(r.Archive)))
	}
	for i, n := range offsets {
		how := []standin.Ending{standin.Short, standin.Chunk, standin.Unknown, standin.Reset}[i%4]
		rule := w.up.Fault(bigArchive, standin.CutAt(n, how))
		a, err := w.download(bigPath(r))
		if err == nil && a.status == 200 {
			t.Errorf("cut at %d (%v): the client got a complete 200 of %d bytes", n, how, len(a.body))
		}
		if err == nil && (a.status < 502 || a.status > 504) {
			t.Errorf("cut at %d (%v): %v", n, how, a)
		}
		if len(a.body) == len(r.Archive) {
			t.Errorf("cut at %d (%v): the client got all bytes", n, how)
		}
		if u := w.store.Usage(); u.Blobs != 0 || u.Bytes != 0 {
			t.Fatalf("cut at %d (%v): the store holds %d archives of %d bytes", n, how, u.Blobs, u.Bytes)
		}
		rule.Remove()
	}
	// The next request heals.
	if a, err := w.download(bigPath(r)); err != nil || !bytes.Equal(a.body, r.Archive) {
		t.Errorf("after the cuts: %d, %v", a.status, err)
	}
}

func TestBadArchivesAreRefused(t *testing.T) {
	for fault, f := range map[string]standin.Fault{
		"complete, but without a central directory": standin.NoCentralDirectory(),
		"a page":           standin.HTML(),
		"nothing":          standin.Empty(),
		"one byte changed": standin.FlipByte(),
		"JSON":             standin.Body("application/json", `{"message":"API rate limit exceeded"}`),
	} {
		for _, size := range []int64{0, 600 << 10} {
			t.Run(fmt.Sprintf("%s, %d", fault, size), func(t *testing.T) {
				w := newRig(t)
				r := w.release(standin.Release{Name: "acme/big", Version: "1.0.0", Dist: "direct", Size: size})
				w.want(bigDocument, 200, missed)
				rule := w.up.Fault(bigArchive, f)
				a, err := w.download(bigPath(r))
				if err == nil && (a.status != 502 || a.header.Get("Retry-After") == "") {
					t.Errorf("got %v", a)
				}
				if u := w.store.Usage(); u.Blobs != 0 {
					t.Errorf("%d archives were stored", u.Blobs)
				}
				if len(w.alerted(proxy.AlertBadArchive)) != 1 {
					t.Error("nobody was alerted")
				}
				rule.Remove()
				if a, err := w.download(bigPath(r)); err != nil || !bytes.Equal(a.body, r.Archive) {
					t.Errorf("afterwards: %d, %v", a.status, err)
				}
			})
		}
	}
}

func TestAShasumIsChecked(t *testing.T) {
	w := newRig(t)
	r := w.release(standin.Release{Name: "acme/big", Version: "1.0.0", Dist: "direct", Shasum: true})
	w.want(bigDocument, 200, missed)
	other := standin.Zip(map[string]string{"acme-big-1/x": "other"})
	rule := w.up.Fault(bigArchive, standin.Body("application/zip", string(other)))
	if a, err := w.download(bigPath(r)); err != nil || a.status != 502 || w.store.Usage().Blobs != 0 {
		t.Errorf("other bytes than promised: %v, %v", a, err)
	}
	rule.Remove()
	if a, err := w.download(bigPath(r)); err != nil || !bytes.Equal(a.body, r.Archive) {
		t.Errorf("the promised bytes: %v, %v", a, err)
	}
}

func TestOtherContentUnderTheSameReferenceIsRefused(t *testing.T) {
	w := newRig(t)
	r := w.publish("1.0.0", "")
	w.want(lib, 200, missed)
	path := distPath("1.0.0.0", r.Reference, "zip")
	if a, err := w.download(path); err != nil || a.status != 200 {
		t.Fatalf("%v, %v", a, err)
	}
	if _, err := w.p.Purge(t.Context(), proxy.PurgeRequest{Kind: proxy.KindArchives}); err != nil {
		t.Fatal(err)
	}
	if n := w.store.Usage().Blobs; n != 0 {
		t.Fatalf("%d archives are left after the purge", n)
	}
	w.up.SetArchive("acme/lib", r.Reference, standin.Zip(map[string]string{"acme-lib-x/composer.json": `{"name":"acme/lib"}`, "acme-lib-x/evil.php": "<?php"}))
	a, err := w.download(path)
	if err != nil || a.status != 451 || !strings.Contains(string(a.body), "refuses") {
		t.Errorf("got %v, %v, want 451", a, err)
	}
	if n := w.store.Usage().Blobs; n != 0 {
		t.Errorf("%d archives were stored", n)
	}
	if list := w.alerted(proxy.AlertDigestChanged); len(list) != 1 || list[0].Severity != proxy.SeverityCritical {
		t.Errorf("alerts %+v", list)
	}
	// The first content comes back: it is what was recorded.
	w.up.SetArchive("acme/lib", r.Reference, r.Archive)
	if a, err := w.download(path); err != nil || !bytes.Equal(a.body, r.Archive) {
		t.Errorf("got %v, %v", a, err)
	}
}

func TestARebuiltArchiveIsAccepted(t *testing.T) {
	w := newRig(t)
	r := w.publish("1.0.0", "")
	w.want(lib, 200, missed)
	path := distPath("1.0.0.0", r.Reference, "zip")
	if _, err := w.download(path); err != nil {
		t.Fatal(err)
	}
	if _, err := w.p.Purge(t.Context(), proxy.PurgeRequest{Package: name("acme/lib"), Kind: proxy.KindArchives}); err != nil {
		t.Fatal(err)
	}
	rebuilt := repacked(t, r.Archive)
	if bytes.Equal(rebuilt, r.Archive) {
		t.Fatal("the bytes are the same")
	}
	w.up.SetArchive("acme/lib", r.Reference, rebuilt)
	if a, err := w.download(path); err != nil || !bytes.Equal(a.body, rebuilt) {
		t.Errorf("got %v, %v", a, err)
	}
	if list := w.alerted(proxy.AlertDigestChanged); len(list) != 0 {
		t.Errorf("alerts %+v", list)
	}
	if a, err := w.download(path); err != nil || a.cache() != hit || !bytes.Equal(a.body, rebuilt) {
		t.Errorf("got %v, %v", a, err)
	}
}

func TestWithoutSpaceArchivesArePassedThrough(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 40)
	w := newRig(t, func(s *settings) {
		s.store.FreeSpace = func(string) (int64, error) { return free.Load(), nil }
		s.store.MinFreeSpace = 1 << 30
	})
	r := w.big(1 << 20)
	small := w.publish("1.0.0", "")
	document := w.want(bigDocument, 200, missed)
	w.want(lib, 200, missed)
	free.Store(1 << 20)
	w.Advance(time.Minute)
	for range 2 {
		a, err := w.download(bigPath(r))
		if err != nil || a.status != 200 || a.cache() != passed || !bytes.Equal(a.body, r.Archive) {
			t.Fatalf("got %d %s, %d bytes, %v", a.status, a.cache(), len(a.body), err)
		}
	}
	if a, err := w.download(distPath("1.0.0.0", small.Reference, "zip")); err != nil || a.cache() != passed || !bytes.Equal(a.body, small.Archive) {
		t.Errorf("a small one: %v, %v", a, err)
	}
	if n := w.store.Usage().Blobs; n != 0 {
		t.Errorf("%d archives were stored", n)
	}
	if a := w.want(bigDocument, 200, hit); !bytes.Equal(a.body, document.body) {
		t.Error("documents changed")
	}
	for fault, f := range map[string]standin.Fault{
		"no central directory": standin.NoCentralDirectory(), "a cut nobody sees": standin.CutAt(len(r.Archive)-30, standin.Unknown),
		"a cut": standin.CutAt(300<<10, standin.Short), "a page": standin.HTML(),
	} {
		rule := w.up.Fault(bigArchive, f)
		a, err := w.download(bigPath(r))
		if err == nil && a.status == 200 || len(a.body) >= len(r.Archive)-proxy.HoldBack {
			t.Errorf("%s: got a complete 200, or all but the end: %d bytes of %d, %v", fault, len(a.body), len(r.Archive), err)
		}
		rule.Remove()
	}
	free.Store(1 << 40)
	w.Advance(time.Minute)
	if a, err := w.download(bigPath(r)); err != nil || a.cache() == passed {
		t.Errorf("with space again: %v %v", a.cache(), err)
	}
}
