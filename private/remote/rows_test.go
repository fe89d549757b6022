package remote_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/private/remote"
	"stasis/proxy/composer"
	"stasis/proxy/history"
)

// satis writes what Satis makes of packages: documents that nobody takes away,
// and a root that says which of them count.
func satis(h *host, names ...string) {
	for _, name := range names {
		for path, body := range p2(object{}, map[string][]object{name: {release(name, "1.10")}}) {
			h.put(path, body)
		}
	}
	h.put("/packages.json", toJSON(object{
		"packages": []any{}, "metadata-url": "/p2/%package%.json", "available-packages": names,
		"includes": object{"include/all$gone.json": object{"sha1": "gone"}},
	}))
}

func TestC85RemovedPackagesThatLingerAreNotServed(t *testing.T) {
	h := newHost(t)
	satis(h, "acme/lib", "acme/gone")
	r := h.repository("")
	held := recorded(r.observe("acme/gone"))
	r.wantAbsent("acme/never")
	h.wantAsked("never", 0)

	h.advance(time.Minute)
	satis(h, "acme/lib")
	if o := r.again("acme/gone", held); o.Body != nil || o.Unchanged {
		t.Errorf("the removed package is %s", describe(o))
	}
	r.wantAbsent("acme/gone~dev")
	h.wantAsked("gone", 0)
	r.wantVersions("acme/lib", "1.10")
	names, complete, err := r.Names(t.Context())
	if fmt.Sprint(names, complete, err) != "[acme/lib] true <nil>" {
		t.Errorf("the names are %v %v %v", names, complete, err)
	}
}

func TestC85PatternsOfAvailableNames(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"acme/*", "acme/lib", true}, {"acme/*", "acmex/lib", false}, {"*", "a/b", true}, {"*/lib", "acme/lib", true},
		{"a*/l*b", "acme/lib", true}, {"a*b*c", "a/bc", true}, {"a*b*c", "a/cb", false}, {"acme/lib", "acme/lib", true},
		{"acme/l", "acme/lib", false}, {"*x", "a/x/y", false}, {"a*a", "a", false}, {"**", "a/b", true}, {"", "a/b", false},
	} {
		if got := remote.Matches(c.pattern, c.name); got != c.want {
			t.Errorf("%q fits %q: %v", c.name, c.pattern, got)
		}
	}
	h := newHost(t)
	satis(h, "acme/lib", "other/lib", "third/lib")
	h.put("/packages.json", toJSON(object{
		"metadata-url": "/p2/%package%.json", "available-packages": []string{"Third/Lib"}, "available-package-patterns": []string{"ACME/*"},
	}))
	r := h.repository("")
	r.wantVersions("acme/lib", "1.10")
	r.wantVersions("third/lib", "1.10")
	r.wantAbsent("other/lib")
	if _, complete, err := r.Names(t.Context()); complete || err != nil {
		t.Errorf("names that only fit a pattern are all known: %v", err)
	}
}

// provider writes a repository of hashed files and returns the path of the
// file of acme/lib.
func provider(h *host, version string) string {
	files := forms["hashed"](object{}, map[string][]object{"acme/lib": {release("acme/lib", version)}})
	h.replace(files)
	for path := range files {
		if strings.HasPrefix(path, "/r/p/acme/") {
			return path
		}
	}
	panic("no file")
}

func TestC87AWrongHashIsTriedAgainThenAnError(t *testing.T) {
	h := newHost(t)
	path := provider(h, "1.10")
	r := h.repository("/r")
	wrong := 2
	h.hook(path, func(w http.ResponseWriter, req *http.Request) {
		if wrong--; wrong < 0 {
			h.mu.Lock()
			f := h.files[path]
			h.mu.Unlock()
			f.serve(w, req)
			return
		}
		_, _ = w.Write([]byte(toJSON(object{"packages": object{"acme/lib": []object{release("acme/lib", "6.6.6")}}})))
	})
	r.wantVersions("acme/lib", "1.10")
	h.wantAsked("acme/lib", 3)
	held := recorded(r.observe("acme/lib"))

	// Wrong for ever: an error with a copy and without, and nothing is kept.
	h.asked("")
	wrong = 1 << 20
	h.advance(time.Second)
	unusable(t, r.fails("acme/lib~dev", history.State{}), "SHA-256")
	h.wantAsked("acme/lib", 6) // again under the root as it is now
	if o := r.again("acme/lib", held); !o.Unchanged {
		t.Errorf("what is recorded was made of the right file, got %s", describe(o))
	}
	h.wantAsked("acme/lib", 0)
	wrong = 0
	r.wantVersions("acme/lib", "1.10")
}

