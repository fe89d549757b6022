package integration_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"

	"stasis/integration/promise"
	"stasis/integration/standin"
)

// aCut breaks an answer off behind a line of its header, every third time, and otherwise at a place drawn by chance.
func aCut(i int, drawn *rand.Rand) standin.Fault {
	ways := []standin.Ending{standin.Short, standin.Chunk, standin.Reset, standin.Unknown}
	how := ways[i/3%len(ways)]
	if i%3 == 0 {
		return standin.CutWire(standin.HeaderLines(i/12%10), how)
	}
	part := drawn.Float64()
	return standin.CutWire(func(answer []byte) int { return int(part * float64(len(answer))) }, how)
}

// TestTransfersCutAnywhereLeaveNothingBehind breaks documents and archives off in every way a transfer can break off, one
// after the other. The next request heals each, so that upstream never fails often enough in a row to be left alone.
func TestTransfersCutAnywhereLeaveNothingBehind(t *testing.T) {
	s, d := pair(t, hasty...)
	n := promise.Rounds(t, 48, 500)
	drawn := rand.New(rand.NewPCG(1, 2))
	cut, partial := 0, 0
	for i := range n {
		name := fmt.Sprintf("cut/p%d", i)
		p := s.Publish(standin.Release{Name: name, Version: "1.0.0", Size: 30_000, Description: standin.Noise(name, 3000)})
		truth, _ := s.Document(name)
		document := aCut(i, drawn)
		if i%2 == 0 {
			document = plain(document)
		}
		for _, c := range []struct {
			path, upstream string
			fault          standin.Fault
			whole          func(body []byte) bool
		}{
			{"/p2/" + name + ".json", "/p2/" + name + ".json", document, func(body []byte) bool { return essence(t, body, name) == essence(t, truth, name) }},
			{"/dist-proxy/" + name + "/1.0.0.0/" + p.Reference + ".zip", "/" + name + "/legacy.zip/*", aCut(i, drawn), func(body []byte) bool { return bytes.Equal(body, p.Archive) }},
		} {
			rule := s.Fault(c.upstream, c.fault)
			r, err := d.try(http.MethodGet, c.path, nil)
			rule.Remove()
			if rule.Hits() == 0 {
				t.Fatalf("%s was not cut: %v %v", c.path, r, err)
			}
			cut++
			if err == nil && r.err == nil && (r.StatusCode == 500 || r.StatusCode < 500 && !c.whole(r.body)) {
				t.Errorf("%s, cut: %d with %d bytes", c.path, r.StatusCode, len(r.body))
				partial++
			}
			if r = d.get(c.path); r.err != nil || r.StatusCode != 200 || !c.whole(r.body) {
				t.Errorf("%s after the cut: %d with %d bytes %v", c.path, r.StatusCode, len(r.body), r.err)
			}
		}
	}
	metric := d.told(t, "upstream_failure", "stasis_alert_events_total", `kind="upstream_failure"`) + d.failures()
	d.stop()
	if out, err := d.run("verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	promise.Kept(t, promise.Report{
		Promise: "F2", Did: "transfers of documents and archives cut, at header lines and anywhere, in four ways", Rounds: cut, Lost: partial,
		Seen: "502 or a broken transfer, and the whole body at the next request", Alert: "upstream_failure", Metric: metric, Figure: "stasis verify finds nothing",
	})
}

// plain applies f to what is sent to a client that knows no compression.
func plain(f standin.Fault) standin.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Accept-Encoding")
		f(w, r, next)
	}
}

// TestAZipWithoutItsDirectoryIsNeverHandedOut is what GitHub did once: a complete answer whose zip ends before its central
// directory. It is refused while nothing better is held, and afterwards the copy that is held stays.
func TestAZipWithoutItsDirectoryIsNeverHandedOut(t *testing.T) {
	s, d := pair(t, append([]string{"PROXY_ARCHIVE_TTL=0"}, revalidating...)...)
	n := promise.Rounds(t, 10, 100)
	lost := 0
	for i := range n {
		name := fmt.Sprintf("acme/beheaded%d", i)
		// Half of them under a reference that can move, which is asked for again at every request.
		r := standin.Release{Name: name, Version: "1.0.0", Size: int64(1000 + i*20_000)}
		if i%2 == 0 {
			r.Reference, r.Dist = "v1.0", "direct"
		}
		p := s.Publish(r)
		link := d.distURL(name, "1.0.0")
		pattern := "*" + name + "/*"
		rule := s.Fault(pattern, standin.When(func(r *http.Request) bool { return !bytes.HasPrefix([]byte(r.RequestURI), []byte("/repos/")) }, standin.NoCentralDirectory()))
		if r, err := d.try(http.MethodGet, link, nil); err == nil && r.err == nil && r.StatusCode != 502 {
			t.Errorf("%s without its directory: %d with %d bytes", link, r.StatusCode, len(r.body))
			lost++
		}
		if rule.Hits() == 0 {
			t.Fatalf("%s was not asked for", pattern)
		}
		rule.Remove()
		same(t, "the next download", d.get(link).body, p.Archive)
		rule = s.Fault(pattern, standin.NoCentralDirectory())
		for range 3 {
			if r := d.get(link); r.StatusCode != 200 || !bytes.Equal(r.body, p.Archive) {
				t.Errorf("%s, a good copy of which is held: %d with %d bytes", link, r.StatusCode, len(r.body))
				lost++
			}
		}
		if i%2 == 0 {
			eventually(t, "the origin is asked again", func() bool { return rule.Hits() > 0 })
		}
		rule.Remove()
	}
	promise.Kept(t, promise.Report{
		Promise: "F3", Did: "a complete answer with a zip that has no central directory, before and after a good one", Rounds: n, Lost: lost,
		Seen: "502, or the last good copy", Alert: "bad_archive", Metric: d.told(t, "bad_archive", "stasis_alert_events_total", `kind="bad_archive"`),
	})
}
