package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stasis/proxy/upstream"
)

func TestAHostThatKeepsFailingIsLeftAloneForGrowingTimes(t *testing.T) {
	var asked atomic.Int32
	var sick atomic.Bool
	sick.Store(true)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if sick.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	now := newClock()
	c := newClient(t, func(o *upstream.Options) {
		o.Now, o.Retries, o.BreakerFailures, o.BreakerCooldown = now.Now, -1, 3, 10*time.Second
	})
	ask := func() error { _, _, err := get(c, s.URL); return err }

	for range 3 {
		wantKind(t, ask(), upstream.ServerError)
	}
	want := int32(3)
	for _, cooldown := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		cooldown *= time.Second
		if e := wantKind(t, ask(), upstream.Open); e.RetryAfter != cooldown {
			t.Fatalf("left alone for %v, want %v", e.RetryAfter, cooldown)
		}
		state := c.Hosts()[0]
		if state.State != "open" || !state.OpenUntil.Equal(now.Now().Add(cooldown)) || state.LastError == "" {
			t.Fatalf("the status page says %+v", state)
		}
		now.advance(cooldown - 1)
		wantKind(t, ask(), upstream.Open)
		if asked.Load() != want {
			t.Fatalf("an open host was asked: %d requests, want %d", asked.Load(), want)
		}
		now.advance(1)
		if state := c.Hosts()[0].State; state != "half-open" {
			t.Fatalf("after the cool-down the status page says %q", state)
		}
		wantKind(t, ask(), upstream.ServerError) // the probe
		want++
	}

	now.advance(5 * time.Minute)
	sick.Store(false)
	if err := ask(); err != nil {
		t.Fatalf("the host is well: %v", err)
	}
	if state := c.Hosts()[0]; state.State != "closed" || state.Failures != 0 || !state.LastSuccess.Equal(now.Now()) {
		t.Errorf("the status page says %+v", state)
	}
	sick.Store(true)
	for range 3 {
		wantKind(t, ask(), upstream.ServerError)
	}
	if e := wantKind(t, ask(), upstream.Open); e.RetryAfter != 10*time.Second {
		t.Errorf("after recovering, left alone for %v, want the first cool-down again", e.RetryAfter)
	}
}

func TestOneProbeAtATimeFindsOutWhetherAHostHasRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		probe := make(chan int)
		n := newNetwork(t, func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) > 2 {
				w.WriteHeader(<-probe)
				return
			}
			w.WriteHeader(http.StatusBadGateway)
		})
		c := newClient(t, func(o *upstream.Options) {
			o.DialContext, o.Retries, o.BreakerFailures = n.DialContext, -1, 2
		})
		ask := func() error { _, _, err := get(c, "http://registry.test/"); return err }
		wantKind(t, ask(), upstream.ServerError)
		wantKind(t, ask(), upstream.ServerError)
		wantKind(t, ask(), upstream.Open)

		<-time.After(10 * time.Second)
		answer := make(chan error)
		go func() { answer <- ask() }()
		synctest.Wait()
		for range 20 {
			if e := wantKind(t, ask(), upstream.Open); e.RetryAfter <= 0 {
				t.Error("no time to come back was given")
			}
		}
		probe <- http.StatusOK
		if err := <-answer; err != nil {
			t.Error(err)
		}
		if asked.Load() != 3 {
			t.Errorf("asked %d times, want two failures and one probe", asked.Load())
		}
		go func() { answer <- ask() }()
		probe <- http.StatusOK
		if err := <-answer; err != nil {
			t.Errorf("after the probe: %v", err)
		}
	})
}

func TestADeadHostCostsNothingAfterTheFirstFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, nil)
		n.setDown(true)
		c := newClient(t, func(o *upstream.Options) { o.DialContext = n.DialContext })
		start := time.Now()
		wantKind(t, second(get(c, "http://registry.test/")), upstream.Unreachable)
		// The second request is cut short when the host is given up, and says what it met.
		e := wantKind(t, second(get(c, "http://registry.test/")), upstream.Unreachable)
		if e.RetryAfter == 0 {
			t.Error("the host was given up, but the error names no time to come back")
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("giving the host up took %v", took)
		}
		dials, start := n.dialled(), time.Now()
		for range 1000 {
			wantKind(t, second(get(c, "http://registry.test/")), upstream.Open)
		}
		if n.dialled() != dials || dials != 5 {
			t.Errorf("dialled %d times to give the host up and %d times afterwards", dials, n.dialled()-dials)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("1000 refusals waited %v", took)
		}
	})
}