func TestC87AWrongIndexIsTriedAgainThenAnError(t *testing.T) {
	h := newHost(t)
	files := forms["hashed"](object{}, map[string][]object{"acme/lib": {release("acme/lib", "1.10")}})
	h.replace(files)
	r := h.repository("/r")
	for path := range files {
		if strings.HasPrefix(path, "/r/p/inner") {
			h.hook(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"providers":[]}`)) })
		}
	}
	unusable(t, r.fails("acme/lib", history.State{}), "SHA-256")
	h.wantAsked("inner", 6)
	unusable(t, r.fails("acme/unknown", history.State{}), "SHA-256")
	h.wantAsked("", 0) // the failure is remembered for a moment
	h.advance(10 * time.Second)
	h.mu.Lock()
	clear(h.hooks)
	h.mu.Unlock()
	r.wantVersions("acme/lib", "1.10")
}

func TestC88AnIndexThatChangesInBetweenIsReadAgain(t *testing.T) {
	one := map[string][]object{"acme/lib": {release("acme/lib", "1.10")}, "acme/tool": {release("acme/tool", "1.10")}}
	two := map[string][]object{"acme/lib": {release("acme/lib", "2")}, "acme/tool": {release("acme/tool", "2")}}
	t.Run("a file of the index we read before", func(t *testing.T) {
		h := newHost(t)
		h.replace(forms["hashed"](object{}, one))
		r := h.repository("/r")
		r.wantVersions("acme/lib", "1.10")
		h.advance(time.Second)
		h.replace(forms["hashed"](object{}, two))
		r.wantVersions("acme/tool", "2")
	})
	for _, form := range []string{"hashed", "includes"} {
		t.Run(form+", a root that a cache still has", func(t *testing.T) {
			h := newHost(t)
			h.replace(forms[form](object{}, one))
			old := h.files["/r/packages.json"]
			old.body = strings.Replace(old.body, "include/outer.json", "include/pruned.json", 1)
			h.advance(time.Hour)
			h.replace(forms[form](object{}, two))
			h.edges("/r/packages.json", old, h.files["/r/packages.json"])
			h.repository("/r").wantVersions("acme/lib", "2")
			h.wantAsked("packages.json", 2)
		})
		t.Run(form+", and never arrives", func(t *testing.T) {
			h := newHost(t)
			files := forms[form](object{}, one)
			for path := range files {
				if path != "/r/packages.json" {
					delete(files, path)
				}
			}
			h.replace(files)
			unusable(t, h.repository("/r").fails("acme/lib", history.State{}), "not the document that the repository's root names")
		})
	}
}

func TestC89AddressesBelowPathsAndWithQueries(t *testing.T) {
	packages := map[string][]object{"acme/lib": {release("acme/lib", "1.10", object{"dist": object{"type": "zip", "url": "d/%version%.zip"}})}}
	document := toJSON(object{"packages": object{"acme/lib": split(packages["acme/lib"], false)}})
	inline := toJSON(object{"packages": object{"acme/lib": keyed(packages["acme/lib"])}})
	for _, c := range []struct{ name, address, root, metadata, file string }{
		{"root-relative, which is the host's", "/sub/dir", "/sub/dir/packages.json", "/p2/%package%.json", "/p2/acme/lib.json"},
		{"root-relative with a path", "/sub/dir/", "/sub/dir/packages.json", "/sub/dir/p2/%package%.json", "/sub/dir/p2/acme/lib.json"},
		{"absolute", "/sub", "/sub/packages.json", "HOST/else/%package%.json", "/else/acme/lib.json"},
		{"relative, as Satis writes without a homepage", "/sub/dir", "/sub/dir/packages.json", "p2/%package%.json", "/sub/dir/p2/acme/lib.json"},
		{"a root with a query", "/sub/packages.json?key=s3cret", "/sub/packages.json", "p2/%package%.json", "/sub/p2/acme/lib.json"},
		{"a root of another name", "/sub/dir/repo.json?key=s3cret", "/sub/dir/repo.json", "p2/%package%.json?a=b", "/sub/dir/p2/acme/lib.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			h.put(c.root, toJSON(object{"metadata-url": strings.Replace(c.metadata, "HOST", h.srv.URL, 1)}))
			h.put(c.file, document)
			folder := strings.TrimRight(strings.TrimSuffix(c.root, c.root[strings.LastIndexByte(c.root, '/'):]), "/")
			want := h.srv.URL + folder + "/d/1.10.0.0.zip"
			wantOrigin := func(o history.Observation) {
				t.Helper()
				if got := origins(t, "acme/lib", o)["1.10"]; !slices.Equal(got, []string{want}) {
					t.Errorf("the archive lies at %v, want %s", got, want)
				}
			}
			r := h.repository(c.address)
			wantOrigin(r.observe("acme/lib"))
			if got := h.asked(".json")[0].URL.RawQuery; strings.Contains(c.address, "?") && got != "key=s3cret" {
				t.Errorf("the root was asked for with the query %q", got)
			}
			if strings.Contains(r.String(), "s3cret") {
				t.Errorf("the repository is called %s", r)
			}
			h.put(c.file, "<html>")
			if err := r.fails("acme/lib", history.State{}); strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error tells the query: %v", err)
			}
			h.hook(c.root, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
			h.advance(time.Hour)
			if err := r.fails("acme/lib", history.State{}); strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "credentials") {
				t.Errorf("the error of the root: %v", err)
			}
			h.hook(c.root, nil)
			h.advance(time.Hour)

			// What is included lies below the folder of the root.
			h.put(c.root, toJSON(object{"includes": object{"i/all.json": object{"sha1": sha1Of(inline)}}}))
			h.put(folder+"/i/all.json", inline)
			wantOrigin(r.observe("acme/lib"))
		})
	}
}

// origins lists the addresses of the archives of a document, by version.
func origins(tb testing.TB, f string, o history.Observation) map[string][]string {
	tb.Helper()
	doc, err := composer.ParseDocument(o.Body, mustFile(f).Name)
	if err != nil {
		tb.Fatalf("%v: %s", err, describe(o))
	}
	index, err := doc.Index()
	if err != nil {
		tb.Fatal(err)
	}
	all := map[string][]string{}
	for _, v := range index {
		all[v.Pretty] = composer.Origins(doc.Name(), v)
	}
	return all
}

func TestC89AddressesThatAreNoRepository(t *testing.T) {
	for _, address := range []string{"", "packages.example.com", "ftp://example.com", "file:///srv/satis", "https://", "http:///x", "://", "https://u:s3cret@example.com/"} {
		if _, err := remote.New(remote.Options{URL: address}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", address, err)
		}
	}
	r, err := remote.New(remote.Options{URL: "https?://example.com/x/?a=b"})
	if err != nil || r.String() != "https://example.com/x/" {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestC90MirrorsOfTheRootComeInComposersOrder(t *testing.T) {
	mirrors := []object{
		{"dist-url": "/m1/%package%.%type%", "preferred": true}, {"dist-url": "https://m2.test/%prettyVersion%/%reference%", "preferred": true},
		{"dist-url": "https://m3.test/%version%"}, {"dist-url": "ftp://m4.test/"}, {"git-url": "https://g.test/"},
	}
	packages := map[string][]object{"acme/lib": {
		release("acme/lib", "v2.1.0", object{"dist": object{"type": "zip", "url": "https://o.test/x.zip", "reference": "abc", "mirrors": []object{{"url": "https://own.test/"}}}}),
		release("acme/lib", "1.10", object{"dist": nil}),
	}}
	for form, write := range forms {
		if form == "inline as at first" {
			continue // the root holds nothing but packages
		}
		t.Run(form, func(t *testing.T) {
			h := newHost(t)
			h.replace(write(object{"mirrors": mirrors}, packages))
			r := h.repository("/r")
			o := r.observe("acme/lib")
			got := origins(t, "acme/lib", o)
			want := []string{"https://m2.test/v2.1.0/abc", h.srv.URL + "/m1/acme/lib.zip", "https://o.test/x.zip", "https://m3.test/2.1.0.0"}
			if !slices.Equal(got["v2.1.0"], want) || got["1.10"] != nil {
				t.Errorf("got %v, want %v", got, want)
			}

			// Other mirrors make another document, though the repository says of its own that it has not changed.
			h.advance(time.Hour)
			h.replace(write(object{"mirrors": mirrors[:1]}, packages))
			o = r.again("acme/lib", recorded(o))
			if got := origins(t, "acme/lib", o)["v2.1.0"]; len(got) != 2 {
				t.Errorf("with one mirror, got %v", got)
			}
			h.advance(time.Hour)
			h.replace(write(object{}, packages))
			o = r.again("acme/lib", recorded(o))
			if got := origins(t, "acme/lib", o)["v2.1.0"]; len(got) != 1 {
				t.Errorf("without mirrors, got %v", got)
			}
		})
	}
}

func TestC91PlaceholdersInAddressesAreFilledIn(t *testing.T) {
	packages := map[string][]object{"acme/lib": {
		release("acme/lib", "dev-Feature/X", object{"dist": object{"type": "tar", "url": "https://o.test/%package%/%prettyVersion%/%version%/r%reference%.%type%", "reference": "V1"}}),
	}}
	for form, write := range forms {
		t.Run(form, func(t *testing.T) {
			h := newHost(t)
			h.replace(write(object{}, packages))
			got := origins(t, "acme/lib", h.repository("/r").observe("acme/lib~dev"))["dev-Feature/X"]
			want := fmt.Sprintf("https://o.test/acme/lib/dev-Feature/X/%s/r%s.tar", composer.VersionKey("dev-Feature/X"), composer.ReferenceKey("V1"))
			if len(got) != 1 || got[0] != want {
				t.Errorf("got %v, want %s", got, want)
			}
		})
	}
}

func TestC92PagesInPlaceOf404AreNotData(t *testing.T) {
	const page = "<!doctype html>\n<title>Not found</title>"
	answers := map[string]struct {
		answer http.HandlerFunc
		absent bool // the repository says so
	}{
		"a page":                       {answer: text(page)},
		"a redirect to a page":         {answer: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/404.html", http.StatusFound) }},
		"nothing":                      {answer: text("")},
		"half a document":              {answer: text(`{"packages":{"acme/lib":[{"name":"acme/lib"`)},
		"an error in JSON":             {answer: text(`{"error":"no such package"}`)},
		"a list":                       {answer: text(`[]`)},
		"packages that are none":       {answer: text(`{"packages":"none"}`)},
		"204":                          {answer: status(204)},
		"401":                          {answer: status(401)},
		"403":                          {answer: status(403)},
		"429":                          {answer: status(429)},
		"500":                          {answer: status(500)},
		"503":                          {answer: status(503)},
		"404":                          {answer: status(404), absent: true},
		"410":                          {answer: status(410), absent: true},
		"an empty document":            {answer: text(`{"packages":[]}`), absent: true},
		"a document of others":         {answer: text(`{"packages":{"a/b":[{"name":"a/b","version":"1"}]}}`), absent: true},
		"a document that warns of it":  {answer: text(`{"security-advisories":[]}`), absent: true},
		"a document of its old name":   {answer: text(`{"packages":{"Acme/Lib":[{"name":"acme/lib","version":"1"}]}}`), absent: true},
		"a document without a version": {answer: text(`{"packages":{"acme/lib":[{"name":"acme/lib"}]}}`)},
	}
	for name, c := range answers {
		t.Run(name, func(t *testing.T) {
			for _, form := range []string{"documents", "lazy"} {
				h := newHost(t)
				h.replace(forms[form](object{}, map[string][]object{"other/lib": {release("other/lib", "1.10")}}))
				h.put("/404.html", page)
				for _, path := range []string{"/p2/acme/lib.json", "/p2/acme/lib~dev.json", "/r/lazy/acme/lib.json"} {
					h.hook(path, c.answer)
				}
				r := h.repository("/r")
				o, err := r.Observe(t.Context(), mustFile("acme/lib"), history.State{})
				if c.absent && form == "documents" && (err != nil || o.Body != nil || o.Unchanged) {
					t.Errorf("%s: got %s, %v; want absence", form, describe(o), err)
				}
				if !c.absent && err == nil {
					t.Errorf("%s: got %s; want an error", form, describe(o))
				}
			}
		})
	}
	for name, c := range answers {
		if strings.HasPrefix(name, "a document") || name == "an empty document" {
			continue
		}
		t.Run(name+" for a root", func(t *testing.T) {
			h := newHost(t)
			h.put("/404.html", page)
			h.hook("/packages.json", c.answer)
			r := h.repository("")
			err := r.fails("acme/lib", history.State{})
			if _, _, other := r.Names(t.Context()); other == nil {
				t.Errorf("the names are known although %v", err)
			}
		})
	}
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestC94TheFeedOfARepositoryIsRead(t *testing.T) {
	h := newHost(t)
	h.put("/packages.json", toJSON(object{"metadata-url": "/p2/%package%.json"}))
	r := h.repository("")
	if _, offered, err := r.Changes(t.Context(), 0); offered || err != nil {
		t.Errorf("a feed that is not offered: %v %v", offered, err)
	}
	h.advance(time.Hour)
	h.put("/packages.json", toJSON(object{"metadata-url": "/p2/%package%.json", "metadata-changes-url": "/changes?a=b"}))
	answers := map[string]http.HandlerFunc{
		"a=b": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"since?","timestamp":17000000000000}`))
		},
		"a=b&since=17000000000000": text(`{"actions":[{"type":"update","package":"acme/lib~dev","time":1700000000},{"type":"delete","package":"acme/old","time":1700000001}],"timestamp":17000000100000}`),
		"a=b&since=1":              text(`{"actions":[{"type":"resync","package":"*","time":1700000000}],"timestamp":17000000100000}`),
		"a=b&since=2":              text(`<html>`),
		"a=b&since=3":              status(500),
		"a=b&since=4":              status(400),
		"a=b&since=5":              text(`{"actions":[]}`),
	}
	h.hook("/changes", func(w http.ResponseWriter, req *http.Request) { answers[req.URL.RawQuery](w, req) })
	for since, want := range map[int64]string{
		0:              "{[] 17000000000000}",
		17000000000000: "{[{update acme/lib~dev 1700000000} {delete acme/old 1700000001}] 17000000100000}",
		1:              "{[{resync * 1700000000}] 17000000100000}",
	} {
		c, offered, err := r.Changes(t.Context(), since)
		if got := fmt.Sprint(c); got != want || !offered || err != nil {
			t.Errorf("since %d: %s %v %v, want %s", since, got, offered, err, want)
		}
	}
	for since := int64(2); since <= 5; since++ {
		if c, offered, err := r.Changes(t.Context(), since); err == nil || !offered {
			t.Errorf("since %d: %v %v %v", since, c, offered, err)
		}
	}
}

// edges serves a path as a cache with an old copy does: only what nobody asked
// for before comes from the origin.
func (h *host) edges(path string, edge, origin file) {
	h.hook(path, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "fresh=") {
			origin.serve(w, r)
			return
		}
		edge.serve(w, r)
	})
}

