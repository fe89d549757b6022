package api_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stasis/api"
)

// gate is a log that accepts nothing until it is opened.
type gate struct {
	open   chan struct{}
	mu     sync.Mutex
	buf    bytes.Buffer
	writes int
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes++
	return g.buf.Write(p)
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.String()
}

func TestLinesKeepTheirOrderAndAreWhole(t *testing.T) {
	g := newGate()
	close(g.open)
	w := api.NewLogWriter(g, nil)
	own, access := slog.New(slog.NewTextHandler(w, nil)), slog.New(slog.NewTextHandler(w.Lossy(), nil))
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range 500 {
				if i%2 == 0 {
					own.Info("x", "from", n, "n", i)
				} else {
					access.Info("x", "from", n, "n", i)
				}
			}
		})
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	next := map[string]int{}
	for l := range strings.Lines(g.String()) {
		_, rest, _ := strings.Cut(l, "from=")
		var from, n int
		if _, err := fmt.Sscanf(rest, "%d n=%d\n", &from, &n); err != nil {
			t.Fatalf("the line %q is torn: %v", l, err)
		}
		if key := fmt.Sprint(from); next[key] != n {
			t.Fatalf("line %d of %d comes where %d was due", n, from, next[key])
		} else {
			next[key]++
		}
	}
	if len(next) != 4 || next["0"] != 500 || next["3"] != 500 || w.Dropped() != 0 {
		t.Errorf("lines by sender %v, dropped %d", next, w.Dropped())
	}
}

func TestAStuckLogNeverHoldsUpAccessLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		w := api.NewLogWriter(g, nil)
		access := w.Lossy()
		line := bytes.Repeat([]byte("a"), 1023)
		line = append(line, '\n')
		for range 2 * api.LogBuffer / len(line) { // twice what there is room for
			if n, err := access.Write(line); n != len(line) || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
		}
		dropped := w.Dropped()
		if dropped == 0 {
			t.Error("nothing was dropped")
		}
		// The program's own line waits instead.
		written := make(chan struct{})
		go func() {
			_, _ = w.Write([]byte("important\n"))
			close(written)
		}()
		synctest.Wait()
		close(g.open)
		<-written
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := uint64(strings.Count(g.String(), "\n")) - 1; got+dropped != uint64(2*api.LogBuffer/len(line)) || !strings.HasSuffix(g.String(), "important\n") {
			t.Errorf("%d lines written and %d dropped; the end is %q", got, dropped, g.String()[g.buf.Len()-20:])
		}
	})
}

func TestAccessLinesWaitForCompanyButNotForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		close(g.open)
		w := api.NewLogWriter(g, nil)
		access := w.Lossy()
		for range 10 {
			_, _ = access.Write([]byte("a\n"))
			<-time.After(time.Millisecond) // of the bubble's own time
		}
		if g.String() != "" {
			t.Errorf("after 10 ms there is %q", g.String())
		}
		<-time.After(50 * time.Millisecond)
		synctest.Wait()
		if got := g.String(); got != strings.Repeat("a\n", 10) || g.writes != 1 {
			t.Errorf("after 60 ms there is %q in %d writes", got, g.writes)
		}
		_, _ = access.Write([]byte("b\n"))
		_, _ = w.Write([]byte("now\n"))
		synctest.Wait()
		if got := g.String(); !strings.HasSuffix(got, "b\nnow\n") {
			t.Errorf("a line of the program's own waits: %q", got)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNothingIsLostAroundClose(t *testing.T) {
	g := newGate()
	close(g.open)
	w := api.NewLogWriter(g, nil)
	_, _ = w.Lossy().Write([]byte("before\n"))
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = w.Write([]byte("after\n"))
	_, _ = w.Lossy().Write([]byte("last\n"))
	if got := g.String(); got != "before\nafter\nlast\n" {
		t.Errorf("the log has %q", got)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("the pipe is broken") }

func TestALogThatCannotBeWrittenIsReportedOnce(t *testing.T) {
	w := api.NewLogWriter(broken{}, nil)
	if n, err := w.Write([]byte("x\n")); n != 2 || err != nil {
		t.Errorf("Write = %d, %v", n, err)
	}
	if err := w.Close(); err == nil || err.Error() != "the pipe is broken" {
		t.Errorf("Close = %v", err)
	}
}
