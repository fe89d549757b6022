package remote_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"stasis/private/remote"
	"stasis/proxy/composer"
)

// A site is a repository written out in one form. The packages are given whole:
// what each form calls for is done here, by other means than in the program.
type site func(root object, packages map[string][]object) map[string]string

// spelling is a version as its author wrote it, and what Composer makes of it;
// the list is in Composer's order, newest first.
var spellings = []struct{ pretty, normalized string }{
	{"3.x-dev", "3.9999999.9999999.9999999-dev"},
	{"v2.1.0", "2.1.0.0"},
	{"2.1.0-RC2", "2.1.0.0-RC2"},
	{"2.1-beta", "2.1.0.0-beta"},
	{"2.0.x-dev", "2.0.9999999.9999999-dev"},
	{"2", "2.0.0.0"},
	{"1.10", "1.10.0.0"},
	{"1.9.9+build", "1.9.9.0"},
	{"1.0.0-dev", "1.0.0.0-dev"},
	{"dev-main", "dev-main"},
	{"dev-Feature/X", "dev-Feature/X"},
	{"not a version", ""},
}

func normalizedOf(v object) string {
	pretty := strings.TrimPrefix(fmt.Sprint(v["version"]), "=")
	for _, s := range spellings {
		if s.pretty == pretty {
			return s.normalized
		}
	}
	return ""
}

func isDev(v object) bool {
	n := normalizedOf(v)
	return strings.HasPrefix(n, "dev-") || strings.HasSuffix(n, "-dev")
}

// split sorts versions into the documents of Composer 2.
func split(list []object, dev bool) []object {
	out := []object{}
	for _, s := range spellings {
		for _, v := range list {
			if s.pretty == fmt.Sprint(v["version"]) && (isDev(v) == dev || s.normalized == "" && !dev) {
				out = append(out, v)
			}
		}
	}
	return out
}

func keyed(list []object) object {
	out := object{}
	for i, v := range list {
		out[fmt.Sprintf("%02d %v", i, v["version"])] = v
	}
	return out
}

func p2(root object, packages map[string][]object) map[string]string {
	root["metadata-url"] = "/p2/%package%.json"
	files := map[string]string{}
	for name, list := range packages {
		files["/p2/"+name+".json"] = toJSON(object{"packages": object{name: split(list, false)}})
		files["/p2/"+name+"~dev.json"] = toJSON(object{"packages": object{name: split(list, true)}})
	}
	return files
}

