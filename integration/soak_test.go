package integration_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/integration/load"
	"stasis/integration/promise"
	"stasis/integration/standin"
)

// soak is everything that clients ask for in ordinary life, at a fixed rate, while upstream moves and fails.
type soak struct {
	*storm // the public packages and what is true of them
	d      *daemon
	fixed  []item // of dated views and private packages: always these bytes
	secret string // the Authorization of whoever may read private packages

	asking   sync.Mutex        // guards what follows
	drawn    *rand.Rand        // of the requests; the storm's own is for what upstream does
	modified map[string]string // package to a Last-Modified it was served with
	held     map[string]bool   // archives that were served whole once
	cold     [2]int            // requests for what was not held: all, and those that failed
	once     int               // archives that are asked for once
}

// next draws a request. Half of them are conditional.
func (k *soak) next(int) load.Request {
	k.asking.Lock()
	defer k.asking.Unlock()
	n := k.drawn.IntN(100)
	switch name := k.names[k.drawn.IntN(len(k.names))]; {
	case n < 50 && k.modified[name] != "":
		return k.document(name, k.modified[name])
	case n < 70:
		return k.document(name, "")
	case n < 72:
		return k.archive(k.another())
	case n < 85:
		k.mu.Lock()
		path := k.fetch[k.drawn.IntN(len(k.fetch))]
		k.mu.Unlock()
		return k.archive(path)
	case n < 87:
		return k.request("/packages.json", func(r *http.Response) error {
			_, err := whole(r)
			return err
		})
	}
	it := k.fixed[k.drawn.IntN(len(k.fixed))]
	return k.request(it.path, it.check)
}

func (k *soak) request(path string, check func(*http.Response) error) load.Request {
	h := http.Header{"User-Agent": {"Composer/2.5.5 (Linux; 6.1; PHP 8.2.0; cURL 7.88.1)"}}
	if strings.Contains(path, "acme-corp/") {
		h.Set("Authorization", k.secret)
	}
	return load.Request{URL: k.d.url + path, Header: h, Check: check}
}

// whole is the body of a 200.
func whole(r *http.Response) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %.200s", r.StatusCode, body)
	}
	return body, err
}

// document asks for a package, all of which have been served before: it must come, in a state that upstream had.
func (k *soak) document(name, since string) load.Request {
	r := k.request("/p2/"+name+".json", func(r *http.Response) error {
		if since != "" && r.StatusCode == http.StatusNotModified {
			return nil
		}
		body, err := whole(r)
		if err != nil {
			return err
		}
		if !k.rightDocument(name, &reply{Response: r, body: body}) {
			return fmt.Errorf("%d bytes that upstream never had: %.200s", len(body), body)
		}
		k.asking.Lock()
		defer k.asking.Unlock()
		k.modified[name] = r.Header.Get("Last-Modified")
		return nil
	})
	if since != "" {
		r.Header.Set("If-Modified-Since", since)
	}
	return r
}

// archive asks for one that may not be held yet, and then may fail, but never be wrong.
func (k *soak) archive(path string) load.Request {
	k.mu.Lock()
	sum, held := k.sums[path], k.held[path]
	k.mu.Unlock()
	return k.request(path, func(r *http.Response) error {
		hash := sha256.New()
		n, err := io.Copy(hash, r.Body)
		switch {
		case err == nil && r.StatusCode == http.StatusOK && hex.EncodeToString(hash.Sum(nil)) != sum:
			return fmt.Errorf("%d wrong bytes", n)
		case held && err != nil:
			return err
		case held && r.StatusCode != http.StatusOK:
			return fmt.Errorf("%d though it is held", r.StatusCode)
		case !slices.Contains([]int{200, 404, 502, 503, 504}, r.StatusCode):
			return fmt.Errorf("%d", r.StatusCode)
		}
		k.asking.Lock()
		defer k.asking.Unlock()
		whole := err == nil && r.StatusCode == http.StatusOK
		if !held {
			k.cold[0]++
		}
		if whole && strings.Contains(path, "/storm/") {
			k.held[path] = true
		} else if !whole {
			k.cold[1]++
		}
		return nil
	})
}

