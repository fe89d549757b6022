package integration_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/integration/standin"
)

// cpu is the processor time that the program has used, its own and the
// system's on its behalf.
func (d *daemon) cpu() (user, system time.Duration) {
	d.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		d.t.Skip("the system does not tell how much processor time a process used")
	}
	_, fields, _ := strings.Cut(string(stat), ") ")
	var state string
	var n [10]int64
	if _, err := fmt.Sscan(fields, &state, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8], &n[9], &user, &system); err != nil {
		d.t.Fatal(err)
	}
	const tick = 10 * time.Millisecond
	return user * tick, system * tick
}

// BenchmarkDatedAnswer compares a dated document that was asked for before
// with the live one, taking turns.
func BenchmarkDatedAnswer(b *testing.B) {
	s := standin.Start(b, standin.Options{})
	for i := range 60 {
		s.Publish(dated("acme/a", fmt.Sprintf("1.%d.0", i), "2024-01-01T00:00:00Z"))
	}
	d := start(b, s)
	paths := []string{"/p2/acme/a.json", "/snapshot/" + spring + "/p2/acme/a.json"}
	var took [2][]time.Duration
	for b.Loop() {
		for round := range 200 {
			for i, path := range paths {
				begun := time.Now()
				for range 10 {
					if r := d.get(path, "Accept-Encoding", "gzip"); r.StatusCode != http.StatusOK {
						b.Fatalf("%s: %d", path, r.StatusCode)
					}
				}
				if round > 10 {
					took[i] = append(took[i], time.Since(begun)/10)
				}
			}
		}
	}
	median := func(i int) float64 {
		slices.Sort(took[i])
		return float64(took[i][len(took[i])/2]) / 1e3
	}
	b.ReportMetric(median(0), "live-µs")
	b.ReportMetric(median(1), "dated-µs")
	b.ReportMetric(median(1)/median(0), "dated/live")
	b.ReportMetric(0, "ns/op")
}

// long is a document of n versions, an hour apart: real ones where the slice
// is at hand, renumbered.
func long(b testing.TB, n int) (name string, body []byte) {
	base := []standin.Object{standin.Object{}.With("name", "acme/a")}
	name = "acme/a"
	if dir, ok := standin.SliceDir(); ok {
		name = "laravel/framework"
		doc, err := standin.ParseDocument(read(b, filepath.Join(dir, "p2", "laravel", "framework.json")), name)
		if err != nil {
			b.Fatal(err)
		}
		base = doc.Versions
	}
	doc := &standin.Document{Name: name, Top: standin.Object{}.With("minified", "composer/2.0")}
	first := time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := n - 1; i >= 0; i-- {
		v := base[(n-1-i)%len(base)].With("version", fmt.Sprintf("v%d.%d.%d", i/100, i/10%10, i%10))
		v = v.With("version_normalized", fmt.Sprintf("%d.%d.%d.0", i/100, i/10%10, i%10))
		at := first.Add(time.Duration(i) * time.Hour).Format(time.RFC3339)
		doc.Versions = append(doc.Versions, v.With("time", at).With("published-time", at))
	}
	return name, doc.Encode()
}