// The forms in which a repository below /r offers packages.
var forms = map[string]site{
	"documents": func(root object, packages map[string][]object) map[string]string {
		files := p2(root, packages)
		files["/r/packages.json"] = toJSON(root)
		return files
	},
	"documents, one for all": func(root object, packages map[string][]object) map[string]string {
		root["metadata-url"] = "/all/%package%.json"
		files := map[string]string{}
		for name, list := range packages {
			files["/all/"+name+".json"] = toJSON(object{"packages": object{name: append(split(list, false), split(list, true)...)}})
		}
		files["/r/packages.json"] = toJSON(root)
		return files
	},
	"documents of a closed list, and pages": func(root object, packages map[string][]object) map[string]string {
		files := p2(root, packages)
		names := []string{}
		for name := range packages {
			names = append(names, strings.ToUpper(name))
		}
		root["available-packages"] = append(names, "not/there")
		root["packages"] = []any{}
		root["includes"] = object{"include/all$0.json": object{"sha1": "0"}}
		files["/r/packages.json"] = toJSON(root)
		return files
	},
	"documents and some inline": func(root object, packages map[string][]object) map[string]string {
		rest := map[string][]object{}
		some := object{}
		for name, list := range packages {
			if len(some) < len(packages)/2 {
				some[name] = keyed(list)
			} else {
				rest[name] = list
			}
		}
		root["packages"] = some
		root["available-package-patterns"] = []string{"ACME/*", "ot*/*"}
		files := p2(root, rest)
		files["/r/packages.json"] = toJSON(root)
		return files
	},
	"inline": func(root object, packages map[string][]object) map[string]string {
		all := object{}
		for name, list := range packages {
			all[name] = keyed(list)
		}
		root["packages"] = all
		return map[string]string{"/r/packages.json": toJSON(root)}
	},
	"inline in lists": func(root object, packages map[string][]object) map[string]string {
		var all []any
		for _, list := range packages {
			all = append(all, list)
		}
		root["packages"] = all
		return map[string]string{"/r/packages.json": toJSON(root)}
	},
	"inline as at first": func(root object, packages map[string][]object) map[string]string {
		for name, list := range packages {
			root[name] = object{"versions": keyed(list)}
		}
		return map[string]string{"/r/packages.json": toJSON(root)}
	},
	"includes": func(root object, packages map[string][]object) map[string]string {
		half := object{}
		other := object{}
		for name, list := range packages { // each package in two documents
			half[name] = keyed(list[:len(list)/2])
			other[strings.ToUpper(name)] = keyed(list[len(list)/2:])
		}
		inner := toJSON(object{"packages": other, "includes": object{"include/unhashed.json": object{}}})
		outer := toJSON(object{"packages": half, "includes": object{"include/inner$" + sha1Of(inner) + ".json": object{"sha1": sha1Of(inner)}}})
		root["includes"] = object{"/include/outer.json": object{"sha1": sha1Of(outer)}}
		return map[string]string{
			"/r/packages.json": toJSON(root), "/r/include/outer.json": outer,
			"/r/include/inner$" + sha1Of(inner) + ".json": inner,
			"/r/include/unhashed.json":                    toJSON(object{"packages": []any{}, "includes": object{"include/outer.json": object{}}}),
		}
	},
	"hashed": func(root object, packages map[string][]object) map[string]string {
		root["providers-url"] = "/r/p/%package%$%hash%.json"
		root["packages"] = object{"ig/nored": object{"1.0": release("ig/nored", "1.0")}}
		files := map[string]string{}
		first, second := object{}, object{}
		for name, list := range packages {
			list = append(slices.Clone(list), release("stand/in", "9.9", object{"uid": 1}))
			body := toJSON(object{"packages": object{name: keyed(list), "stand/in": keyed([]object{release("stand/in", "1.0")})}})
			files["/r/p/"+name+"$"+sha256Of(body)+".json"] = body
			into := first
			if len(first) > len(second) {
				into = second
			}
			into[name] = object{"sha256": sha256Of(body)}
		}
		inner := toJSON(object{"providers": second})
		files["/r/p/inner$"+sha256Of(inner)+".json"] = inner
		outer := toJSON(object{"providers": []any{}, "provider-includes": object{"p/inner$%hash%.json": object{"sha256": sha256Of(inner)}}})
		files["/r/p/outer$"+sha256Of(outer)+".json"] = outer
		root["providers"] = first
		root["provider-includes"] = object{"p/outer$%hash%.json": object{"sha256": sha256Of(outer)}}
		files["/r/packages.json"] = toJSON(root)
		return files
	},
	"lazy": func(root object, packages map[string][]object) map[string]string {
		root["providers-lazy-url"] = "/r/lazy/%package%.json"
		files := map[string]string{}
		some := object{}
		for name, list := range packages {
			if len(some) == 0 {
				some[name] = keyed(list)
				continue
			}
			files["/r/lazy/"+name+".json"] = toJSON(object{"packages": object{name: keyed(list)}})
		}
		root["packages"] = some
		files["/r/packages.json"] = toJSON(root)
		return files
	},
}

// made draws a package with the faults that repositories have.
func made(rng *rand.Rand, name string) []object {
	var list []object
	uid := 0
	for range 1 + rng.IntN(6) {
		s := spellings[rng.IntN(len(spellings))]
		if slices.ContainsFunc(list, func(v object) bool { return v["version"] == s.pretty }) {
			continue
		}
		uid++
		v := object{"name": name, "version": s.pretty, "uid": uid, "type": "library", "x-unknown": object{"deep": []any{1.5, nil, "é/<"}}}
		if rng.IntN(3) == 0 {
			v["name"] = strings.ToUpper(name[:1]) + name[1:]
		}
		switch {
		case strings.HasPrefix(s.normalized, "dev-") && rng.IntN(2) == 0:
			v["version_normalized"] = "9999999-dev"
		case s.normalized != "" && rng.IntN(2) == 0:
			v["version_normalized"] = s.normalized
		}
		dist := object{"type": "zip", "url": "https://example.org/" + fmt.Sprint(uid) + ".zip", "reference": fmt.Sprintf("%040x", rng.Uint64()), "shasum": ""}
		switch rng.IntN(6) {
		case 0:
			dist["url"] = "/d/%package%/%version%.zip"
		case 1:
			dist["url"] = "dist/a.zip"
		case 2:
			dist["mirrors"] = []object{{"url": "https://elsewhere.test/"}}
		case 3:
			dist["url"] = "stasis:secret"
			v["source"] = object{"type": "git", "url": "https://example.org/x.git", "reference": "1"}
		}
		v["dist"] = dist
		if rng.IntN(5) == 0 {
			v["dist"] = nil
		}
		list = append(list, v)
	}
	return append(list, release(name, "1.10")) // perhaps for the second time, which does not count
}