// another is an archive that nobody has asked for yet, nor will again: others have to go for it.
func (k *soak) another() string {
	name := func(n int) string { return fmt.Sprintf("once/p%d", n) }
	p := k.s.Publish(standin.Release{Name: name(k.once), Version: "1.0.0", Size: 100_000})
	path := "/dist-proxy/" + name(k.once) + "/1.0.0.0/" + p.Reference + ".zip"
	k.mu.Lock()
	k.sums[path] = digest(p.Archive)
	k.mu.Unlock()
	if k.once++; k.once > 100 {
		k.s.RemoveArchive(name(k.once-100), standin.MadeReference(name(k.once-100), "1.0.0", ""))
	}
	return path
}

// mishaps are what befalls upstream, one after the other, with calm between them.
func mishaps(s *standin.Server) []func() {
	fault := func(f standin.Fault) func() { return func() { s.Fault("*", f) } }
	return []func(){
		s.Down, s.ArchivesDown, func() { s.Hang("*") },
		fault(standin.Status(503)), fault(standin.Status(429, "Retry-After", "1")), fault(standin.Status(404)),
		fault(standin.Delay(300 * time.Millisecond)), fault(standin.Drip(20_000, 100*time.Millisecond)),
		func() { s.Fault("/p2/*", standin.Afresh(standin.Drip(100, 100*time.Millisecond))) },
		fault(standin.CutAt(1500, standin.Reset)), fault(standin.CutAt(20_000, standin.Short)), fault(standin.CutAt(700, standin.Unknown)),
		fault(standin.HTML()), fault(standin.Garbage()), fault(standin.NoCentralDirectory()),
	}
}

// sample is what the program takes of the machine at a moment.
type sample struct{ memory, goroutines, descriptors int }

func (s sample) String() string {
	return fmt.Sprintf("%d MiB, %d goroutines, %d descriptors", s.memory>>10, s.goroutines, s.descriptors)
}

// typical is the median of each.
func typical(list []sample) sample {
	median := func(of func(sample) int) int {
		var all []int
		for _, s := range list {
			all = append(all, of(s))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return sample{median(func(s sample) int { return s.memory }), median(func(s sample) int { return s.goroutines }), median(func(s sample) int { return s.descriptors })}
}

// TestASoakOfMixedLoadWhileFaultsComeAndGo is promise L7. Every body is checked. What was served once must come, whatever
// befalls upstream; what was not may fail. The mishaps go round several times: the first round, with a restart, warms up, and
// what the program takes of the machine in the last is compared with the second. Flat means: the median of the resident memory
// that is the program's own grows by no more than a tenth and 16 MiB, those of goroutines and descriptors by a tenth and 20;
// the files of the store are not among them, whose number follows the size of the cache.
func TestASoakOfMixedLoadWhileFaultsComeAndGo(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("this system does not tell the memory of another process")
	}
	s := standin.Start(t, standin.Options{Chunked: true})
	k := &soak{storm: newStorm(t, s, 30), modified: map[string]string{}, held: map[string]bool{}, drawn: rand.New(rand.NewPCG(21, 22))}
	d := prepare(t, s, append([]string{"PROXY_METADATA_TTL=2", "PROXY_STALE_WHILE_REVALIDATE=1", "PROXY_REVALIDATE_WAIT=1", "PROXY_UPSTREAM_TIMEOUT=3",
		"PROXY_NEGATIVE_TTL=1", "PROXY_FEED_INTERVAL=1", "PROXY_HOT_SIZE=8MiB", "PROXY_MAX_CACHE_SIZE=" + promise.Rounds(t, "48MB", "300MB"), "PROXY_CLEANUP_INTERVAL=5"}, withGit...)...)
	k.d = d
	socket, err := net.Listen("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if d.socket, err = socket.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	defer d.socket.Close()
	d.start()
	k.settleIn(t)

	all := mishaps(s)
	length, rounds, rate := promise.Rounds(t, 2*time.Minute, 30*time.Minute), promise.Rounds(t, 3, 6), promise.Rounds(t, 150, 300)
	ended := make(chan *load.Result, 1)
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256}
	defer transport.CloseIdleConnections()
	go func() {
		ended <- load.Run(t.Context(), load.Plan{Rate: rate, For: length, Transport: transport, Next: k.next})
	}()
	samples := k.weather(t, all, length, rounds)
	r := <-ended

	if r.Failed > 0 {
		t.Errorf("%d of %d requests failed, the first: %v", r.Failed, r.Sent, r.First)
	}
	if k.cold[0] == 0 || k.cold[1] == k.cold[0] {
		t.Errorf("%d of %d requests for what was not held failed", k.cold[1], k.cold[0])
	}
	round := len(samples) / rounds
	before, after := typical(samples[round:2*round]), typical(samples[len(samples)-round:])
	if after.memory > before.memory*11/10+16<<10 || after.goroutines > before.goroutines*11/10+20 || after.descriptors > before.descriptors*11/10+20 {
		t.Errorf("it grows: %s in the second round of mishaps, %s in the last", before, after)
	}
	metric := d.told(t, "upstream_failure", "stasis_alert_events_total", `kind="upstream_failure"`) + d.failures()
	d.stop()
	if out, err := d.run("verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	promise.Kept(t, promise.Report{
		Promise: "L7", Did: fmt.Sprintf("%s of mixed load at %d requests a second, %d faults coming and going, a restart", length, rate, len(all)),
		Rounds: r.Sent, Lost: r.Failed, Seen: "every body right; no error for what was served once", Alert: "upstream_failure", Metric: metric,
		Figure: fmt.Sprintf("%s; %d of %d requests for what was not held failed; in the second round of faults %s, in the last %s", r, k.cold[1], k.cold[0], before, after),
	})
}

