package remote_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/private/remote"
	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/upstream"
)

// host is a static host: files with dates, asked over real HTTP.
type host struct {
	testing.TB
	srv *httptest.Server

	mu       sync.Mutex // guards the rest
	now      time.Time
	files    map[string]file // by path
	hooks    map[string]http.HandlerFunc
	requests []*http.Request
}

type file struct {
	body     string
	modified time.Time // zero: without a date
}

func newHost(tb testing.TB) *host {
	h := &host{TB: tb, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), files: map[string]file{}, hooks: map[string]http.HandlerFunc{}}
	h.srv = httptest.NewUnstartedServer(h)
	h.srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.srv.Start()
	tb.Cleanup(h.srv.Close)
	return h
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.requests = append(h.requests, r.Clone(context.Background()))
	hook := h.hooks[r.URL.Path]
	f, ok := h.files[r.URL.Path]
	h.mu.Unlock()
	switch {
	case hook != nil:
		hook(w, r)
	case !ok:
		http.NotFound(w, r)
	default:
		f.serve(w, r)
	}
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	if !f.modified.IsZero() {
		date := f.modified.UTC().Format(http.TimeFormat)
		w.Header().Set("Last-Modified", date)
		if r.Header.Get("If-Modified-Since") == date {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	_, _ = io.WriteString(w, f.body)
}

// put writes a file; its date is that of the clock.
func (h *host) put(path, body string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.files[path] = file{body, h.now}
}

// replace writes a whole site.
func (h *host) replace(files map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.files
	h.files = map[string]file{}
	for path, body := range files {
		if f := old[path]; f.body == body {
			h.files[path] = f
		} else {
			h.files[path] = file{body, h.now}
		}
	}
}

func (h *host) drop(path string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.files, path)
}

// hook answers requests for a path otherwise; nil as usual again.
func (h *host) hook(path string, f http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hooks[path] = f
}

func (h *host) advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func (h *host) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// asked returns the requests for paths that contain part, and forgets them all.
func (h *host) asked(part string) (list []*http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.requests {
		if strings.Contains(r.URL.Path, part) {
			list = append(list, r)
		}
	}
	h.requests = nil
	return list
}

// wantAsked fails unless just so many requests were made since the last look.
func (h *host) wantAsked(part string, n int) {
	h.Helper()
	list := h.asked(part)
	if len(list) != n {
		var urls []string
		for _, r := range list {
			urls = append(urls, r.URL.String())
		}
		h.Errorf("%d requests for %q, want %d: %v", len(list), part, n, urls)
	}
}

// repository is the one under test, at an address below the host.
type repository struct {
	*remote.Repository
	h    *host
	logs bytes.Buffer
}

func (h *host) repository(address string, change ...func(*remote.Options)) *repository {
	h.Helper()
	client, err := upstream.New(upstream.Options{
		UserAgent: "Stasis test", Timeout: 10 * time.Second, Retries: -1, AllowedHosts: []string{"127.0.0.1"}, BreakerFailures: 1000,
	})
	if err != nil {
		h.Fatal(err)
	}
	r := &repository{h: h}
	o := remote.Options{URL: h.srv.URL + address, Client: client, Now: h.Now, Logger: slog.New(slog.NewTextHandler(&r.logs, nil))}
	for _, f := range change {
		f(&o)
	}
	if r.Repository, err = remote.New(o); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(r.Close)
	h.Cleanup(client.CloseIdleConnections)
	return r
}

// observe asks about a file of which nothing is recorded.
func (r *repository) observe(f string) history.Observation {
	r.h.Helper()
	return r.again(f, history.State{})
}

func (r *repository) again(f string, prev history.State) history.Observation {
	r.h.Helper()
	obs, err := r.Observe(r.h.Context(), mustFile(f), prev)
	if err != nil {
		r.h.Fatalf("%s: %v", f, err)
	}
	return obs
}

// fails asks about a file and returns why there was no answer.
func (r *repository) fails(f string, prev history.State) error {
	r.h.Helper()
	obs, err := r.Observe(r.h.Context(), mustFile(f), prev)
	if err == nil {
		r.h.Fatalf("%s: got %s", f, describe(obs))
	}
	return err
}

// recorded is what history makes of an observation.
func recorded(o history.Observation) history.State {
	return history.State{
		Seq: 1, Document: [32]byte{1}, Checked: o.AskedAt, LastConfirmed: o.AskedAt, Ever: true,
		LastModified: o.LastModified, ETag: o.ETag,
	}
}

func describe(o history.Observation) string {
	switch {
	case o.Unchanged:
		return "unchanged"
	case o.Body == nil:
		return "absent"
	}
	return fmt.Sprintf("%.500s", o.Body)
}

func mustFile(s string) composer.File {
	f, err := composer.ParseFile(s)
	if err != nil {
		panic(err)
	}
	return f
}

// versions reads the document of f: pretty versions in their order, and whole
// versions by them.
func versions(tb testing.TB, f string, o history.Observation) (order []string, byVersion map[string]map[string]any) {
	tb.Helper()
	file := mustFile(f)
	doc, err := composer.ParseDocument(o.Body, file.Name)
	if err != nil {
		tb.Fatalf("%s: %v: %s", f, err, describe(o))
	}
	byVersion = map[string]map[string]any{}
	for _, v := range doc.Expanded() {
		var whole map[string]any
		text, err := v.MarshalJSON()
		if err == nil {
			err = json.Unmarshal(text, &whole)
		}
		if err != nil {
			tb.Fatal(err)
		}
		order = append(order, fmt.Sprint(whole["version"]))
		byVersion[order[len(order)-1]] = whole
	}
	return order, byVersion
}

// wantVersions fails unless a document has just these versions.
func (r *repository) wantVersions(f, want string) {
	r.h.Helper()
	if order, _ := versions(r.h, f, r.observe(f)); strings.Join(order, " ") != want {
		r.h.Errorf("%s has the versions %v, want %s", f, order, want)
	}
}

func (r *repository) wantAbsent(f string) {
	r.h.Helper()
	if o := r.observe(f); o.Body != nil || o.Unchanged {
		r.h.Errorf("%s is there: %s", f, describe(o))
	}
}

// unusable fails unless err says that an answer cannot be used.
func unusable(tb testing.TB, err error, want string) {
	tb.Helper()
	var u interface{ Unavailable() bool }
	if !errors.As(err, &u) || !u.Unavailable() || !strings.Contains(err.Error(), want) {
		tb.Errorf("got %v, want an unusable answer: %s", err, want)
	}
}

func toJSON(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return b.String()
}

func sha1Of(s string) string   { return fmt.Sprintf("%x", sha1.Sum([]byte(s))) }
func sha256Of(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

type object = map[string]any

// release is a version as repositories list it.
func release(name, version string, more ...object) object {
	v := object{"name": name, "version": version, "dist": object{"type": "zip", "url": "https://example.org/" + version + ".zip", "reference": version}}
	for _, m := range more {
		for key, value := range m {
			v[key] = value
		}
	}
	return v
}
