package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
)

const form = "application/x-www-form-urlencoded"

func TestC63NotificationsAreTakenAtOnce(t *testing.T) {
	s, d := pair(t)
	link := d.root().Text("notify-batch")
	check := func(what, body string) {
		t.Helper()
		began := time.Now()
		r := d.do(http.MethodPost, link, []byte(body), "Content-Type", "application/json")
		if r.StatusCode/100 != 2 || time.Since(began) > time.Second {
			t.Errorf("%s: %d after %s", what, r.StatusCode, time.Since(began))
		}
	}
	const batch = `{"downloads":[{"name":"secret-corp\/plan","version":"7.7.7.0"},{"name":"acme\/b","version":"1.1.0.0"}]}`
	check("a batch", batch)
	check("rubbish", "{{{")
	check("nothing", "")
	check("a list", `[1,2,3]`)
	check("much", `{"downloads":[`+strings.Repeat(`{"name":"a/b","version":"1"},`, 5000)+`{"name":"a/b","version":"1"}]}`)
	if n := len(s.Notified()); n != 0 {
		t.Errorf("upstream was notified %d times, though that is off", n)
	}
	s.Down()
	check("a batch with upstream dead", batch)
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	d.restart("PROXY_NOTIFY_UPSTREAM=true", "PRIVATE_VENDORS=secret-corp/*")
	hang := s.Hang("/downloads/")
	check("a batch with upstream silent", batch)
	hang.Remove()
	if err := s.AwaitDone(within(t), "/downloads/", 1); err != nil {
		t.Fatalf("the notification never reaches upstream: %v", err)
	}
	r := s.Records("/downloads/")[0]
	if strings.Contains(string(r.Body), "secret") || strings.Contains(string(r.Body), "7.7.7.0") {
		t.Errorf("upstream was told of a private package: %s", r.Body)
	}
	if !strings.Contains(string(r.Body), "1.1.0.0") || !strings.Contains(r.Header.Get("User-Agent"), "Composer/") {
		t.Errorf("upstream was told %s by %q", r.Body, r.Header.Get("User-Agent"))
	}
}

func TestC64SearchAnswersInPackagistsShape(t *testing.T) {
	s, d := pair(t)
	made(s)
	template := d.root().Text("search")
	ask := func(query, kind string) map[string]bool {
		t.Helper()
		r := d.get(strings.NewReplacer("%query%", query, "%type%", kind).Replace(template))
		answer := into[struct {
			Results []struct {
				Name, Description string
				Virtual           bool
			}
			Total int
		}](t, r)
		out := map[string]bool{}
		for _, x := range answer.Results {
			out[x.Name] = x.Virtual
		}
		if r.StatusCode != 200 || len(out) == 0 {
			t.Errorf("search %q of type %q: %d %.200s", query, kind, r.StatusCode, r.body)
		}
		return out
	}
	if got := ask("acme", ""); len(got) < 5 {
		t.Errorf("acme finds %v", got)
	}
	if got := ask("thing+logs", ""); len(got) != 1 || got["acme/a"] {
		t.Errorf("thing+logs finds %v", got)
	}
	if got := ask("acme", "composer-plugin"); len(got) != 1 {
		t.Errorf("plugins are %v", got)
	}
	if got := ask("acme%2Fvirtual", ""); !got["acme/virtual"] {
		t.Errorf("the virtual package is not flagged: %v", got)
	}
	if got := ask("acme", "%type%"); len(got) < 5 {
		t.Errorf("a literal %%type%% finds %v", got)
	}
	// Clients before 2.2.6 send the words as they are typed.
	if line := d.raw("GET /search.json?q=thing logs&type= HTTP/1.1\r\nHost: " + d.addr + "\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(line, "HTTP/1.1 200") && !strings.HasPrefix(line, "HTTP/1.1 400") {
		t.Errorf("a raw space: %.200s", line)
	}
	if r := d.get("/search.json?q="); r.StatusCode != 400 {
		t.Errorf("an empty query: %d, want 400", r.StatusCode)
	}
}

func TestC65TheNameListCanBeNarrowed(t *testing.T) {
	s, d := pair(t)
	made(s)
	s.Publish(standin.Release{Name: "other/p", Version: "1.0.0"})
	link := d.root().Text("list")
	ask := func(query string) []string {
		t.Helper()
		r := d.get(link + query)
		if r.StatusCode != 200 {
			t.Errorf("list%s: %d", query, r.StatusCode)
		}
		return into[struct {
			PackageNames []string `json:"packageNames"`
		}](t, r).PackageNames
	}
	if got := ask(""); !slices.Equal(got, names(s)) {
		t.Errorf("the list is %v, want %v", got, names(s))
	}
	if got := ask("?filter=other%2F%2A"); !slices.Equal(got, []string{"other/p"}) {
		t.Errorf("other/* is %v", got)
	}
	if got := ask("?vendor=acme&filter=acme%2Fta%2A"); !slices.Equal(got, []string{"acme/tarred"}) {
		t.Errorf("acme/ta* is %v", got)
	}
	if got := ask("?type=metapackage"); !slices.Equal(got, []string{"acme/meta"}) {
		t.Errorf("metapackages are %v", got)
	}
	s.Down()
	if got := ask("?filter=other%2F%2A"); !slices.Equal(got, []string{"other/p"}) {
		t.Errorf("with upstream dead other/* is %v", got)
	}
}

