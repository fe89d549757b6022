package git_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"stasis/private/git"
)

// BenchmarkFirstSync makes all archives of a repository with 1,000 tags, as the first sync of a source
// does, and beside it has git clone the repository and archive the same tags: one after the other, and
// with as many at a time as we have. Both sides are measured in turns, so that what else the machine
// does hits them alike. vs-git is our time as a part of git's: below 1 we are faster.
//
//	go test ./private/git -run '^$' -bench FirstSync -benchtime 3x
func BenchmarkFirstSync(b *testing.B) {
	const tags = 1000
	o := newOrigin(b)
	many(b, o, tags)
	workers := runtime.GOMAXPROCS(0)
	var sync, scan, zip, clone, oneByOne, atOnce time.Duration
	n := 0
	for b.Loop() {
		n++
		r := open(b, newGit(b), o.dir, git.Credentials{})
		sync += timed(func() { synced(b, r) })
		var found git.Scan
		scan += timed(func() {
			var err error
			if found, err = r.Scan(b.Context(), nil); err != nil || len(found.Releases) != tags+1 {
				b.Fatalf("%d releases, %v", len(found.Releases), err)
			}
		})
		zip += timed(func() {
			each(b, workers, found.Releases[:tags], func(rel git.Release) error { return r.Zip(b.Context(), io.Discard, rel) })
		})
		into := filepath.Join(b.TempDir(), "clone.git")
		clone += timed(func() { o.git("clone", "--quiet", "--bare", "--no-local", o.dir, into) })
		archive := func(rel git.Release) error {
			cmd := exec.Command("git", "archive", "--format=zip", strings.TrimPrefix(rel.Ref, "refs/tags/"))
			cmd.Env = append(os.Environ(), "GIT_DIR="+into)
			return cmd.Run() // what it writes is thrown away, as above
		}
		oneByOne += timed(func() { each(b, 1, found.Releases[:tags], archive) })
		atOnce += timed(func() { each(b, workers, found.Releases[:tags], archive) })
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric((sync+scan+zip).Seconds()/(clone+oneByOne).Seconds(), "vs-git")
	b.ReportMetric((sync+scan+zip).Seconds()/(clone+atOnce).Seconds(), "vs-git-parallel")
	per := func(d time.Duration) float64 { return d.Seconds() / float64(n) }
	b.ReportMetric(per(sync), "s-sync")
	b.ReportMetric(per(scan), "s-scan")
	b.ReportMetric(per(zip), "s-zip")
	b.ReportMetric(per(clone), "s-git-clone")
	b.ReportMetric(per(oneByOne), "s-git-archive")
}

func timed(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

func each(b *testing.B, workers int, releases []git.Release, do func(git.Release) error) {
	var group errgroup.Group
	group.SetLimit(workers)
	for _, rel := range releases {
		group.Go(func() error {
			if err := do(rel); err != nil {
				return fmt.Errorf("%s: %w", rel.Ref, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkScanOfTenThousandTags scans a repository with 10,000 tags, each with a composer.json of its
// own, and beside it has git log only list their commits. vs-git-log is our time in times of git's.
//
//	go test ./private/git -run '^$' -bench Scan -benchtime 3x
func BenchmarkScanOfTenThousandTags(b *testing.B) {
	const tags = 10_000
	o := newOrigin(b)
	many(b, o, tags)
	r := mirror(b, o)
	var ours, theirs, unchanged time.Duration
	for b.Loop() {
		ours += timed(func() {
			s, err := r.Scan(b.Context(), nil)
			if err != nil || len(s.Releases) != tags+1 {
				b.Fatalf("%d releases, %v", len(s.Releases), err)
			}
		})
		theirs += timed(func() { o.git("log", "--all", "--format=%H %ct", "--raw", "--no-renames") })
		unchanged += timed(func() { synced(b, r) })
	}
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "vs-git-log")
	b.ReportMetric(unchanged.Seconds()/ours.Seconds(), "unchanged-sync-vs-scan")
}
