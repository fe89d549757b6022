package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
)

func TestMain(m *testing.M) {
	if child, ok := children[os.Getenv(childVariable)]; ok {
		os.Exit(child(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// small is everything that is measured, for a moment each.
var small = options{
	rounds: 1, each: 200 * time.Millisecond, limit: 4 * time.Minute,
	scale: scale{
		largest: 2 << 20, applications: []string{"tiny"}, jobs: 2, jobsOf: "tiny", delay: time.Millisecond,
		starts: []fill{{packages: 60, archives: 40}, {packages: 120, archives: 80, small: true}},
		growth: []int{10, 100},
	},
}

// TestEveryPartMeasures runs all of the benchmarks at a small scale: every part
// comes to its end, every figure that a goal is about was measured, and the
// report is written with its figures and plots.
func TestEveryPartMeasures(t *testing.T) {
	if missing := missingTools(); len(missing) > 0 {
		if os.Getenv("STASIS_REQUIRE_COMPOSER") == "1" {
			t.Fatalf("not installed: %s", strings.Join(missing, ", "))
		}
		t.Skipf("not installed: %s", strings.Join(missing, ", "))
	}
	o := small
	o.slice = sliceWithTinyProject(t)
	o.scratch, o.out, o.command = t.TempDir(), filepath.Join(t.TempDir(), "report.md"), "test"
	ctx, cancel := context.WithTimeout(t.Context(), o.limit)
	defer cancel()
	r, err := measure(ctx, o, parts)
	if r == nil || err != nil {
		t.Fatal(err)
	}
	for _, s := range r.sections {
		t.Logf("%s took %s", s.name, s.took.Round(time.Millisecond))
		if len(s.tables) == 0 || len(s.goals) == 0 && s.name != "growth" {
			t.Errorf("%s has %d tables and %d goals", s.name, len(s.tables), len(s.goals))
		}
		for _, g := range s.goals {
			if len(g.values) == 0 {
				t.Errorf("%s: %s was not measured", s.name, g.text)
			}
		}
	}
	if err := r.write(o.out); err != nil {
		t.Fatal(err)
	}
	report, err := os.ReadFile(o.out)
	if err != nil || !strings.Contains(string(report), "| tiny |") {
		t.Errorf("the report cannot be right: %v\n%s", err, report)
	}
	figures, err := os.ReadFile(filepath.Join(filepath.Dir(o.out), "report.csv"))
	if err != nil || bytes.Count(figures, []byte("\n")) < 50 {
		t.Errorf("the figures are not in the CSV: %v\n%s", err, figures)
	}
	plots, err := filepath.Glob(filepath.Join(filepath.Dir(o.out), "*.svg"))
	if err != nil || len(plots) == 0 {
		t.Errorf("there are no plots: %v", err)
	}
	if left, err := os.ReadDir(o.scratch); err != nil || len(left) > 0 {
		t.Errorf("%d folders were left behind: %v", len(left), err)
	}
}

// sliceWithTinyProject is the slice with one project, which requires one package.
func sliceWithTinyProject(t *testing.T) string {
	t.Helper()
	real, ok := standin.SliceDir()
	if !ok {
		t.Skip("the real slice of the registry (../shared/packagist) is not beside the repository")
	}
	slice := t.TempDir()
	for _, folder := range []string{"p2", "zipball"} {
		if err := os.CopyFS(filepath.Join(slice, folder), os.DirFS(filepath.Join(real, folder))); err != nil {
			t.Fatal(err)
		}
	}
	tiny := filepath.Join(slice, "projects", "tiny")
	if err := os.MkdirAll(tiny, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tiny, "composer.json"), []byte(`{"require": {"psr/log": "*"}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	return slice
}

func TestMediansAndRatiosAreTakenRoundByRound(t *testing.T) {
	s := &section{}
	tab := s.table("t", "1", "a", "b")
	for _, pair := range [][2]float64{{10, 10}, {100, 50}, {9, 3}} { // the machine was fast in the second round
		tab.add("row", "a", pair[0])
		tab.add("row", "b", pair[1])
	}
	if got := median(tab.ratio("row", "a", "b")); got != 2 {
		t.Errorf("the ratio is %v, want 2: the median of 1, 2 and 3", got)
	}
	s.atLeast("ratio", 2, "×", tab.ratio("row", "a", "b"))
	s.atMost("ratio", 1.9, "×", tab.ratio("row", "a", "b"))
	s.atLeast("nothing", 0, "×", nil)
	for i, want := range []bool{true, false, false} {
		if s.goals[i].met() != want {
			t.Errorf("goal %d is met: %v, want %v", i, !want, want)
		}
	}
}

// TestOpenLoopCountsFromWhenARequestWasDue is what the client is for: a stall
// of the server is felt by every request that falls into it.
func TestOpenLoopCountsFromWhenARequestWasDue(t *testing.T) {
	s := standin.Start(t, standin.Options{})
	s.Publish(standin.Release{Name: "acme/lib", Version: "1.0.0"})
	s.FaultTimes("/p2/*", 1, standin.Delay(300*time.Millisecond))
	l := loader{rate: 100, connections: 1, lasts: 400 * time.Millisecond}
	got, err := l.run(s.URL()+"/p2/acme/lib.json", "", "", 200)
	if err != nil || got.Failures > 0 || got.Requests < 30 {
		t.Fatalf("%+v, %v", got, err)
	}
	// One slow answer of forty: the closed loop would have a median near zero.
	if got.P50 < 50*time.Millisecond || got.P99 < 250*time.Millisecond {
		t.Errorf("the median is %s and the 99th percentile %s, as if only one request had waited", got.P50, got.P99)
	}
}