func TestC94AnAnnouncedChangeIsAskedForPastTheCaches(t *testing.T) {
	h := newHost(t)
	h.replace(forms["documents"](object{"metadata-changes-url": "/changes"}, map[string][]object{"acme/lib": {release("acme/lib", "1.10")}}))
	var actions []object
	h.hook("/changes", func(w http.ResponseWriter, req *http.Request) {
		if since := req.URL.Query().Get("since"); since != "" && since != fmt.Sprint(h.Now().Unix()-3600) {
			actions = []object{{"type": "resync", "package": "*"}}
		}
		_, _ = w.Write([]byte(toJSON(object{"actions": actions, "timestamp": h.Now().Unix()})))
	})
	r := h.repository("/r")
	follow := func(want string) {
		t.Helper()
		err := r.Follow(t.Context(), func(changed []composer.Name, all bool) error {
			if got := fmt.Sprint(changed, all); got != want {
				t.Errorf("changed: %s, want %s", got, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	old := h.files["/p2/acme/lib.json"]
	held := recorded(r.observe("acme/lib"))
	follow("[] true")
	h.advance(time.Hour)
	follow("[] false")
	h.advance(time.Hour)
	actions = []object{{"type": "update", "package": "acme/lib", "time": h.Now().Unix()}, {"type": "delete", "package": "acme/gone", "time": h.Now().Unix()}}
	lost := errors.New("not now")
	if err := r.Follow(t.Context(), func([]composer.Name, bool) error { return lost }); !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
	follow("[acme/gone acme/lib] false") // what was not done is told again
	fresh := file{strings.ReplaceAll(old.body, "1.10", "2.0"), h.Now()}
	for _, edge := range []file{old, {old.body, old.modified.Add(time.Minute)}} {
		h.edges("/p2/acme/lib.json", edge, fresh)
		o := r.again("acme/lib", held)
		if got, _ := versions(t, "acme/lib", o); got[0] != "2.0" || !o.Origin {
			t.Errorf("got %v, from the origin: %v", got, o.Origin)
		}
	}
	h.asked("")
	h.hook("/p2/acme/lib.json", fresh.serve)
	if o := r.again("acme/lib", held); o.Origin {
		t.Error("what is as new as its announcement was asked for past the caches")
	}
	h.wantAsked("/p2/", 1)

	h.advance(2 * time.Hour)
	follow("[] true") // a hole in the feed
	h.hook("/p2/acme/lib.json", old.serve)
	held.LastModified = ""
	if o := r.again("acme/lib", held); o.Origin {
		t.Error("an announcement of hours ago still counts")
	}
	h.hook("/changes", status(500))
	if err := r.Follow(t.Context(), func([]composer.Name, bool) error { t.Error("nothing was read"); return nil }); err == nil {
		t.Error("a feed that is down was followed")
	}
}

func TestC95AStaleEdgeOfARepositoryIsAskedPast(t *testing.T) {
	for _, form := range []string{"documents", "lazy"} {
		path := map[string]string{"documents": "/p2/acme/lib.json", "lazy": "/r/lazy/acme/lib.json"}[form]
		h := newHost(t)
		packages := map[string][]object{"acme/lib": {release("acme/lib", "2")}}
		h.replace(forms["documents"](object{}, packages))
		if form == "lazy" {
			h.put("/r/packages.json", toJSON(object{"providers-lazy-url": "/r/lazy/%package%.json"}))
			h.put(path, toJSON(object{"packages": object{"acme/lib": keyed(packages["acme/lib"])}}))
		}
		r := h.repository("/r")
		now := h.files[path]
		held := recorded(r.observe("acme/lib"))
		old := file{strings.ReplaceAll(now.body, `"2"`, `"1.10"`), now.modified.Add(-time.Hour)}

		h.advance(time.Second)
		h.edges(path, old, now)
		o := r.again("acme/lib", held)
		if got, _ := versions(t, "acme/lib", o); got[0] != "2" || !o.Origin {
			t.Errorf("%s: a stale edge gave %v, from the origin: %v", form, got, o.Origin)
		}
		h.edges(path, old, old) // taken back at the origin itself
		o = r.again("acme/lib", held)
		if got, _ := versions(t, "acme/lib", o); got[0] != "1.10" || !o.Origin || o.LastModified != old.modified.Format(http.TimeFormat) {
			t.Errorf("%s: a rollback gave %v of %s, from the origin: %v", form, got, o.LastModified, o.Origin)
		}
	}
}

func TestC95AStaleRootOfARepositoryIsAskedPast(t *testing.T) {
	h := newHost(t)
	packages := map[string][]object{"acme/lib": {release("acme/lib", "2")}}
	h.replace(forms["inline"](object{}, packages))
	r := h.repository("/r")
	held := recorded(r.observe("acme/lib"))
	now := h.files["/r/packages.json"]
	old := file{`{"packages":[]}`, now.modified.Add(-time.Hour)}
	h.advance(time.Hour)
	h.edges("/r/packages.json", old, now)
	r.wantVersions("acme/lib", "2")
	if o := r.again("acme/lib", held); !o.Unchanged {
		t.Errorf("got %s", describe(o))
	}
	h.advance(time.Hour)
	h.edges("/r/packages.json", old, old)
	if o := r.again("acme/lib", held); o.Body != nil || o.Unchanged {
		t.Errorf("gone at the origin too, got %s", describe(o))
	}
}

// C96: compressed and plain copies of one file may be of different age.
func TestC96TheNewerVariantOfARepositorysFileWins(t *testing.T) {
	h := newHost(t)
	h.replace(forms["documents"](object{}, map[string][]object{"acme/lib": {release("acme/lib", "2")}}))
	r := h.repository("/r")
	first := h.files["/p2/acme/lib.json"]
	held := recorded(r.observe("acme/lib"))
	newer := file{strings.ReplaceAll(first.body, `"2"`, `"v2.1.0"`), first.modified.Add(time.Hour)}
	older := file{first.body, first.modified.Add(-time.Hour)}
	h.advance(2 * time.Hour)
	h.edges("/p2/acme/lib.json", older, newer)
	if got, _ := versions(t, "acme/lib", r.again("acme/lib", held)); got[0] != "v2.1.0" {
		t.Errorf("got %v", got)
	}
}