// expected is what a client is to be told of a version, or nil.
func expected(base string, v object) object {
	if normalizedOf(v) == "" {
		return nil
	}
	out := object{}
	for key, value := range v {
		out[key] = value
	}
	delete(out, "uid")
	out["version_normalized"] = normalizedOf(v)
	dist, _ := v["dist"].(object)
	if dist == nil {
		return out
	}
	d := object{}
	for key, value := range dist {
		d[key] = value
	}
	delete(d, "mirrors")
	switch address := fmt.Sprint(d["url"]); {
	case strings.HasPrefix(address, "/"):
		d["url"] = strings.TrimSuffix(base, "/r") + address
	case !strings.HasPrefix(address, "https://"):
		d["url"] = base + "/" + address
	}
	out["dist"] = d
	return out
}

// C86: whatever the form, the documents are those that Composer 2 would read.
func TestC86EveryFormGivesTheSameDocuments(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 86))
		packages := map[string][]object{}
		for _, name := range []string{"acme/lib", "acme/tool", "other/thing", "acme/a-b_c.d"}[:1+rng.IntN(4)] {
			packages[name] = made(rng, name)
		}
		for form, write := range forms {
			t.Run(fmt.Sprint(form, " ", seed), func(t *testing.T) {
				h := newHost(t)
				h.replace(write(object{}, packages))
				r := h.repository("/r")
				for name, list := range packages {
					for _, f := range []string{name, name + "~dev"} {
						got, whole := versions(t, f, r.observe(f))
						var want []string
						for _, v := range split(list, strings.HasSuffix(f, "~dev")) {
							e := expected(h.srv.URL+"/r", v)
							if e == nil || slices.Contains(want, fmt.Sprint(v["version"])) {
								continue
							}
							want = append(want, fmt.Sprint(v["version"]))
							if got, want := toJSON(whole[fmt.Sprint(v["version"])]), toJSON(e); got != want {
								t.Errorf("%s %v is\n%s want\n%s", f, v["version"], got, want)
							}
						}
						if !slices.Equal(got, want) {
							t.Errorf("%s has the versions %q, want %q", f, got, want)
						}
					}
				}
				r.wantAbsent("acme/unknown")
				r.wantAbsent("acme/unknown~dev")
				r.wantAbsent("stand/in")
				names, complete, err := r.Names(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for name := range packages {
					if complete && !slices.Contains(names, mustFile(name).Name) {
						t.Errorf("the names %v lack %s", names, name)
					}
				}
				if open := strings.HasPrefix(form, "documents") && !strings.Contains(form, "list") || form == "lazy"; complete == open {
					t.Errorf("the list of names is complete: %v", complete)
				}
			})
		}
	}
}

func TestADocumentWithNothingToPutRightIsTheRepositorysOwn(t *testing.T) {
	h := newHost(t)
	h.put("/packages.json", `{"metadata-url": "/p2/%package%.json"}`)
	body := `{ "minified": "composer/2.0", "security-advisories": [], "x": 1.50, "packages": {"acme/lib": [
		{"name": "acme/lib", "version": "2.0", "version_normalized": "2.0.0.0", "dist": {"type":"zip", "url": "https://example.org/2.zip"}, "require": {"z": "*", "a": "*"}},
		{"version": "1.0", "version_normalized": "1.0.0.0", "dist": "__unset"}]}}` + "\n"
	h.put("/p2/acme/lib.json", body)
	o := h.repository("").observe("acme/lib")
	if string(o.Body) != body {
		t.Errorf("got %s", o.Body)
	}
}

