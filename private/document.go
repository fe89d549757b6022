package private

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"stasis/proxy/composer"
)

// shown are the keys of composer.json that a metadata document carries, in
// Packagist's order. What only counts in a root package is left out.
var shown = []string{
	"description", "keywords", "homepage", "license", "authors", "type", "support", "funding",
	"autoload", "extra", "bin", "target-dir", "include-path", "php-ext",
	"require", "require-dev", "suggest", "conflict", "provide", "replace",
}

// makeDocument makes the metadata document of one file: the tagged versions, or
// with dev the development versions, newest first. It is nil when there are
// none. The same versions give the same bytes.
func makeDocument(p *Package, all []Version, dev bool) ([]byte, error) {
	var chosen []Version
	for _, v := range all {
		if v.YankedAt.IsZero() && composer.IsDev(v.Normalized) == dev {
			chosen = append(chosen, v)
		}
	}
	if len(chosen) == 0 {
		return nil, nil
	}
	slices.SortFunc(chosen, func(a, b Version) int {
		return cmp.Or(composer.CompareVersions(b.Normalized, a.Normalized), cmp.Compare(a.Normalized, b.Normalized))
	})
	objects := make([]composer.Object, 0, len(chosen))
	for _, v := range chosen {
		o, err := v.object(p)
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return composer.NewDocument(p.Name, objects).Encode(), nil
}

// object is a version as it stands in a metadata document.
func (v Version) object(p *Package) (composer.Object, error) {
	var manifest composer.Object
	if err := json.Unmarshal(v.Manifest, &manifest); err != nil {
		return nil, fmt.Errorf("read the definition of %s %s: %w", p.Name, v.Pretty, err)
	}
	var o composer.Object
	add := func(key string, value any) error {
		raw, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("write %s of %s %s: %w", key, p.Name, v.Pretty, err)
		}
		o = append(o, composer.Member{Key: key, Value: raw})
		return nil
	}
	err := add("name", p.Name.String())
	for _, key := range shown {
		if value := manifest.Get(key); value != nil && err == nil {
			o = append(o, composer.Member{Key: key, Value: value})
		}
	}
	if !manifest.Has("type") && err == nil {
		err = add("type", "library")
	}
	pairs := []struct {
		key   string
		value any
		given bool
	}{
		{"version", v.Pretty, true},
		{"version_normalized", v.Normalized, true},
		{"source", map[string]string{"type": "git", "url": v.SourceURL, "reference": v.Reference}, v.SourceURL != ""},
		{"source", manifest.Get("source"), v.Inline && manifest.Has("source")},
		{"dist", v.dist(p), v.Type != ""},
		{"dist", manifest.Get("dist"), v.Inline && manifest.Has("dist")},
		{"time", v.Time.UTC().Format(time.RFC3339), !v.Time.IsZero()},
		{"published-time", v.PublishedAt.UTC().Format(time.RFC3339), true},
		{"default-branch", true, v.Default},
	}
	for _, pair := range pairs {
		if pair.given && err == nil {
			err = add(pair.key, pair.value)
		}
	}
	if abandoned := cmp.Or(v.Deprecated, p.Abandoned); abandoned != "" && err == nil {
		if abandoned == "true" {
			err = add("abandoned", true)
		} else {
			err = add("abandoned", abandoned)
		}
	} else if value := manifest.Get("abandoned"); value != nil && err == nil {
		err = add("abandoned", value)
	}
	return o, err
}

// dist is the archive of a version as documents have it, keys in Packagist's
// order.
type dist struct {
	URL       string `json:"url"`
	Type      string `json:"type"`
	Shasum    string `json:"shasum"`
	Reference string `json:"reference"`
}

func (v Version) dist(p *Package) dist {
	return dist{URL: localURL(p.Name, v.Reference, v.Extension), Type: v.Type, Shasum: v.SHA1, Reference: v.Reference}
}

// indexed is a version as a reader of its document sees it.
func (v Version) indexed(p *Package) composer.Version {
	d := v.dist(p)
	return composer.Version{
		Pretty: v.Pretty, Normalized: v.Normalized, Time: v.Time, Published: v.PublishedAt,
		Dist: &composer.Dist{Type: d.Type, URL: d.URL, Reference: d.Reference, Shasum: d.Shasum},
	}
}
