package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// The columns of the table of growth.
const (
	fillRate     = "packages filled in, 1/s"
	hotP50       = "metadata p50, ms"
	hotP99       = "metadata p99, ms"
	archiveP50   = "archives p50, ms"
	archiveP99   = "archives p99, ms"
	resident     = "resident, MB"
	fillGC       = "GC while filling, % of CPU"
	serveGC      = "GC while serving, % of CPU"
	written      = "written per byte held"
	occupied     = "disk per byte held"
	restarted    = "ready again, ms"
	metadataRate = 500. // requests per second of the open loop
	archiveRate  = 100.
)

// growth lets one Stasis grow by clients' requests alone, and looks at it at
// every size.
func growth(ctx context.Context, b *bench, s *section) (err error) {
	s.title = "Growth"
	s.about = fmt.Sprintf("One Stasis, filled by clients through its own addresses: each package is a real document of at most %d versions and a real archive under another name. "+
		"At each size up to 5,000 packages, spread over all, are asked for in turn: their documents %.0f times and their archives %.0f times a second, on open loops. "+
		"\"Written\" is what the process gave the disk to write, compaction and logs included, and \"held\" the bytes of documents and archives as they came; documents are held compressed. Garbage collection is what `GODEBUG=gctrace=1` tells.",
		modestly, metadataRate, archiveRate)
	m, err := b.multitude("")
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	m.origin = "http://" + ln.Addr().String()
	origin := &http.Server{Handler: m}
	go func() { _ = origin.Serve(ln) }()
	defer join(&err, origin.Close)
	g := &grower{bench: b, many: m, table: s.table("Size by size", "each column in its unit", fillRate, hotP50, hotP99, archiveP50, archiveP99, resident, fillGC, serveGC, written, occupied, restarted)}
	if g.dir, err = b.folder("data"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(g.dir)) }()
	for _, n := range b.scale.growth {
		if err := g.to(ctx, n); err != nil {
			return fmt.Errorf("%d packages: %w", n, err)
		}
	}
	for _, n := range bends {
		s.note("%s", n)
	}
	s.plot("Latency at a fixed arrival rate", "growth-latency.svg", "ms", g.table, hotP50, hotP99, archiveP50, archiveP99)
	s.plot("Resident memory", "growth-memory.svg", "MB", g.table, resident)
	s.plot("Garbage collection", "growth-gc.svg", "% of CPU", g.table, fillGC, serveGC)
	s.plot("Disk", "growth-disk.svg", "bytes per byte held", g.table, written, occupied)
	return nil
}

// bends are what bends the curves, and what is done about it.
var bends = []string{
	"Metadata: as long as all that is asked for fits into `PROXY_HOT_SIZE` (128 MiB), answers are ready bytes. Beyond that a document is read from the database, decompressed, rewritten and compressed anew, which is what bends the curve. " +
		"Only the encoding that is asked for is made, and the plain body is not kept beside it, so that about ten times as many documents fit.",
	"Archives: small ones that are asked for often are sent from memory, the others from the log of the database where they lie, by the kernel where their chunks were checked before. Their number does not matter.",
	"Memory is what ready answers may take, the database's own caches and logs in memory, and about 250 bytes for each archive; so it levels off with the first and then grows with the last. " +
		"The collector is told a limit for the heap, so that its share falls when the heap is large.",
	"Disk: documents are compressed, while each version has a record of its own that says where its archive was to be had and when; with few packages the logs that are reserved ahead are most of it.",
	"Written: everything goes into a log first and into tables later, and tables are merged as they grow in number. Archives are written once and never merged, so that the ratio stays small however many there are.",
}

// grower is one Stasis and what was brought into it.
type grower struct {
	*bench
	many  *multitude
	table *table
	dir   string

	packages int   // so far
	held     int64 // bytes of their documents and archives
	written  int64 // bytes given to the disk
}

// to grows to n packages and measures.
func (g *grower) to(ctx context.Context, n int) error {
	row := strconv.Itoa(n)
	if err := g.grow(ctx, n, row); err != nil {
		return err
	}
	used, err := diskUse(ctx, g.dir)
	if err != nil {
		return err
	}
	g.table.add(row, occupied, float64(used)/float64(g.held))
	g.table.add(row, written, float64(g.written)/float64(g.held))
	return g.look(ctx, n, row)
}

func (g *grower) start(ctx context.Context) (*stasis, error) {
	return g.stasis(ctx, anyCore, g.many.origin, g.dir, unlimited, "GODEBUG=gctrace=1")
}