func TestC66UnknownNamesHaveNoProviders(t *testing.T) {
	s, d := pair(t)
	made(s)
	template := d.root().Text("providers-api")
	ask := func(name string) string {
		t.Helper()
		r := d.get(strings.Replace(template, "%package%", name, 1))
		if r.StatusCode != 200 {
			t.Errorf("providers of %s: %d", name, r.StatusCode)
		}
		return string(r.body)
	}
	if got := ask("acme/virtual"); !strings.Contains(got, `acme/provider`) {
		t.Errorf("providers of a virtual package: %s", got)
	}
	if got := ask("acme/nobody"); strings.TrimSpace(got) != `{"providers":[]}` {
		t.Errorf("providers of an unknown name: %s", got)
	}
	s.Fault("/providers/*", standin.Status(404))
	if got := ask("acme/nobody-else"); strings.TrimSpace(got) != `{"providers":[]}` {
		t.Errorf("upstream 404: %s", got)
	}
	s.Down()
	if got := ask("acme/virtual"); !strings.Contains(got, "providers") {
		t.Errorf("with upstream dead: %s", got)
	}
}

// advisories asks for the advisories of names as Composer does.
func (d *daemon) advisories(names ...string) (map[string][]map[string]any, *reply) {
	d.t.Helper()
	body := url.Values{}
	for i, name := range names {
		body.Set(fmt.Sprintf("packages[%d]", i), name)
	}
	r := d.do(http.MethodPost, object(d.t, d.root(), "security-advisories").Text("api-url"), []byte(body.Encode()), "Content-Type", form)
	var answer struct{ Advisories json.RawMessage }
	if err := json.Unmarshal(r.body, &answer); err != nil || r.StatusCode != 200 || answer.Advisories == nil {
		d.t.Fatalf("advisories of %d names: %d %.300s", len(names), r.StatusCode, r.body)
	}
	out := map[string][]map[string]any{}
	if string(answer.Advisories) != "[]" {
		if err := json.Unmarshal(answer.Advisories, &out); err != nil {
			d.t.Fatalf("advisories is %.300s", answer.Advisories)
		}
	}
	return out, r
}

func TestC67AdvisoriesOfExactlyTheNamesAskedFor(t *testing.T) {
	s, d := pair(t)
	made(s)
	s.Advise("acme/a", "PKSA-1", "<1.1", nil)
	s.Advise("acme/b", "PKSA-2", "<9", nil)
	got, _ := d.advisories("acme/a")
	if len(got) != 1 || len(got["acme/a"]) != 1 {
		t.Errorf("one name: %v", got)
	}
	var many []string
	for i := range 797 {
		many = append(many, fmt.Sprintf("acme/unknown%d", i))
	}
	many = append(many, "acme/a", "acme/meta", "acme/b")
	got, _ = d.advisories(many...)
	if len(got["acme/a"]) != 1 || len(got["acme/b"]) != 1 {
		t.Errorf("800 names: %v", got)
	}
	if list, ok := got["acme/meta"]; !ok || len(list) != 0 {
		t.Errorf("a clean package is %v, want an empty list", list)
	}
	for name := range got {
		if !slices.Contains(many, name) || strings.HasPrefix(name, "acme/unknown") {
			t.Errorf("%s was not asked for or is unknown", name)
		}
	}
	if got, r := d.advisories("acme/unknown1"); len(got) != 0 {
		t.Errorf("an unknown name: %s", r.body)
	}
	r := d.get("/api/security-advisories/?packages[]=acme/a&packages[]=acme/meta")
	if r.StatusCode != 200 || !strings.Contains(string(r.body), "PKSA-1") || strings.Contains(string(r.body), "PKSA-2") {
		t.Errorf("by GET: %d %.300s", r.StatusCode, r.body)
	}
}

