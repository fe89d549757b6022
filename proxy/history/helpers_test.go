package history_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// fast returns a folder on a memory file system where there is one: what is
// tested here is what is written, not that disks keep it.
func fast(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "history-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func openStore(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), store.Options{
		Path:      dir,
		FreeSpace: func(string) (int64, error) { return 1 << 40, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func recorder(t testing.TB) (*history.History, *clock) {
	t.Helper()
	c := &clock{at("2026-09-01T12:00:00Z")}
	h, err := history.New(openStore(t, fast(t)), c.now)
	if err != nil {
		t.Fatal(err)
	}
	return h, c
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func file(s string) composer.File {
	f, err := composer.ParseFile(s)
	if err != nil {
		panic(err)
	}
	return f
}

// ver is one version of a made document.
type ver struct {
	version, ref    string
	published, time string // RFC 3339, or nothing
	more            string // further members, beginning with a comma
}

func (v ver) object(n composer.Name) composer.Object {
	normalized, err := composer.NormalizeVersion(v.version)
	if err != nil {
		panic(err)
	}
	text := fmt.Sprintf(`{"name":%q,"version":%q,"version_normalized":%q`, n, v.version, normalized)
	text += fmt.Sprintf(`,"source":{"type":"git","url":"https://github.com/%[1]s.git","reference":%[2]q}`, n, v.ref)
	text += fmt.Sprintf(`,"dist":{"type":"zip","url":"https://api.github.com/repos/%[1]s/zipball/%[2]s","reference":%[2]q,"shasum":""}`, n, v.ref)
	if v.time != "" {
		text += fmt.Sprintf(`,"time":%q`, v.time)
	}
	if v.published != "" {
		text += fmt.Sprintf(`,"published-time":%q`, v.published)
	}
	var o composer.Object
	if err := o.UnmarshalJSON([]byte(text + v.more + "}")); err != nil {
		panic(err)
	}
	return o
}

func document(f composer.File, versions ...ver) []byte {
	var list []composer.Object
	for _, v := range versions {
		list = append(list, v.object(f.Name))
	}
	return composer.NewDocument(f.Name, list).Encode()
}

func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// see records that f had the given body and date when it was asked for.
func see(t testing.TB, h *history.History, f composer.File, asked string, modified string, body []byte) history.Change {
	t.Helper()
	o := history.Observation{AskedAt: at(asked), Body: body, Via: history.Demand}
	if modified != "" {
		o.LastModified = httpTime(at(modified))
	}
	return observe(t, h, f, o)
}

// same records that f had not changed when it was asked for.
func same(t testing.TB, h *history.History, f composer.File, asked string) history.Change {
	t.Helper()
	return observe(t, h, f, history.Observation{AskedAt: at(asked), Unchanged: true, Via: history.Poll})
}

func observe(t testing.TB, h *history.History, f composer.File, o history.Observation) history.Change {
	t.Helper()
	c, err := h.Observe(f, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// look decides and lists "version reference" of what is visible.
func look(t testing.TB, h *history.History, f composer.File, when string) (history.Binding, []string) {
	t.Helper()
	b, err := h.Decide(at(when), f)
	if err != nil {
		t.Fatal(err)
	}
	return b, entries(t, h, f, b)
}

func entries(t testing.TB, h *history.History, f composer.File, b history.Binding) []string {
	t.Helper()
	doc, err := h.Materialize(f, b)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	if doc == nil {
		return list
	}
	index, err := doc.Index()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range index {
		list = append(list, v.Pretty+" "+v.SourceReference)
	}
	return list
}
