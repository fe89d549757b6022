package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if child, ok := children[os.Getenv(childVariable)]; ok {
		os.Exit(child(os.Args[1:]))
	}
	os.Exit(run(os.Args[1:]))
}

// children are what this program also is: servers and clients that need a
// process of their own, so that their processor time is theirs alone.
var children = map[string]func(args []string) int{"bare": bareMain, "load": loadMain}

const childVariable = "STASIS_BENCH_CHILD"

func run(args []string) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	o := full
	only := flags.String("parts", "", "measure only these parts, separated by commas; without it all but growth: "+partNames())
	flags.IntVar(&o.rounds, "rounds", o.rounds, "rounds; a figure is their median")
	flags.DurationVar(&o.each, "each", o.each, "how long one measurement of a rate lasts")
	flags.DurationVar(&o.limit, "limit", o.limit, "when to give up")
	flags.StringVar(&o.binary, "binary", "", "the program to measure; without it, it is built")
	flags.StringVar(&o.slice, "slice", "", "the real slice of the registry; without it, ../shared/packagist beside the repository")
	flags.StringVar(&o.scratch, "scratch", "", "where to put temporary data; without it, the system's folder for that")
	flags.StringVar(&o.out, "out", "", "the document to write, and beside it the figures of every round as .csv; without it, standard output")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	selected, err := choose(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	o.command = strings.TrimSpace("go run ./integration/bench " + strings.Join(args, " "))
	report, err := measure(ctx, o, selected)
	if report != nil {
		err = errors.Join(err, report.write(o.out))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// options say how much is measured.
type options struct {
	rounds  int
	each    time.Duration
	limit   time.Duration
	binary  string
	slice   string
	scratch string
	out     string
	command string
	scale   scale
}

// scale is how large the sets are.
type scale struct {
	largest      int64    // bytes of the largest archive
	applications []string // the real projects
	jobs         int      // CI jobs at once
	jobsOf       string   // the application they install
	delay        time.Duration
	starts       []fill // data folders to start with
	growth       []int  // packages, each with an archive
}

var full = options{
	rounds: 5, each: 3 * time.Second, limit: time.Hour,
	scale: scale{
		largest: 200 << 20, applications: []string{"laravel-app", "symfony-app", "library"}, jobs: 20, jobsOf: "library", delay: 50 * time.Millisecond,
		starts: []fill{{packages: 20_000, archives: 50_000}, {packages: 350_000, archives: 100_000, small: true}},
		growth: []int{10, 100, 1000, 10_000, 100_000},
	},
}
