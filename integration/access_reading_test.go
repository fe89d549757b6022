package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
)

func releaseOf(name, version string, provide map[string]string) standin.Release {
	return standin.Release{Name: name, Version: version, Provide: provide}
}

// readings are the addresses below each reading route; {package} stands for
// each of the packages and {archive} for each of their archives.
var readings = map[string][]string{
	"/packages.json":            {"/packages.json"},
	"/p2/*":                     {"/p2/{package}.json", "/p2/{package}~dev.json"},
	"/dist-proxy/*":             {"{archive}"},
	"/packages/list.json":       {"/packages/list.json", "/packages/list.json?vendor=own-corp", "/packages/list.json?filter=*lib"},
	"/packages/*":               {"/packages/{package}.json"},
	"/search.json":              {"/search.json?q=lib"},
	"/providers/*":              {"/providers/{package}.json", "/providers/acme/virtual.json"},
	"/metadata/changes.json":    {"/metadata/changes.json?since={recently}"},
	"/lists/all/summary.json":   {"/lists/all/summary.json"},
	"/api/security-advisories":  {"/api/security-advisories?packages[]={package}"},
	"/api/security-advisories/": {"/api/security-advisories/?packages[]={package}"},
	"/downloads/":               {"/downloads/"},
	"/snapshot/*":               {"{then}/packages.json", "{then}/p2/{package}.json", "{then}/packages/list.json", "/snapshot/release/packages.json", "/snapshot/release/p2/{package}.json", "/snapshot/release/list.json"},
	"/s/*":                      {"{sealed}/packages.json", "{sealed}/p2/{package}.json", "{sealed}/p2/{package}~dev.json", "{sealed}/packages/list.json"},
	"/cooldown/*":               {"/cooldown/1s/packages.json", "/cooldown/1s/p2/{package}.json", "/cooldown/1s/packages/list.json"},
}

// worldOnly are the routes that a reader who is bound to a world finds in that
// world alone; the others are about archives, advisories and rules, which all
// worlds share.
var worldOnly = map[string]bool{
	"/packages.json": true, "/p2/*": true, "/packages/list.json": true, "/packages/*": true, "/search.json": true,
	"/providers/*": true, "/metadata/changes.json": true,
}

// reading lets actors read everything there is to read.
func (m *matrix) reading(t *testing.T, actors []actor) {
	var all actor // what it gets is what there is
	for _, a := range m.actors {
		if a.name == "admin" {
			all = a
		}
	}
	m.truths = map[string]*reply{}
	archives := m.archives(t, all)
	since := fmt.Sprint(time.Now().Add(-time.Hour).UnixMicro() / 100)
	for _, route := range routesOf(t) {
		if n, _ := needOf(route.path); n != readers || route.method == http.MethodHead {
			continue
		}
		templates, ok := readings[route.path]
		if !ok {
			t.Errorf("the matrix does not know what there is to read at %s", route.path)
		}
		for _, template := range templates {
			template = strings.NewReplacer("{then}", m.then, "{sealed}", m.snapshot, "{recently}", since).Replace(template)
			for _, a := range actors {
				m.readAs(t, a, all, route, template, archives)
			}
		}
	}
}

// archive is one version of a package.
type archive struct{ name, version, path string }

func (m *matrix) archives(t *testing.T, all actor) (list []archive) {
	t.Helper()
	for _, name := range []string{kinds.own, kinds.foreign, kinds.public} {
		doc, err := standin.ParseDocument(m.ask(all, http.MethodGet, "/p2/"+name+".json", nil).body, name)
		if err != nil || len(doc.Versions) != 2 {
			t.Fatalf("%s has the versions %v: %v", name, doc, err)
		}
		for _, v := range doc.Versions {
			dist := object(t, v, "dist")
			url := expand(dist.Text("url"), name, v, dist.Text("reference"), dist.Text("type"))
			list = append(list, archive{name, v.Text("version"), strings.TrimPrefix(url, m.url)})
		}
	}
	unknown := strings.Replace(list[0].path, kinds.own, kinds.unknown, 1)
	return append(list, archive{kinds.unknown, list[0].version, unknown})
}

// readAs asks for what a template stands for, about every package.
func (m *matrix) readAs(t *testing.T, a, all actor, route registered, template string, archives []archive) {
	t.Helper()
	if template == "{archive}" {
		for _, ar := range archives {
			visible := a.sees(ar.name) && (a.versions == "" || ar.name == kinds.public || ar.version == a.versions) && (a.view == "" || ar.version == "1.0.0")
			m.readOne(t, a, all, route, ar.path, ar.name, visible)
		}
		return
	}
	if !strings.Contains(template, "{package}") {
		m.readOne(t, a, all, route, template, "", true)
		return
	}
	for _, name := range []string{kinds.own, kinds.foreign, kinds.public, kinds.unknown} {
		m.readOne(t, a, all, route, strings.ReplaceAll(template, "{package}", name), name, a.sees(name))
	}
}

