package integration_test

import (
	"crypto/md5"
	"encoding/hex"
	"regexp"
	"strings"

	"stasis/integration/standin"
)

// made fills a stand-in with small packages of every kind a registry holds.
func made(s *standin.Server) {
	for _, r := range []standin.Release{
		{Name: "acme/b", Version: "1.0.0"},
		{Name: "acme/b", Version: "1.1.0"},
		{Name: "acme/b", Version: "dev-main", Default: true, Extra: map[string]any{"extra": map[string]any{"branch-alias": map[string]string{"dev-main": "1.x-dev"}}}},
		{Name: "acme/a", Version: "v0.9.0"},
		{Name: "acme/a", Version: "v1.0.0", Require: map[string]string{"acme/b": "^1.0", "php": ">=7.2"}, Description: "A thing that logs <b>/things/ in ünïcode", Shasum: true},
		{Name: "acme/a", Version: "v1.1.0", Require: map[string]string{"acme/b": "^1.0"}, Extra: map[string]any{
			"suggest": map[string]string{"z/z": "first", "a/a": "second"}, "x-unknown": map[string]any{"deep": []any{1.0, 1e30, nil, map[string]any{}}},
			"php-ext": map[string]any{"extension-name": "a"}, "funding": []map[string]string{{"type": "github", "url": "https://github.com/sponsors/acme"}},
		}},
		{Name: "acme/a", Version: "2.0.0-RC1", Require: map[string]string{"acme/b": "^1.0"}},
		{Name: "acme/a", Version: "2.0.0-beta2", Description: "A thing that logs"},
		{Name: "acme/a", Version: "dev-main", Default: true},
		{Name: "acme/a", Version: "1.x-dev"},
		{Name: "acme/meta", Version: "1.0.0", Type: "metapackage", Require: map[string]string{"acme/a": "^1.0"}},
		{Name: "acme/source-only", Version: "1.0.0", Dist: "null"},
		{Name: "acme/source-only", Version: "1.1.0", Dist: "none"},
		{Name: "acme/tarred", Version: "1.0.0", Dist: "tar"},
		{Name: "acme/tarred", Version: "1.1.0", Dist: "tar.gz"},
		{Name: "acme/plugin", Version: "1.0.0", Type: "composer-plugin", Require: map[string]string{"composer-plugin-api": "^2.0"}, Extra: map[string]any{"extra": map[string]string{"class": "Acme\\Plugin\\Thing"}}},
		{Name: "acme/provider", Version: "1.0.0", Provide: map[string]string{"acme/virtual": "1.0"}},
	} {
		s.Publish(r)
	}
	odd(s)
}

// odd publishes the versions and references whose archives are hard to name.
func odd(s *standin.Server) map[string]standin.Published {
	out := map[string]standin.Published{}
	for _, r := range []standin.Release{
		{Name: "acme/odd", Version: "dev-feature/x"},
		{Name: "acme/odd", Version: "dev-A_B"},
		{Name: "acme/odd", Version: "1.0.x-dev"},
		{Name: "acme/odd", Version: "dev-a&b"},
		{Name: "acme/odd", Version: "dev-фича"},
		{Name: "acme/odd", Version: "dev-foo+1"},
		{Name: "acme/odd", Version: "dev-deep/er/branch"},
		{Name: "acme/odd", Version: "v1.0.0"},
		{Name: "acme/odd", Version: "1.2.0", Reference: "v1.2", Dist: "direct"},
		{Name: "acme/odd", Version: "1.3.0", Reference: "ABCDEF", Dist: "direct"},
		{Name: "acme/odd", Version: "1.4.0", NoReference: true},
		{Name: "acme/odd", Version: "1.5.0", NoReference: true, Salt: "another without a reference"},
		{Name: "acme/odd", Version: "1.6.0", Dist: "tar"},
		{Name: "acme/odd", Version: "1.7.0", Dist: "tar.gz"},
		{Name: "acme/odd", Version: "1.8.0", Shasum: true},
	} {
		out[r.Version] = s.Publish(r)
	}
	return out
}

var hexadecimal = regexp.MustCompile(`^[a-f0-9]*$`)

// expand fills a dist or mirror template in as Composer does.
func expand(template, name string, v standin.Object, reference, kind string) string {
	if !strings.Contains(template, "%") {
		return template
	}
	sum := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
	normalized := v.Text("version_normalized")
	if strings.Contains(normalized, "/") {
		normalized = sum(normalized)
	}
	if !hexadecimal.MatchString(reference) {
		reference = sum(reference)
	}
	return strings.NewReplacer("%package%", name, "%version%", normalized, "%prettyVersion%", v.Text("version"), "%reference%", reference, "%type%", kind).Replace(template)
}

// distURL is where Composer downloads a version from: the mirror if the root
// announces one, the dist's own URL otherwise.
func (d *daemon) distURL(name, pretty string) string {
	d.t.Helper()
	file := name
	if n := standin.Normalize(pretty); strings.HasPrefix(n, "dev-") || strings.HasSuffix(n, "-dev") {
		file += "~dev"
	}
	v := version(d.t, d.document(file), pretty)
	dist := object(d.t, v, "dist")
	return expand(dist.Text("url"), name, v, dist.Text("reference"), dist.Text("type"))
}

// archive downloads a version the way Composer does.
func (d *daemon) archive(name, pretty string) *reply {
	d.t.Helper()
	return d.get(d.distURL(name, pretty))
}

// ours reports whether a URL handed out by the program leads back to it.
func (d *daemon) ours(url string) bool { return strings.HasPrefix(url, d.probe()+"/") }

func names(s *standin.Server) []string { return s.Names() }
