package remote_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"stasis/private/remote"
	"stasis/proxy/history"
	"stasis/proxy/upstream"
	"stasis/store"
)

var oneLib = map[string][]object{"acme/lib": {release("acme/lib", "1.10"), release("acme/lib", "dev-main")}}

// What did not change is not sent again, or not even asked for.
func TestWhatDidNotChange(t *testing.T) {
	for form, write := range forms {
		t.Run(form, func(t *testing.T) {
			h := newHost(t)
			h.replace(write(object{}, oneLib))
			r := h.repository("/r")
			for _, f := range []string{"acme/lib", "acme/lib~dev"} {
				held := recorded(r.observe(f))
				if form == "documents, one for all" && strings.HasSuffix(f, "~dev") {
					continue // there is no file of its own to be asked about
				}
				for range 2 {
					h.advance(time.Hour)
					h.asked("")
					if o := r.again(f, held); !o.Unchanged {
						t.Fatalf("%s: got %s", f, describe(o))
					}
					for _, req := range h.asked("") {
						if strings.Contains(req.URL.Path, "unhashed") || form == "includes" && strings.Contains(req.URL.Path, "packages.json") {
							continue // it may change without anybody saying so
						}
						if req.Header.Get("If-Modified-Since") == "" {
							t.Errorf("%s: %s was asked for as a whole", f, req.URL)
						}
						if form == "hashed" && strings.Contains(req.URL.Path, "acme") {
							t.Errorf("%s: %s was asked for although its hash is known", f, req.URL)
						}
					}
					held.Checked = h.Now()
				}
			}
		})
	}
}

// What another repository once said is no reason to believe anything here.
func TestWhatIsRecordedOfAnotherRepositoryDoesNotCount(t *testing.T) {
	for form, write := range forms {
		t.Run(form, func(t *testing.T) {
			h := newHost(t)
			h.replace(write(object{}, oneLib))
			held := recorded(h.repository("/r").observe("acme/lib"))
			other := newHost(t)
			other.replace(write(object{}, oneLib))
			other.advance(-time.Hour)
			if o := other.repository("/r").again("acme/lib", held); o.Body == nil || o.Origin {
				t.Errorf("got %s", describe(o))
			}
			held.ETag = `"abc"`
			if o := h.repository("/r").again("acme/lib", held); o.Body == nil {
				t.Errorf("got %s", describe(o))
			}
		})
	}
}

func TestAbsenceIsSaidOnlyWhileTheRepositoryIsWell(t *testing.T) {
	for form, write := range forms {
		t.Run(form, func(t *testing.T) {
			h := newHost(t)
			site := write(object{}, oneLib)
			h.replace(site)
			r := h.repository("/r")
			held := recorded(r.observe("acme/lib"))

			empty := write(object{}, map[string][]object{"other/lib": {release("other/lib", "1.10")}})
			h.advance(time.Minute)
			h.replace(empty)
			h.asked("")
			if o := r.again("acme/lib", held); o.Body != nil || o.Unchanged {
				t.Errorf("a package that is gone is %s", describe(o))
			}
			fresh := 0
			for _, req := range h.asked("packages.json") {
				if strings.Contains(req.URL.RawQuery, "fresh=") {
					fresh++
				}
			}
			if fresh != 1 {
				t.Errorf("the root was asked %d times past the caches", fresh)
			}

			for _, code := range []int{500, 404, 401, 403} {
				h.advance(time.Hour)
				h.hook("/r/packages.json", status(code))
				_ = r.fails("acme/lib", held)
				_ = r.fails("acme/unknown", history.State{})
			}
			h.advance(time.Hour)
			h.hook("/r/packages.json", nil)
			h.replace(site)
			if o := r.again("acme/lib", held); o.Body == nil && !o.Unchanged {
				t.Error("back again, the package is absent")
			}
		})
	}
}

