package load_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stasis/integration/load"
)

func TestEveryRequestIsSentOnceAndChecked(t *testing.T) {
	var seen atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		_, _ = io.WriteString(w, r.URL.Query().Get("n"))
	}))
	defer server.Close()
	wrong := errors.New("another number")
	result := load.Run(t.Context(), load.Plan{
		Rate: 500, For: 200 * time.Millisecond, Transport: http.DefaultTransport,
		Next: func(n int) load.Request {
			return load.Request{URL: server.URL + "/?n=" + strconv.Itoa(n), Check: func(r *http.Response) error {
				body, err := io.ReadAll(r.Body)
				if err != nil || string(body) != strconv.Itoa(n) || n == 7 {
					return wrong
				}
				return nil
			}}
		},
	})
	if result.Sent != 100 || seen.Load() != 100 || result.Failed != 1 || !errors.Is(result.First, wrong) || !strings.Contains(result.First.Error(), "?n=7") {
		t.Errorf("%d were sent, %d seen; %v, the first: %v", result.Sent, seen.Load(), result, result.First)
	}
}

// TestAStallIsSeenByEveryRequestThatWasDue stalls the server once. A client that waits for its answers would count one
// slow request; here all that were due meanwhile are slow.
func TestAStallIsSeenByEveryRequestThatWasDue(t *testing.T) {
	const stall = 300 * time.Millisecond
	var busy = make(chan struct{}, 1)
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		busy <- struct{}{}
		if n.Add(1) == 20 {
			time.Sleep(stall)
		}
		<-busy
	}))
	defer server.Close()
	result := load.Run(t.Context(), load.Plan{
		Rate: 200, For: time.Second, Transport: http.DefaultTransport,
		Next: func(int) load.Request { return load.Request{URL: server.URL} },
	})
	if result.Failed != 0 {
		t.Fatal(result.First)
	}
	// 60 of the 200 were due during the stall, evenly spread over it.
	if got := result.Quantile(0.85); got < stall/10 {
		t.Errorf("the stall is seen by too few: %v, p85 %v", result, got)
	}
	if got := result.Quantile(1); got < stall*9/10 {
		t.Errorf("nobody saw the whole stall: %v", result)
	}
}

func TestARequestThatFindsNoPlaceHasFailed(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	result := load.Run(t.Context(), load.Plan{
		Rate: 100, For: 100 * time.Millisecond, Transport: http.DefaultTransport, InFlight: 3,
		Next: func(n int) load.Request {
			if n == 9 {
				close(release)
			}
			return load.Request{URL: server.URL}
		},
	})
	if result.Sent != 10 || result.Failed < 6 || result.First == nil {
		t.Errorf("%v, the first: %v", result, result.First)
	}
}
