package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"stasis/proxy/snapshot"
	"stasis/store"
)

const smallManifest = `{"format":"stasis snapshot 1","instant":"2026-03-01T12:00:00Z","options":{"rest":"closed","archives":"eager","advisories":"asof","private":"asof"},` +
	`"files":[{"file":"a/one","kind":"document","document":"00000000000000000000000000000000000000000000000000000000000000aa","at":"2026-03-01T12:00:00Z","fidelity":"exact"},` +
	`{"file":"a/one~dev","kind":"absent","at":"2026-03-01T12:00:00Z","fidelity":"absent"}],` +
	`"archives":[{"package":"a/one","version":"1.0.0.0","reference":"ff","type":"zip","sha256":"00000000000000000000000000000000000000000000000000000000000000bb","size":7}]}`

func TestManifestsAreReadStrictly(t *testing.T) {
	m, err := snapshot.ParseManifest([]byte(smallManifest))
	if err != nil || len(m.Files) != 2 || len(m.Archives) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	for what, change := range map[string][2]string{
		"a space":             {`"files":[`, `"files": [`},
		"an unknown member":   {`"files":[`, `"more":1,"files":[`},
		"a member twice":      {`"size":7`, `"size":6,"size":7`},
		"upper case":          {`"size":7`, `"Size":7`},
		"another format":      {`snapshot 1`, `snapshot 2`},
		"a fraction":          {`"instant":"2026-03-01T12:00:00Z"`, `"instant":"2026-03-01T12:00:00.5Z"`},
		"another zone":        {`"instant":"2026-03-01T12:00:00Z"`, `"instant":"2026-03-01T12:00:00+01:00"`},
		"an option left out":  {`"private":"asof"`, `"private":""`},
		"an unknown option":   {`"eager"`, `"all"`},
		"no such file":        {`"a/one~dev"`, `"a/"`},
		"an upper-case file":  {`"a/one~dev"`, `"a/One~dev"`},
		"disorder":            {`"a/one~dev"`, `"a/a"`},
		"no document":         {`"document":"00000000000000000000000000000000000000000000000000000000000000aa",`, ``},
		"no result":           {`"kind":"document"`, `"kind":"filter"`},
		"no fidelity":         {`"fidelity":"absent"`, `"fidelity":""`},
		"a negative size":     {`"size":7`, `"size":-7`},
		"no digest":           {`bb",`, `",`},
		"no package":          {`"package":"a/one"`, `"package":""`},
		"something behind it": {`"size":7}]}`, `"size":7}]}{}`},
	} {
		bad := bytes.Replace([]byte(smallManifest), []byte(change[0]), []byte(change[1]), 1)
		if bytes.Equal(bad, []byte(smallManifest)) {
			t.Fatalf("%s changes nothing", what)
		}
		if m, err := snapshot.ParseManifest(bad); err == nil {
			t.Errorf("%s is read as %+v", what, m)
		}
	}
}

// FuzzParseManifest holds the reader to its promise: what it accepts has one
// form and therefore one id.
func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(smallManifest))
	f.Add([]byte(`{"format":"stasis snapshot 1"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := snapshot.ParseManifest(body)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil || store.SumDigest(again) != store.SumDigest(body) {
			t.Errorf("it reads %s and writes %s, %v", body, again, err)
		}
	})
}

// FuzzImport feeds changed bundles to the reader: whatever is not a bundle as
// it would be exported is refused and leaves nothing behind.
func FuzzImport(f *testing.F) {
	_, _, good := bundled(f)
	w := newWorld(f)
	f.Add(0, []byte{1})
	f.Add(512, []byte(`{"format":"stasis bundle 1"}`))
	f.Add(1<<20, []byte("behind it"))
	f.Fuzz(func(t *testing.T, at int, patch []byte) {
		bad := bytes.Clone(good)
		if at = min(max(at, 0), len(bad)); at+len(patch) > len(bad) {
			bad = append(bad, make([]byte, at+len(patch)-len(bad))...)
		}
		copy(bad[at:], patch)
		if bytes.Equal(bad, good) {
			return
		}
		_, err := w.snaps.Import(context.Background(), bytes.NewReader(bad), "", "", w)
		if !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%q at %d gives %v", patch, at, err)
		}
		w.wantNothing(t, "a changed bundle")
	})
}