// Only one of the two documents is missing: the package is there.
func TestOneDocumentProvesTheOther(t *testing.T) {
	for _, f := range []string{"acme/lib", "acme/lib~dev"} {
		h := newHost(t)
		h.replace(forms["documents"](object{}, oneLib))
		h.drop("/p2/" + f + ".json")
		r := h.repository("/r")
		if got, _ := versions(t, f, r.observe(f)); len(got) != 0 {
			t.Errorf("%s has the versions %v", f, got)
		}
		r.wantAbsent("acme/other")
	}
}

func TestNames(t *testing.T) {
	list := func(h *host, names ...string) { h.put("/list.json", toJSON(object{"packageNames": names})) }
	for name, c := range map[string]struct {
		root     object
		want     string
		complete bool
	}{
		"documents":                    {object{"metadata-url": "/p2/%package%.json"}, "[]", false},
		"documents and a list":         {object{"metadata-url": "/p2/%package%.json", "list": "/list.json"}, "[acme/a acme/b other/c]", true},
		"a closed list":                {object{"metadata-url": "/p2/%package%.json", "list": "/list.json", "available-packages": []string{"Z/z", "no name", "a/a"}}, "[a/a z/z]", true},
		"patterns and a list":          {object{"metadata-url": "/p2/%package%.json", "list": "/list.json", "available-package-patterns": []string{"acme/*"}}, "[acme/a acme/b]", true},
		"an empty closed list is none": {object{"metadata-url": "/p2/%package%.json", "available-packages": []string{}}, "[]", false},
		"lazy and a list":              {object{"providers-lazy-url": "/p/%package%.json", "list": "/list.json", "packages": object{"x/y": []object{release("x/y", "1.10")}}}, "[acme/a acme/b other/c x/y]", true},
		"an index":                     {object{"providers-url": "/p/%package%$%hash%.json", "list": "/list.json", "providers": object{"b/b": object{"sha256": sha256Of("")}, "no name": object{}, "a/a": object{}}}, "[a/a b/b]", true},
		"inline":                       {object{"packages": object{"x/y": []object{release("x/y", "1.10")}, "empty/one": []object{}}}, "[x/y]", true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.put("/packages.json", toJSON(c.root))
			list(h, "acme/b", "Acme/A", "php", "other/c", "acme/b")
			got, complete, err := h.repository("").Names(t.Context())
			if fmt.Sprint(got) != c.want || complete != c.complete || err != nil {
				t.Errorf("got %v, complete: %v, %v; want %s", got, complete, err, c.want)
			}
		})
	}
	h := newHost(t)
	h.put("/packages.json", toJSON(object{"metadata-url": "/p2/%package%.json", "list": "/list.json"}))
	r := h.repository("")
	for _, answer := range []http.HandlerFunc{text("<html>"), text(`{"error":"no"}`), status(404), status(500), status(403)} {
		h.hook("/list.json", answer)
		if names, complete, err := r.Names(t.Context()); err == nil || complete {
			t.Errorf("the names are %v, complete: %v", names, complete)
		}
	}
}

func TestRootsThatNameNoUsablePlace(t *testing.T) {
	for root, want := range map[string]string{
		`{}`:                                              "not the root of a Composer repository",
		`{"message":"Unauthorized"}`:                      "not the root of a Composer repository",
		`{"metadata-url":"/p2/"}`:                         "no %package%",
		`{"providers-lazy-url":"/p2/"}`:                   "no %package%",
		`{"providers-url":"/p/%package%.json"}`:           "no %hash%",
		`{"providers":{"acme/lib":{"sha256":""}}}`:        "not the root of a Composer repository",
		`{"packages":{"acme/lib":7}}`:                     "acme/lib",
		`{"packages":{"acme/lib":{"1":{"version":"1"}}}}`: "has a name",
		`{"packages":{}} {}`:                              "follows the end",
		`{"packages":{}`:                                  "not JSON",
		`{"packages":{},}`:                                "not JSON",
		"\ufeff{}":                                        "not JSON",
		`null`:                                            "where an object belongs",
		`{"includes":7}`:                                  "where an object belongs",
		`{"providers-url":"/p/%package%$%hash%","providers":{"acme/lib":{"sha256":"abc"}}}`:                 "no SHA-256",
		`{"providers-url":"/p/%package%$%hash%","providers":{"acme/lib":[]}}`:                               "no SHA-256",
		`{"metadata-url":"/p2/%package%.json","packages":{"acme/lib":[{"name":"acme/lib","version":"x"}]}}`: "is not a version",
	} {
		h := newHost(t)
		h.hook("/packages.json", text(root))
		if err := h.repository("").fails("acme/lib", history.State{}); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", root, err, want)
		}
	}
	// What one package lacks is not the others' loss.
	h := newHost(t)
	h.put("/packages.json", `{"packages":{"acme/bad":7,"not a name":[{"version":1}],"acme/lib":{"a":{"name":"acme/lib","version":1.0}}}}`)
	h.repository("").wantVersions("acme/lib", "1")
}