func TestWhatIsPutRightLeavesTheRestAlone(t *testing.T) {
	h := newHost(t)
	h.put("/packages.json", `{"metadata-url": "/p2/%package%.json"}`)
	h.put("/p2/acme/lib.json", `{"minified":"composer/2.0","security-advisories":[],"packages":{"acme/lib":[
		{"name":"acme/lib","version":"2.0","version_normalized":"2.0.0.0","dist":{"type":"zip","url":"/2.zip"},"extra":{"b":1,"a":2.0}},
		{"version":"dev-main","version_normalized":"dev-main"},
		{"version":"1.0","version_normalized":"1.0.0.0"}]}}`)
	want := `{"minified":"composer/2.0","security-advisories":[],"packages":{"acme/lib":[` +
		`{"name":"acme/lib","version":"2.0","version_normalized":"2.0.0.0","dist":{"type":"zip","url":"` + h.srv.URL + `/2.zip"},"extra":{"b":1,"a":2.0}},` +
		`{"version":"1.0","version_normalized":"1.0.0.0"}]}}`
	if o := h.repository("").observe("acme/lib"); string(o.Body) != want {
		t.Errorf("got  %s\nwant %s", o.Body, want)
	}
}

func TestAVersionUnderAnotherNameIsNotHandedOut(t *testing.T) {
	for form, write := range forms {
		t.Run(form, func(t *testing.T) {
			h := newHost(t)
			h.replace(write(object{}, map[string][]object{"acme/lib": {release("acme/lib", "1.10"), release("symfony/console", "2")}}))
			r := h.repository("/r")
			if got, _ := versions(t, "acme/lib", r.observe("acme/lib")); !reflect.DeepEqual(got, []string{"1.10"}) {
				t.Errorf("got the versions %v", got)
			}
		})
	}
}

func FuzzRoot(f *testing.F) {
	packages := map[string][]object{"acme/lib": {release("acme/lib", "1.10")}}
	for _, write := range forms {
		f.Add([]byte(write(object{}, packages)["/r/packages.json"]))
	}
	f.Add([]byte(`{"packages":{"a/b":7,"c/d":{"1":{"version":[]}},"e/f":[{"name":"e/f","version":1}]},"includes":[1,{}],"mirrors":[{"dist-url":"x"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n := mustFile("acme/lib").Name
		root, err := remote.Documents(body, n)
		if err != nil {
			return
		}
		for _, d := range root {
			doc, err := composer.ParseDocument(d, n)
			if err == nil {
				_, err = doc.Index()
			}
			if err != nil {
				t.Errorf("a document of ours cannot be read: %v: %s", err, d)
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	packages := map[string][]object{"acme/lib": {release("acme/lib", "1.10")}, "acme/tool": {release("acme/tool", "1.10")}}
	for path, body := range forms["hashed"](object{}, packages) {
		if !strings.Contains(path, "/acme/") {
			f.Add([]byte(body))
		}
	}
	f.Add([]byte(`{"providers":[7],"provider-includes":{"a":{"sha256":7},"b":[]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, _, err := remote.Index(body); err == nil && !json.Valid(body) {
			t.Errorf("%q was read although it is not JSON", body)
		}
	})
}

func FuzzDocument(f *testing.F) {
	for path, body := range p2(object{}, map[string][]object{"acme/lib": made(rand.New(rand.NewPCG(1, 1)), "acme/lib")}) {
		f.Add([]byte(body), strings.Contains(path, "~dev"))
	}
	f.Add([]byte(`{"minified":"composer/2.0","packages":{"acme/lib":[{"name":"acme/lib","version":"1","uid":1},{"version":"dev-x","uid":"__unset","dist":{"url":"a","url":"b"}}]}}`), true)
	f.Fuzz(func(t *testing.T, body []byte, dev bool) {
		file := composer.File{Name: mustFile("acme/lib").Name, Dev: dev}
		own, err := remote.Own(body, file)
		if err != nil {
			return
		}
		doc, err := composer.ParseDocument(own, file.Name)
		if err != nil {
			t.Fatalf("a document of ours cannot be read: %v: %s", err, own)
		}
		index, err := doc.Index()
		if err != nil {
			t.Fatalf("a document of ours cannot be read: %v: %s", err, own)
		}
		for _, v := range index {
			if composer.IsDev(v.Normalized) != dev {
				t.Errorf("%s is in the wrong document", v.Pretty)
			}
			if v.Dist != nil && !strings.HasPrefix(strings.ToLower(v.Dist.URL), "http") {
				t.Errorf("%s lies at %q", v.Pretty, v.Dist.URL)
			}
		}
		if again, err := remote.Own(own, file); err != nil || string(again) != string(own) {
			t.Errorf("put right twice: %v\n%s\n%s", err, own, again)
		}
	})
}
