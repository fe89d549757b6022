package integration_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"

	"stasis/integration/standin"
)

// TestTransfersCutAnywhereLeaveNothingBehind breaks documents and archives off at
// places drawn by chance, in every way a transfer can break off.
func TestTransfersCutAnywhereLeaveNothingBehind(t *testing.T) {
	s, d := pair(t, hasty...)
	const n = 160
	drawn := rand.New(rand.NewPCG(1, 2))
	want := make([][]byte, n)
	documents, archives := make([]*standin.Rule, n), make([]*standin.Rule, n)
	for i := range n {
		name := fmt.Sprintf("cut/p%d", i)
		p := s.Publish(standin.Release{Name: name, Version: "1.0.0", Size: 30_000})
		want[i] = p.Archive
		body, _ := s.Document(name)
		how := standin.Ending(i % 4)
		// Upstream sends documents in gzip, of which this is a part in any case.
		documents[i] = s.Fault("/p2/"+name+".json", standin.CutAt(drawn.IntN(len(standin.Gzip(body))), how))
		archives[i] = s.Fault("/"+name+"/legacy.zip/*", standin.CutAt(drawn.IntN(len(p.Archive)), how))
	}
	limit := make(chan struct{}, 16)
	each := func(what string, fn func(i int, name string) error) {
		t.Helper()
		report(t, what, together(n, func(i int) error {
			limit <- struct{}{}
			defer func() { <-limit }()
			return fn(i, fmt.Sprintf("cut/p%d", i))
		}))
	}
	archive := func(name string) string {
		return "/dist-proxy/" + name + "/1.0.0.0/" + standin.MadeReference(name, "1.0.0", "") + ".zip"
	}
	each("cut documents", func(i int, name string) error {
		r, err := d.try(http.MethodGet, "/p2/"+name+".json", nil)
		documents[i].Remove()
		if err == nil && r.StatusCode < 500 {
			err = fmt.Errorf("%s: %d with %d bytes", name, r.StatusCode, len(r.body))
		}
		return err
	})
	d.restart() // upstream is not known to be in trouble any more
	each("whole documents, cut archives", func(i int, name string) error {
		if r, err := d.try(http.MethodGet, "/p2/"+name+".json", nil); err != nil || r.StatusCode != 200 {
			return fmt.Errorf("%s: the document after the cut: %v %v", name, r, err)
		}
		r, err := d.try(http.MethodGet, archive(name), nil)
		archives[i].Remove()
		if err == nil && r.err == nil && r.StatusCode < 500 {
			return fmt.Errorf("%s: the cut archive: %d with %d bytes", name, r.StatusCode, len(r.body))
		}
		return nil
	})
	d.restart()
	each("whole archives", func(i int, name string) error {
		r, err := d.try(http.MethodGet, archive(name), nil)
		if err != nil || r.StatusCode != 200 || !bytes.Equal(r.body, want[i]) {
			return fmt.Errorf("%s: the archive after the cut: %v %v", name, r, err)
		}
		return nil
	})
	d.stop()
	if out, err := d.run("verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
