//go:build unix

package private_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"stasis/private"
)

// TestOneOfManyPackagesCostsWhatOneOfFewDoes publishes packages, and compares the processor time that each takes.
func TestOneOfManyPackagesCostsWhatOneOfFewDoes(t *testing.T) {
	few, many := costOfPublishing(t, 100), costOfPublishing(t, 1000)
	t.Logf("of 100 packages each takes %s of processor time, of 1000 %s", few, many)
	if many > 2*few {
		t.Errorf("of 100 packages each takes %s of processor time, of 1000 %s", few, many)
	}
}

// costOfPublishing is the processor time for each of n packages.
func costOfPublishing(t *testing.T, n int) time.Duration {
	t.Helper()
	w := newWorld(t)
	var definitions []map[string]any
	for i := range n {
		name := fmt.Sprintf("acme/p%d", i)
		definitions = append(definitions, map[string]any{
			"name": name, "version": "1.0.0", "dist": map[string]string{"type": "zip", "url": "https://example.org/" + name + ".zip"},
		})
	}
	raw, err := json.Marshal(definitions)
	if err != nil {
		t.Fatal(err)
	}
	began := processorTime(t)
	if _, run := w.add(private.Source{Type: private.Inline, Definitions: raw}); run.Counts.Published != n {
		t.Fatalf("published %+v: %s", run.Counts, run.Error)
	}
	took := processorTime(t) - began
	if status, _ := w.get(fmt.Sprintf("/p2/acme/p%d.json", n-1)); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	return took / time.Duration(n)
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