func TestC68AdvisoriesSinceAMoment(t *testing.T) {
	s, d := pair(t)
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	s.Advise("acme/a", "PKSA-new", "<2", nil)
	s.Advise("acme/a", "PKSA-old", "<1", map[string]any{"reportedAt": "2020-01-01 00:00:00"})
	r := d.get("/api/security-advisories/?updatedSince=1700000000")
	if r.StatusCode != 200 || !strings.Contains(string(r.body), "PKSA-new") || strings.Contains(string(r.body), "PKSA-old") {
		t.Errorf("updatedSince: %d %.300s", r.StatusCode, r.body)
	}
	for _, query := range []string{"?updatedSince=1700000000&packages[]=acme/a", "", "?updatedSince=-5", "?updatedSince=99999999999", "?packages=acme/a"} {
		r := d.get("/api/security-advisories/" + query)
		if r.StatusCode != 400 || !json.Valid(r.body) {
			t.Errorf("%q: %d %.200s, want 400 with JSON", query, r.StatusCode, r.body)
		}
	}
}

func TestC69AdvisoriesOutliveUpstream(t *testing.T) {
	s, d := pair(t, hasty...)
	made(s)
	s.Advise("acme/a", "PKSA-1", "<1.1", nil)
	if got, _ := d.advisories("acme/a", "acme/b"); len(got["acme/a"]) != 1 {
		t.Fatalf("before: %v", got)
	}
	_ = d.get("/p2/acme/a.json")
	for name, cause := range map[string]func(){
		"refused": s.Down, "500": func() { s.Fault("/api/*", standin.Status(500)) }, "429": func() { s.Fault("/api/*", standin.Status(429)) }, "a page": func() { s.Fault("/api/*", standin.HTML()) },
	} {
		cause()
		got, r := d.advisories("acme/a", "acme/b")
		if len(got["acme/a"]) != 1 || got["acme/a"][0]["advisoryId"] != "PKSA-1" {
			t.Errorf("%s: %s", name, r.body)
		}
		s.Heal()
		_ = s.Up()
	}
	s.Down()
	d.restart()
	if got, r := d.advisories("acme/a"); len(got["acme/a"]) != 1 {
		t.Errorf("after a restart: %s", r.body)
	}
}

func TestC70AdvisoriesWithoutOptionalFieldsPass(t *testing.T) {
	s, d := pair(t)
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	s.Advise("acme/a", "PKSA-1", "<1.1", map[string]any{"cve": nil, "link": nil, "severity": nil, "composerRepository": nil})
	got, r := d.advisories("acme/a")
	if len(got["acme/a"]) != 1 {
		t.Fatalf("%s", r.body)
	}
	a := got["acme/a"][0]
	for _, key := range []string{"cve", "link", "severity"} {
		if v, ok := a[key]; ok && v != nil {
			t.Errorf("%s became %v", key, v)
		}
	}
	for _, key := range []string{"advisoryId", "affectedVersions", "title", "reportedAt"} {
		if s, _ := a[key].(string); s == "" {
			t.Errorf("%s is %v", key, a[key])
		}
	}
	if sources, _ := a["sources"].([]any); len(sources) == 0 {
		t.Errorf("sources is %v", a["sources"])
	}
}

func TestC72TheFilterSummaryIsTheUnionOfTheDocuments(t *testing.T) {
	s, d := pair(t, revalidating...)
	made(s)
	s.Flag("malware", "acme/a", "1.0.0")
	s.Flag("malware", "acme/a", "v0.9.0")
	s.Flag("malware", "acme/b", "1.1.0")
	r := d.get(object(t, d.root(), "filter").Text("summary-url"))
	summary := into[struct {
		Filter map[string]map[string]string `json:"filter"`
	}](t, r).Filter
	for _, name := range []string{"acme/a", "acme/b", "acme/meta"} {
		var filter map[string][]struct{ Constraint string }
		if raw := d.document(name).Top.Get("filter"); raw != nil {
			if err := json.Unmarshal(raw, &filter); err != nil {
				t.Fatal(err)
			}
		}
		var parts []string
		for _, e := range filter["malware"] {
			parts = append(parts, e.Constraint)
		}
		if got, want := summary["malware"][name], strings.Join(parts, "|"); got != want {
			t.Errorf("%s: the summary says %q, the document %q", name, got, want)
		}
	}
	modified := r.Header.Get("Last-Modified")
	if again := d.get("/lists/all/summary.json", "If-Modified-Since", modified); again.StatusCode != 304 || len(again.body) != 0 {
		t.Errorf("conditionally (%q): %d, want 304", modified, again.StatusCode)
	}
	s.Flag("malware", "acme/meta", "1.0.0")
	eventually(t, "the new entry is in the summary", func() bool {
		return bytes.Contains(d.get("/lists/all/summary.json", "If-Modified-Since", modified).body, []byte("acme/meta"))
	})
	s.Down()
	if r := d.get("/lists/all/summary.json"); r.StatusCode != 200 || !bytes.Contains(r.body, []byte("acme/meta")) {
		t.Errorf("with upstream dead: %d %.200s", r.StatusCode, r.body)
	}
}