// readOne compares one answer with what the rules say: a refusal; the answer
// to somebody who sees everything, in the world that the reader is bound to; or
// the answer to a question about a package that nobody has heard of.
func (m *matrix) readOne(t *testing.T, a, all actor, route registered, path, name string, visible bool) {
	t.Helper()
	var body []byte
	var form []string
	if route.method == http.MethodPost {
		form = []string{"Content-Type", "application/x-www-form-urlencoded"}
	}
	got := m.ask(a, route.method, path, body, form...)
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s, %s %s: %s\n%d %v\n%.400s", a.name, route.method, path, fmt.Sprintf(format, args...), got.StatusCode, got.Header, got.body)
	}
	if refusal := a.expected(readers, name); refusal != 0 {
		if got.StatusCode != refusal {
			wrong("want %d", refusal)
		} else if err := refusedWell(got, path, readers); err != nil {
			wrong("%v", err)
		}
		return
	}
	there := a.inWorld(route.path, path, m)
	truth := m.truths[route.method+there]
	if truth == nil {
		truth = m.ask(all, route.method, there, body, form...)
		m.truths[route.method+there] = truth
	}
	if a.view != "" && !m.enters(a, path) {
		visible = false
	}
	switch {
	case !visible && (name == "" || a.sees(name)):
		if got.StatusCode != http.StatusNotFound {
			wrong("want 404, as it is not in the world or among the versions of this reader")
		}
	case !visible:
		nobody := m.ask(a, route.method, strings.ReplaceAll(path, name, kinds.unknown), body, form...)
		if got.StatusCode != nobody.StatusCode || strings.ReplaceAll(string(got.body), name, kinds.unknown) != string(nobody.body) || saidBy(got) != saidBy(nobody) {
			wrong("it tells more than that there is nothing, which is\n%d %v\n%.400s", nobody.StatusCode, nobody.Header, nobody.body)
		}
	case got.StatusCode != truth.StatusCode:
		wrong("want %d", truth.StatusCode)
	case a.versions != "" && strings.Contains(name, "-corp/") && got.StatusCode == http.StatusOK && strings.Contains(path, "/p2/"):
		if strings.Contains(string(got.body), `"2.0.0"`) || strings.Contains(string(got.body), `"1.0.0"`) != strings.Contains(string(truth.body), `"1.0.0"`) {
			wrong("it has other versions than %s", a.versions)
		}
	case name == "":
		m.sameButHidden(t, a, got, truth, wrong)
	case !bytes.Equal(got.body, truth.body):
		wrong("it differs from what there is:\n%.400s", truth.body)
	}
	m.toldToCaches(a, got, wrong)
}

// inWorld is the address at which somebody who is bound to nothing finds what a
// bound reader gets at path.
func (a actor) inWorld(route, path string, m *matrix) string {
	if a.view != "" && worldOnly[route] {
		return a.view + path
	}
	return path
}

// enters reports whether a bound reader may look at an address.
func (m *matrix) enters(a actor, path string) bool {
	below := func(world string) bool { return strings.HasPrefix(path, world+"/") }
	switch {
	case below("/snapshot/release"), below(m.snapshot):
		return a.view == "/snapshot/release"
	case below(m.then):
		return a.view == m.then
	}
	return !below("/cooldown/1s")
}

// sameButHidden compares lists: they name what there is, as far as it exists
// for the reader.
func (m *matrix) sameButHidden(t *testing.T, a actor, got, truth *reply, wrong func(string, ...any)) {
	t.Helper()
	for _, name := range []string{kinds.own, kinds.foreign, kinds.public} {
		there := bytes.Contains(truth.body, []byte(name)) || bytes.Contains(truth.body, []byte(strings.ReplaceAll(name, "/", `\/`)))
		listed := bytes.Contains(got.body, []byte(name)) || bytes.Contains(got.body, []byte(strings.ReplaceAll(name, "/", `\/`)))
		if want := there && a.sees(name); listed != want {
			wrong("%s listed: %t, want %t", name, listed, want)
		}
	}
	if len(got.body) > 0 && !json.Valid(got.body) {
		wrong("it is no JSON")
	}
}

// saidBy is what the header of an answer says of the package. Cache-Status does
// tell whether the registry was asked, as does the time that the answer takes:
// it is never asked about private names.
func saidBy(r *reply) string {
	h := r.Header.Clone()
	for _, name := range []string{"Date", "X-Request-Id", "Cache-Status", "Content-Length", "Last-Modified", "Etag"} {
		h.Del(name)
	}
	return fmt.Sprint(h)
}

// toldToCaches fails unless caches know for whom an answer is.
func (m *matrix) toldToCaches(a actor, r *reply, wrong func(string, ...any)) {
	caching := r.Header.Get("Cache-Control")
	switch {
	case r.StatusCode/100 != 2 || r.Request.Method == http.MethodPost:
		if caching != "no-store" && r.StatusCode/100 != 2 {
			wrong("an error may be kept: %q", caching)
		}
	case caching == "no-store":
	case strings.HasPrefix(caching, "private") == (a.role == ""):
		wrong("caches are told %q", caching)
	case !strings.Contains(r.Header.Get("Vary"), "Authorization"):
		wrong("caches are not told that it depends on who asks: Vary is %q", r.Header.Get("Vary"))
	}
}