func TestVersionsThatCannotBeUsed(t *testing.T) {
	for form, write := range forms {
		t.Run(form, func(t *testing.T) {
			h := newHost(t)
			bad := release("acme/lib", "not a version")
			h.replace(write(object{}, map[string][]object{"acme/lib": {bad}}))
			r := h.repository("/r")
			// Nothing usable is not the same as nothing.
			unusable(t, r.fails("acme/lib", history.State{}), "not a version")
			h.advance(time.Hour)
			local := release("acme/lib", "2", object{"dist": object{"type": "path", "url": "file:///etc"}})
			cloned := release("acme/lib", "v2.1.0", object{"dist": object{"type": "zip", "url": "stasis://x"}, "source": object{"type": "git", "url": "https://g.test/x.git", "reference": "1"}})
			h.replace(write(object{}, map[string][]object{"acme/lib": {bad, local, cloned, release("acme/lib", "1.10")}}))
			order, whole := versions(t, "acme/lib", r.observe("acme/lib"))
			if strings.Join(order, " ") != "v2.1.0 1.10" || whole["v2.1.0"]["dist"] != nil {
				t.Errorf("got %v: %v", order, whole)
			}
			if got := r.logs.String(); !strings.Contains(got, "versions=2") || !strings.Contains(got, "package=acme/lib") {
				t.Errorf("the log says %s", got)
			}
		})
	}
}

func TestTheRootIsReadOnceForAll(t *testing.T) {
	h := newHost(t)
	packages := map[string][]object{}
	for i := range 50 {
		name := fmt.Sprintf("acme/p%d", i)
		packages[name] = []object{release(name, "1.10")}
	}
	h.replace(forms["includes"](object{}, packages))
	held := make(chan struct{})
	begun := make(chan struct{}, 200)
	h.hook("/r/include/outer.json", func(w http.ResponseWriter, req *http.Request) {
		begun <- struct{}{}
		<-held
		h.mu.Lock()
		f := h.files["/r/include/outer.json"]
		h.mu.Unlock()
		f.serve(w, req)
	})
	r := h.repository("/r")

	// Whoever asks first leaves again; the others get their answer all the same.
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := r.Observe(ctx, mustFile("acme/p0"), history.State{})
		left <- err
	}()
	<-begun
	var g sync.WaitGroup
	for i := range 200 {
		g.Go(func() {
			f := mustFile(fmt.Sprintf("acme/p%d", i%50))
			if o, err := r.Observe(t.Context(), f, history.State{}); err != nil || o.Body == nil {
				t.Errorf("%s: %v", f, err)
			}
		})
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left got %v", err)
	}
	close(held)
	g.Wait()
	h.wantAsked("", 4)

	h.advance(59 * time.Second)
	r.wantVersions("acme/p7", "1.10")
	h.wantAsked("", 0)
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.wantAsked("packages.json", 1)
	held2 := recorded(r.observe("acme/p7"))
	h.wantAsked("", 0)
	h.advance(time.Second)
	held2.Checked = h.Now()
	if o := r.again("acme/p7", held2); !o.Unchanged { // asked since, so that the old root is no news
		t.Errorf("got %s", describe(o))
	}
	h.wantAsked("packages.json", 1)
}