// change is an entry of the change feed.
type change struct {
	Type, Package string
	Time          int64
}

// changes polls the program's own feed.
func (d *daemon) changes(since int64) ([]change, int64) {
	d.t.Helper()
	r := d.get(fmt.Sprintf("%s?since=%d", d.root().Text("metadata-changes-url"), since))
	answer := into[struct {
		Actions   []change
		Timestamp int64
	}](d.t, r)
	if r.StatusCode != 200 || answer.Timestamp < since {
		d.t.Errorf("changes since %d: %d, timestamp %d", since, r.StatusCode, answer.Timestamp)
	}
	return answer.Actions, answer.Timestamp
}

// feedStart asks for the number that polling begins with.
func (d *daemon) feedStart() int64 {
	d.t.Helper()
	r := d.get("/metadata/changes.json")
	answer := into[struct {
		Error     string
		Timestamp json.Number
	}](d.t, r)
	n, err := answer.Timestamp.Int64()
	if r.StatusCode != 400 || err != nil || answer.Error == "" {
		d.t.Errorf("without since: %d %s, want 400 with an integer timestamp", r.StatusCode, r.body)
	}
	return n
}

func TestC73TheChangeFeedCanBeReplayed(t *testing.T) {
	s, d := pair(t, revalidating...)
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	_ = d.get("/p2/acme/a.json")
	from := d.feedStart()
	if r := d.get("/metadata/changes.json?since=abc"); r.StatusCode != 400 {
		t.Errorf("an unreadable since: %d, want 400", r.StatusCode)
	}
	s.Publish(standin.Release{Name: "acme/a", Version: "1.1.0"})
	_ = d.get("/p2/acme/a.json")
	var first []change
	var next int64
	eventually(t, "the change is in the feed", func() bool {
		first, next = d.changes(from)
		return slices.ContainsFunc(first, func(c change) bool { return c.Type == "update" && c.Package == "acme/a" })
	})
	again, later := d.changes(from)
	if fmt.Sprint(again) != fmt.Sprint(first) || later < next {
		t.Errorf("the same since told %v and then %v", first, again)
	}
	if rest, _ := d.changes(next); len(rest) != 0 {
		t.Errorf("since the feed's own timestamp it tells %v once more", rest)
	}
}

func TestC74WhatTheFeedTellsIsServed(t *testing.T) {
	s, d := pair(t, "PROXY_FEED_INTERVAL=100ms")
	s.Publish(standin.Release{Name: "acme/a", Version: "1.0.0"})
	_ = d.get("/p2/acme/a.json")
	from := d.feedStart()
	// The program must have a place in upstream's feed before it can miss nothing.
	if err := s.Await(within(t), "/metadata/changes.json?since=*", 1); err != nil {
		t.Fatal(err)
	}
	s.Publish(standin.Release{Name: "acme/a", Version: "1.1.0"})
	var actions []change
	eventually(t, "the change arrives through both feeds", func() bool {
		actions, _ = d.changes(from)
		return slices.ContainsFunc(actions, func(c change) bool { return c.Type == "update" && c.Package == "acme/a" })
	})
	for _, a := range actions {
		r := d.get("/p2/" + a.Package + ".json")
		date, err := http.ParseTime(r.Header.Get("Last-Modified"))
		if err != nil || r.StatusCode != 200 || date.Unix() < a.Time {
			t.Errorf("%s changed at %d, served %d dated %q", a.Package, a.Time, r.StatusCode, r.Header.Get("Last-Modified"))
		}
	}
	version(t, d.document("acme/a"), "1.1.0")
}

func TestC75ATooOldSinceIsAResync(t *testing.T) {
	_, d := pair(t)
	actions, _ := d.changes(15850612240001)
	if len(actions) != 1 || actions[0].Type != "resync" || actions[0].Package != "*" {
		t.Errorf("got %v, want a single resync", actions)
	}
}

func TestC76PackageDetails(t *testing.T) {
	s, d := pair(t)
	made(s)
	r := d.get("/packages/acme/a.json")
	pkg := into[struct {
		Package struct {
			Name     string
			Versions map[string]json.RawMessage
		}
	}](t, r).Package
	if r.StatusCode != 200 || pkg.Name != "acme/a" || pkg.Versions["v1.0.0"] == nil {
		t.Errorf("%d %.300s", r.StatusCode, r.body)
	}
	r = d.get("/packages/acme/unknown.json")
	if r.StatusCode != 404 || !json.Valid(r.body) || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		t.Errorf("unknown: %d %s %.200s", r.StatusCode, r.Header.Get("Content-Type"), r.body)
	}
}