func second(_ int, _ string, err error) error { return err }

func TestAnswersAboutTheRequestDoNotCountAgainstTheHost(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	c := newClient(t, func(o *upstream.Options) { o.BreakerFailures = 2 })
	for range 10 {
		if status, _, err := get(c, s.URL); err != nil || status != 404 {
			t.Fatalf("got %d %v", status, err)
		}
	}
}

func TestOneDocumentThatAlwaysFailsCountsOncePerRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/bad" {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		c := newClient(t, func(o *upstream.Options) { o.DialContext = n.DialContext })
		for range 4 { // twelve failures on the wire, four requests
			wantKind(t, second(get(c, "http://registry.test/bad")), upstream.ServerError)
		}
		if _, _, err := get(c, "http://registry.test/good"); err != nil {
			t.Error(err)
		}
	})
}

func TestACallerWhoGoesAwayIsNotAFailureOfTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered := make(chan struct{})
		n := newNetwork(t, func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				entered <- struct{}{}
				<-r.Context().Done()
			}
		})
		c := newClient(t, func(o *upstream.Options) { o.DialContext, o.BreakerFailures = n.DialContext, 1 })
		for range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error)
			go func() {
				_, err := c.Do(ctx, upstream.Request{URL: "http://registry.test/slow"})
				failed <- err
			}()
			<-entered
			cancel()
			err := <-failed
			wantKind(t, err, upstream.Canceled)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v does not match context.Canceled", err)
			}

			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			go func() { <-entered }()
			_, err = c.Do(ctx, upstream.Request{URL: "http://registry.test/slow"})
			cancel()
			wantKind(t, err, upstream.Timeout)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v does not match context.DeadlineExceeded", err)
			}
		}
		if _, _, err := get(c, "http://registry.test/"); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatIsRememberedAboutHostsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, nil)
		n.setDown(true)
		c := newClient(t, func(o *upstream.Options) { o.DialContext, o.Retries = n.DialContext, -1 })
		for i := range 2 * upstream.MaxHosts {
			wantKind(t, second(get(c, fmt.Sprintf("http://h%d.test/", i))), upstream.Unreachable)
		}
		if got := len(c.Hosts()); got != upstream.MaxHosts {
			t.Errorf("%d hosts are remembered, want %d", got, upstream.MaxHosts)
		}
	})
}

func TestEveryOneOfManyConcurrentFailuresIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		c := newClient(t, func(o *upstream.Options) { o.DialContext = n.DialContext })
		errs := make(chan error)
		for range 200 {
			go func() {
				_, err := c.Do(t.Context(), upstream.Request{URL: "http://registry.test/"})
				errs <- err
			}()
		}
		for range 200 {
			err := <-errs
			var e *upstream.Error
			if !errors.As(err, &e) || (e.Kind != upstream.Open && e.Kind != upstream.Unreachable) {
				t.Fatalf("got %v", err)
			}
		}
		if n.dialled() > 40 {
			t.Errorf("200 requests to a broken host dialled %d times", n.dialled())
		}
	})
}

func TestAnOpenHostIsRefusedWithoutWaitingForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Host == "slow.test" {
				<-release
				return
			}
			w.WriteHeader(http.StatusBadGateway)
		})
		c := newClient(t, func(o *upstream.Options) {
			o.DialContext, o.Concurrency, o.Retries, o.BreakerFailures = n.DialContext, 1, -1, 1
		})
		wantKind(t, second(get(c, "http://sick.test/")), upstream.ServerError)
		done := make(chan error)
		go func() { done <- second(get(c, "http://slow.test/")) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := c.Do(ctx, upstream.Request{URL: "http://sick.test/"})
		wantKind(t, err, upstream.Open)
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