func TestAClosedRepositoryGivesUp(t *testing.T) {
	h := newHost(t)
	begun := make(chan struct{})
	ended := make(chan struct{})
	h.hook("/packages.json", func(_ http.ResponseWriter, req *http.Request) {
		close(begun)
		<-req.Context().Done()
		close(ended)
	})
	r := h.repository("")
	failed := make(chan error)
	go func() {
		_, err := r.Observe(context.Background(), mustFile("acme/lib"), history.State{})
		failed <- err
	}()
	<-begun
	r.Close()
	<-ended
	if err := <-failed; err == nil {
		t.Error("a root that never came was believed")
	}
	h.hook("/packages.json", text(`{"packages":[]}`))
	_ = r.fails("acme/lib", history.State{})
}

func TestDocumentsThatIncludeEachOtherEnd(t *testing.T) {
	h := newHost(t)
	h.put("/packages.json", `{"includes":{"a.json":{}}}`)
	h.put("/a.json", `{"includes":{"b.json":{},"a.json":{}}}`)
	h.put("/b.json", `{"includes":{"a.json":{}},"packages":{"acme/lib":[`+toJSON(release("acme/lib", "1.10"))+`]}}`)
	r := h.repository("")
	r.wantVersions("acme/lib", "1.10")
	h.wantAsked("", 3)
	h.hook("/packages.json", text(`{"includes":{"n/0.json":{}}}`))
	h.hook("/n/0.json", nil)
	for i := range 2100 {
		h.put(fmt.Sprintf("/n/%d.json", i), fmt.Sprintf(`{"includes":{"n/%d.json":{}}}`, i+1))
	}
	h.advance(time.Hour)
	unusable(t, r.fails("acme/lib", history.State{}), "more than 2000")
}

func TestWhatIsTooLargeIsRefused(t *testing.T) {
	small := func(o *remote.Options) { o.MaxDocument = 300 << 10 }
	big := release("acme/big", "1.10", object{"description": strings.Repeat("x", 400<<10)})
	for form, write := range forms {
		t.Run(form, func(t *testing.T) {
			h := newHost(t)
			h.replace(write(object{}, map[string][]object{"acme/big": {big}}))
			err := h.repository("/r", small).fails("acme/big", history.State{})
			if !errors.Is(err, upstream.ErrTooLarge) {
				t.Errorf("got %v", err)
			}
		})
	}
	// Many packages may be more together.
	h := newHost(t)
	packages := map[string][]object{}
	for i := range 20 {
		name := fmt.Sprintf("acme/p%d", i)
		packages[name] = []object{release(name, "1.10", object{"description": strings.Repeat("x", 100<<10)})}
	}
	h.replace(forms["inline"](object{}, packages))
	h.repository("/r", small).wantVersions("acme/p3", "1.10")
}

// A large root is read as it arrives, and what stays in memory is a tenth.
func TestALargeRootTakesLittleMemory(t *testing.T) {
	h := newHost(t)
	const packages, size = 200, 20 << 10
	var total int
	h.hook("/packages.json", func(w http.ResponseWriter, _ *http.Request) {
		send := func(s string) {
			n, _ := w.Write([]byte(s))
			total += n
		}
		send(`{"packages":{`)
		for i := range packages {
			name := fmt.Sprintf("acme/p%d", i)
			if i > 0 {
				send(",")
			}
			text := fmt.Sprintf("%s is the %d. of many; ", name, i)
			send(toJSON(name) + ":" + toJSON([]object{release(name, "1.10", object{"description": strings.Repeat(text, size/len(text))})}))
		}
		send("}}")
	})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := h.repository("")
	r.wantVersions("acme/p199", "1.10")
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > int64(total)/4 {
		t.Errorf("a root of %d bytes takes %d bytes of memory", total, grown)
	}
}