// settleIn lets every package be served once, public and private, and opens a dated view.
func (k *soak) settleIn(t testing.TB) {
	t.Helper()
	r := newRepository(t)
	r.commit("composer.json", `{"name":"acme-corp/billing"}`, "src/Invoice.php", "<?php")
	r.git("tag", "v1.0.0")
	k.d.addGit(r, "acme-corp/*")
	k.secret = "Basic " + base64.StdEncoding.EncodeToString([]byte("token:"+k.d.token(map[string]any{"name": "soak", "role": "read"})))
	fix := func(path string) []byte {
		r := k.d.get(path, "Authorization", k.secret)
		if r.StatusCode != http.StatusOK || r.err != nil {
			t.Fatalf("%s: %d %v %.200s", path, r.StatusCode, r.err, r.body)
		}
		k.fixed = append(k.fixed, item{path: path, digest: digest(r.body), size: len(r.body)})
		return r.body
	}
	private := "/p2/acme-corp/billing.json"
	doc, err := standin.ParseDocument(fix(private), "acme-corp/billing")
	if err != nil {
		t.Fatal(err)
	}
	v := version(t, doc, "v1.0.0")
	dist := object(t, v, "dist")
	link := expand(dist.Text("url"), "acme-corp/billing", v, dist.Text("reference"), dist.Text("type"))
	fix(strings.TrimPrefix(link, k.d.url))
	if r := k.d.get(private); r.StatusCode == http.StatusOK {
		t.Fatal("a private package is public")
	}
	at := k.d.observe(k.names...)
	for _, name := range k.names {
		fix("/snapshot/" + at + "/p2/" + name + ".json")
	}
	for _, path := range k.fetch {
		if r := k.d.get(path); r.StatusCode != http.StatusOK || digest(r.body) != k.sums[path] {
			t.Fatalf("%s: %d", path, r.StatusCode)
		}
		k.held[path] = true
	}
}

// weather makes the mishaps come and go in rounds, each as long as the calm after it, and upstream publish meanwhile. It
// returns what the program took of the machine, sampled as often in each.
func (k *soak) weather(t testing.TB, all []func(), length time.Duration, rounds int) (out []sample) {
	t.Helper()
	tick := time.NewTicker(length / time.Duration(6*rounds*len(all)))
	defer tick.Stop()
	for i := range rounds * len(all) {
		if i == len(all)/2 {
			k.d.restart()
		}
		all[i%len(all)]()
		for j := range 6 {
			if j == 3 {
				k.s.Heal()
				if err := k.s.Up(); err != nil {
					t.Error(err)
				}
			}
			if j == 0 || promise.Full(t) {
				k.publish(k.draw(len(k.names)))
			}
			<-tick.C
			now, err := k.takes()
			if err != nil {
				t.Error(err)
			}
			out = append(out, now)
		}
	}
	return out
}

func (k *soak) takes() (sample, error) {
	anonymous, _ := k.d.resident()
	folder := fmt.Sprintf("/proc/%d/fd", k.d.cmd.Process.Pid)
	entries, err := os.ReadDir(folder)
	if anonymous == 0 {
		err = errors.Join(err, errors.New("the program tells no memory"))
	}
	descriptors := 0
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(folder, e.Name())); err == nil && !strings.HasPrefix(to, k.d.env["STORE_PATH"]) {
			descriptors++
		}
	}
	return sample{anonymous, int(k.d.metric("go_goroutines")), descriptors}, err
}