// BenchmarkFirstDatedAnswer asks for instants of a document of 3,000 versions
// for the first time: the view is decided, written down, made and compressed.
func BenchmarkFirstDatedAnswer(b *testing.B) {
	s := standin.Start(b, standin.Options{})
	name, body := long(b, 3000)
	s.SetDocument(name, body)
	d := start(b, s)
	d.get("/p2/" + name + ".json")
	const asked = 40
	middle := time.Date(2023, 3, 5, 0, 0, 0, 0, time.UTC)
	n, begun := 0, time.Now()
	user, system := d.cpu()
	for b.Loop() {
		for range asked {
			n++
			at := middle.Add(time.Duration(n) * time.Minute).Format(time.RFC3339)
			r := d.get("/snapshot/"+at+"/p2/"+name+".json", "Accept-Encoding", "gzip")
			if r.StatusCode != http.StatusOK || r.Header.Get("X-Snapshot-Fidelity") != "reconstructed" {
				b.Fatalf("%d %v", r.StatusCode, r.Header)
			}
		}
	}
	userThen, systemThen := d.cpu()
	b.ReportMetric(float64((userThen-user+systemThen-system).Milliseconds())/float64(n), "cpu-ms/view")
	b.ReportMetric(float64((userThen-user).Milliseconds())/float64(n), "user-ms/view")
	b.ReportMetric(float64(time.Since(begun).Milliseconds())/float64(n), "ms/view")
	b.ReportMetric(float64(len(body))/1e6, "MB/document")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkViewStorage asks for every document of the real slice at moments a
// week apart, and weighs the data folder before and after. With
// STASIS_VIEW_STORAGE=full it is 400 packages, the real documents under
// further names, at 100 moments: 80,000 views.
func BenchmarkViewStorage(b *testing.B) {
	dir, ok := standin.SliceDir()
	if !ok {
		b.Skip("the real slice of the registry is not beside the repository")
	}
	packages, moments := 0, 10
	if os.Getenv("STASIS_VIEW_STORAGE") == "full" {
		packages, moments = 400, 100
	}
	for b.Loop() {
		s := standin.Start(b, standin.Options{})
		if err := s.LoadSlice(dir); err != nil {
			b.Fatal(err)
		}
		files := widened(b, s, packages)
		d := start(b, s, "PROXY_HOT_SIZE=1MiB", "LOG_LEVEL=error")
		ask := func(world string, to chan<- string) {
			for _, f := range files {
				to <- world + "/p2/" + f + ".json"
			}
		}
		d.fetchAll(func(to chan<- string) { ask("", to) })
		// What the log holds goes into tables when the store is closed.
		d.restart()
		d.stop()
		before := weigh(b, d.env["STORE_PATH"])
		d.start()
		user, system := d.cpu()
		d.fetchAll(func(to chan<- string) {
			for i := range moments {
				ask("/snapshot/"+time.Date(2024, 1, 10, 0, 0, 0, 0, time.UTC).AddDate(0, 0, -7*i).Format(time.RFC3339), to)
			}
		})
		userThen, systemThen := d.cpu()
		d.stop()
		after := weigh(b, d.env["STORE_PATH"])
		views := float64(moments * len(files))
		b.ReportMetric(views, "views")
		b.ReportMetric(float64(before)/1e6, "MB-before")
		b.ReportMetric(float64(after-before)/1e6, "MB-more")
		b.ReportMetric(float64(after-before)/views, "B/view")
		b.ReportMetric(float64((userThen-user+systemThen-system).Microseconds())/1e3/views, "cpu-ms/view")
		b.ReportMetric(0, "ns/op")
	}
}

// widened lists the files of a registry that has the real slice, with as many
// packages as are wanted: real documents go by further names where there are
// too few.
func widened(b *testing.B, s *standin.Server, packages int) (files []string) {
	b.Helper()
	names := s.Names()
	for n := 0; n < max(packages, len(names)); n++ {
		name := names[n%len(names)]
		for _, suffix := range []string{"", "~dev"} {
			file := name + suffix
			if n >= len(names) {
				file = fmt.Sprintf("copy-%d-%s", n/len(names), file)
				body, _ := s.Document(name + suffix)
				s.SetDocument(file, bytes.ReplaceAll(body, []byte(strconv.Quote(name)), []byte(strconv.Quote(strings.TrimSuffix(file, "~dev")))))
			}
			files = append(files, file)
		}
	}
	return files
}

// fetchAll gets every path that all sends, sixteen at a time.
func (d *daemon) fetchAll(all func(chan<- string)) {
	paths := make(chan string)
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			for path := range paths {
				if r, err := d.try(http.MethodGet, path, nil, "Accept-Encoding", "gzip"); err != nil || r.StatusCode != http.StatusOK {
					d.t.Errorf("%s: %v", path, err)
				}
			}
		})
	}
	all(paths)
	close(paths)
	work.Wait()
}

// weigh adds up the files of a stopped Stasis.
func weigh(tb testing.TB, dir string) int64 {
	total := int64(0)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.Contains(e.Name(), "ballast") {
			return err
		}
		info, err := e.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return total
}