func TestCredentialsGoToTheRepositoryAlone(t *testing.T) {
	h, other := newHost(t), newHost(t)
	guard := func(f http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer s3cret" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			f(w, r)
		}
	}
	h.hook("/packages.json", guard(text(toJSON(object{"metadata-url": "/p2/%package%.json"}))))
	h.hook("/p2/acme/lib.json", guard(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.srv.URL+"/lib.json", http.StatusFound)
	}))
	other.put("/lib.json", toJSON(object{"packages": object{"acme/lib": []object{release("acme/lib", "1.10")}}}))
	client, err := upstream.New(upstream.Options{AllowedHosts: []string{"127.0.0.1"}, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	r := h.repository("", func(o *remote.Options) { o.Client, o.Owner = client, "source" })
	unusable(t, r.fails("acme/lib", history.State{}), "credentials")
	if err := client.Auth().Set("source", fmt.Appendf(nil, `{"bearer": {%q: "s3cret"}}`, h.srv.URL+"/packages.json")); err != nil {
		t.Fatal(err)
	}
	h.advance(time.Minute)
	r.wantVersions("acme/lib", "1.10")
	for _, req := range other.asked("") {
		if req.Header.Get("Authorization") != "" {
			t.Errorf("credentials reached %s", other.srv.URL)
		}
	}
	client.Auth().Remove("source")
	h.advance(time.Hour)
	unusable(t, r.fails("acme/lib", history.State{}), "credentials")
}

func TestADeadRepositoryIsAnUpstreamError(t *testing.T) {
	h := newHost(t)
	h.replace(forms["documents"](object{}, oneLib))
	r := h.repository("/r")
	held := recorded(r.observe("acme/lib"))
	h.srv.Close()
	var e *upstream.Error
	if err := r.fails("acme/lib", held); !errors.As(err, &e) || e.Kind != upstream.Unreachable {
		t.Errorf("got %v", err)
	}
	h.advance(time.Hour)
	if err := r.fails("acme/lib~dev", history.State{}); !errors.As(err, &e) || e.Kind != upstream.Unreachable {
		t.Errorf("got %v", err)
	}
}

// What is observed is recorded as Packagist's documents are.
func TestObservationsAreRecorded(t *testing.T) {
	for form, write := range forms {
		t.Run(form, func(t *testing.T) {
			h := newHost(t)
			s, err := store.Open(t.Context(), store.Options{Path: t.TempDir(), MinFreeSpace: 1 << 20, Now: h.Now})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			past, err := history.New(s, h.Now)
			if err != nil {
				t.Fatal(err)
			}
			r := h.repository("/r")
			f := mustFile("acme/lib")
			observe := func(files map[string]string) history.Change {
				t.Helper()
				h.advance(time.Hour)
				h.replace(files)
				h.advance(time.Minute)
				st, err := past.State(f)
				if err != nil {
					t.Fatal(err)
				}
				c, err := past.Observe(f, r.again(f.String(), st))
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			one := write(object{}, oneLib)
			first := observe(one)
			if !first.New || !first.State.Present() {
				t.Fatalf("got %+v", first)
			}
			if again := observe(one); again.New || again.State.Seq != 1 || !again.State.Checked.After(first.State.Checked) {
				t.Errorf("the same again: %+v", again)
			}
			moved := release("acme/lib", "1.10", object{"dist": object{"type": "zip", "url": "https://example.org/moved.zip", "reference": "moved"}})
			if c := observe(write(object{}, map[string][]object{"acme/lib": {moved}})); !c.New || len(c.Retags) != 1 || c.Retags[0].New != "moved" {
				t.Errorf("a moved tag: %+v", c)
			}
			if c := observe(write(object{}, map[string][]object{"other/lib": {release("other/lib", "1.10")}})); !c.New || c.State.Present() {
				t.Errorf("gone: %+v", c)
			}
			if c := observe(one); !c.New || !c.State.Present() {
				t.Errorf("back again: %+v", c)
			}
			revisions, err := past.Revisions(f)
			if err != nil || len(revisions) != 4 {
				t.Errorf("%d revisions, %v", len(revisions), err)
			}
		})
	}
}