// grow lets clients ask for everything that is new.
func (g *grower) grow(ctx context.Context, n int, row string) (err error) {
	our, err := g.start(ctx)
	if our != nil {
		defer join(&err, our.stop)
	}
	if err != nil {
		return err
	}
	if err := our.quiet(); err != nil {
		return err
	}
	began, before := time.Now(), g.packages
	group, filling := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := before; i < n && filling.Err() == nil; i++ {
		group.Go(func() error {
			for _, path := range []string{g.many.metadataPath(i), g.many.archivePath(i)} {
				a, err := get(filling, our.url+path)
				if err != nil {
					return err
				}
				if a.status != http.StatusOK {
					return fmt.Errorf("GET %s: status %d", path, a.status)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	took := time.Since(began)
	for i := before; i < n; i++ {
		archive, err := g.many.archive(i, false)
		if err != nil {
			return err
		}
		g.held += int64(len(g.many.document(i)) + len(archive))
	}
	g.packages = n
	g.table.add(row, fillRate, float64(n-before)/took.Seconds())
	out, err := our.written()
	if err != nil {
		return err
	}
	g.written += out
	return g.collected(our, row, fillGC)
}

// look starts it again, and asks for what it holds.
func (g *grower) look(ctx context.Context, n int, row string) (err error) {
	began := time.Now()
	our, err := g.start(ctx)
	if our != nil {
		defer join(&err, our.stop)
	}
	if err != nil {
		return err
	}
	g.table.add(row, restarted, milliseconds(time.Since(began)))
	chosen := spread(5000, n)
	documents, err := g.paths("documents", chosen, g.many.metadataPath)
	if err != nil {
		return err
	}
	archives, err := g.paths("archives", chosen, g.many.archivePath)
	if err != nil {
		return err
	}
	for range g.rounds {
		hot, err := g.load(ctx, "-rate", fmt.Sprint(metadataRate), "-lasts", g.each.String(), "-header", "Accept-Encoding: gzip", "-paths", documents, our.url)
		if err != nil {
			return err
		}
		g.table.add(row, hotP50, milliseconds(hot.P50))
		g.table.add(row, hotP99, milliseconds(hot.P99))
		large, err := g.load(ctx, "-rate", fmt.Sprint(archiveRate), "-lasts", g.each.String(), "-paths", archives, our.url)
		if err != nil {
			return err
		}
		g.table.add(row, archiveP50, milliseconds(large.P50))
		g.table.add(row, archiveP99, milliseconds(large.P99))
	}
	rss, err := our.status("VmRSS")
	if err != nil {
		return err
	}
	g.table.add(row, resident, float64(rss)/1e6)
	return g.collected(our, row, serveGC)
}

// paths writes a list of paths for the open-loop client.
func (g *grower) paths(name string, chosen []int, path func(int) string) (string, error) {
	var list strings.Builder
	for _, i := range chosen {
		list.WriteString(path(i) + "\n")
	}
	file := filepath.Join(g.bench.dir, name+"-"+strconv.Itoa(g.packages))
	return file, os.WriteFile(file, []byte(list.String()), 0o600)
}

// traced is a line of GODEBUG=gctrace=1: times of the phases, in processor time.
var traced = regexp.MustCompile(`^gc \d+ @.* ms clock, ([\d.+/]+) ms cpu,`)

// collected notes how much of the processor time went into garbage collection.
func (g *grower) collected(our *stasis, row, column string) error {
	f, err := os.Open(our.log)
	if err != nil {
		return err
	}
	defer f.Close()
	var spent float64 // milliseconds
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if times := traced.FindStringSubmatch(lines.Text()); times != nil {
			for part := range strings.FieldsFuncSeq(times[1], func(r rune) bool { return r == '+' || r == '/' }) {
				ms, err := strconv.ParseFloat(part, 64)
				if err != nil {
					return fmt.Errorf("a line of the garbage collector's trace: %w", err)
				}
				spent += ms
			}
		}
	}
	used, err := our.cpu()
	if err != nil {
		return err
	}
	g.table.add(row, column, 100*spent/max(milliseconds(used), 1))
	return lines.Err()
}

// written is how many bytes the process gave the disk to write.
func (s *stasis) written() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "write_bytes:"); ok {
			return strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/io does not tell what was written", s.cmd.Process.Pid)
}

// diskUse is what a folder takes on the disk.
func diskUse(ctx context.Context, dir string) (int64, error) {
	out, err := exec.CommandContext(ctx, "du", "-s", "--block-size=1", dir).Output()
	if err != nil {
		return 0, fmt.Errorf("du %s: %w", dir, err)
	}
	return strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
}
