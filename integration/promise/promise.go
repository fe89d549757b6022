// Package promise is how a test of the fault suite says what became of a promise of docs/reliability.md.
//
// The suite is not a program of its own but a set of ordinary tests, here and beside what they test. They run shortened
// wherever tests are run, and in full with STASIS_FAULTS=full: the same code with larger numbers. Each reports what it did
// and saw; "make faults" runs them all and makes a table of the reports.
package promise

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// Full reports whether the long form of the suite was asked for.
func Full(t testing.TB) bool {
	t.Helper()
	switch how := os.Getenv("STASIS_FAULTS"); how {
	case "full":
		return true
	case "", "short":
		return false
	default:
		t.Fatalf("STASIS_FAULTS is %q; it can be short or full", how)
		return false
	}
}

// Rounds chooses a number by the form that was asked for.
func Rounds[N any](t testing.TB, short, full N) N {
	t.Helper()
	if Full(t) {
		return full
	}
	return short
}

// Report is what one test says of one promise.
type Report struct {
	Promise string `json:"promise"` // its name on the page, such as F4
	Did     string `json:"did"`     // what was done
	Rounds  int    `json:"rounds"`  // how often
	Lost    int    `json:"lost"`    // of what had been promised to somebody
	Seen    string `json:"seen"`    // by the client meanwhile
	Alert   string `json:"alert"`   // the kind that tells an operator, as the test saw it raised
	Metric  string `json:"metric"`  // the metric that tells, as the test saw it move
	Figure  string `json:"figure"`  // what was measured

	Test   string `json:"test"`
	Full   bool   `json:"full"`
	Failed bool   `json:"failed"`
}

// Kept reports r when the test ends, whatever its end. The name is a reminder: a test that fails says so by itself.
func Kept(t testing.TB, r Report) {
	t.Helper()
	r.Test, r.Full = t.Name(), Full(t)
	t.Logf("%s: %s: %d rounds, %d lost; clients: %s; alert: %s; metric: %s; %s", r.Promise, r.Did, r.Rounds, r.Lost, r.Seen, r.Alert, r.Metric, r.Figure)
	name := os.Getenv("STASIS_FAULTS_RESULTS")
	if name == "" {
		return
	}
	t.Cleanup(func() {
		r.Failed = t.Failed()
		if err := add(name, r); err != nil {
			t.Errorf("the report for %s is lost: %v", r.Promise, err)
		}
	})
}

// add appends a line to a file that tests of several packages write at once.
func add(name string, r Report) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("STASIS_FAULTS_RESULTS: %w", err)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
