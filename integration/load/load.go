// Package load sends requests at a fixed rate, whether or not earlier ones were answered, and tells how long each took
// since it was due.
//
// A client that waits for an answer before it asks again sends less to a server that stalls, and so hides the stall (the
// "coordinated omission"). Here a request that could not be sent in time, because the machine or the server was busy, has
// the delay in its figure. The rate is therefore a promise: Result says when it was not kept.
package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Plan is what to send.
type Plan struct {
	Rate int           // requests a second
	For  time.Duration // how long
	// Next makes the request of number n, counted from 0. It is called in order, by one goroutine.
	Next func(n int) Request
	// Transport sends the requests as they are; nothing is followed, decoded or remembered.
	Transport http.RoundTripper
	// InFlight bounds the requests under way, 10,000 if 0: one that is due while so many wait has failed.
	InFlight int
}

// Request is one request and what its answer must be.
type Request struct {
	URL    string
	Header http.Header // may be shared between requests
	// Check says what is wrong with an answer. It may read the body, which is closed afterwards.
	Check func(*http.Response) error
}

// Result tells how it went.
type Result struct {
	Sent, Failed int
	First        error           // of the failures
	Took         time.Duration   // from the first request until the last answer
	times        []time.Duration // of the answered ones, from due to read to the end; sorted
}

// errCrowded is the failure of a request that found too many others waiting.
var errCrowded = errors.New("too many requests wait for their answers")

// Run carries out a plan. It returns when every request was answered, has failed, or ctx ended.
func Run(ctx context.Context, p Plan) *Result {
	var (
		mu     sync.Mutex // guards the result
		wg     sync.WaitGroup
		result = &Result{Sent: int(p.For.Seconds() * float64(p.Rate))}
		places = make(chan struct{}, cmp.Or(p.InFlight, 10_000))
	)
	result.times = make([]time.Duration, 0, result.Sent)
	done := func(took time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			result.times = append(result.times, took)
			return
		}
		if result.Failed++; result.First == nil {
			result.First = err
		}
	}
	began := time.Now()
	for n := range result.Sent {
		due := began.Add(time.Duration(n) * time.Second / time.Duration(p.Rate))
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		if ctx.Err() != nil {
			result.Sent = n
			break
		}
		r := p.Next(n)
		select {
		case places <- struct{}{}:
		default:
			done(0, errCrowded)
			continue
		}
		wg.Go(func() {
			err := send(ctx, p.Transport, r)
			done(time.Since(due), err)
			<-places
		})
	}
	wg.Wait()
	result.Took = time.Since(began)
	slices.Sort(result.times)
	return result
}

func send(ctx context.Context, transport http.RoundTripper, r Request) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return err
	}
	if r.Header != nil {
		req.Header = r.Header
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%s: %w", r.URL, err)
	}
	defer resp.Body.Close()
	if r.Check != nil {
		if err := r.Check(resp); err != nil {
			return fmt.Errorf("%s: %w", r.URL, err)
		}
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("%s: %w", r.URL, err)
	}
	return nil
}

// Quantile is the time within which the part q of the answered requests was answered; 0.99 for the p99. It is 0 when none was.
func (r *Result) Quantile(q float64) time.Duration {
	if len(r.times) == 0 {
		return 0
	}
	return r.times[min(int(q*float64(len(r.times))), len(r.times)-1)]
}

// String is one line of figures.
func (r *Result) String() string {
	return fmt.Sprintf("%d requests in %.1f s, %d failed, p50 %s, p99 %s, p99.9 %s, worst %s", r.Sent, r.Took.Seconds(), r.Failed,
		short(r.Quantile(0.5)), short(r.Quantile(0.99)), short(r.Quantile(0.999)), short(r.Quantile(1)))
}

// short drops digits that no clock here vouches for.
func short(d time.Duration) string {
	if d < time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}
