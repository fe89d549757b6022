package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"stasis/proxy/composer"
)

// version is one version of a package, put right.
type version struct {
	object     composer.Object
	normalized string
}

// document makes the metadata document of f out of the versions of its package
// as repositories for Composer 1 have them: all of them, in any order.
func (r *Repository) document(cat *catalog, f composer.File, versions []composer.Object) ([]byte, error) {
	list, _, err := r.translate(cat, f, versions)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b version) int { return composer.CompareVersions(b.normalized, a.normalized) })
	return composer.NewDocument(f.Name, objects(list)).Encode(), nil
}

// ownDocument makes the metadata document of f out of one of the repository's
// own: the very same, where nothing has to be put right.
func (r *Repository) ownDocument(cat *catalog, f composer.File, own original) ([]byte, error) {
	list, changed, err := r.translate(cat, f, own.doc.Expanded())
	if err != nil || !changed {
		return own.body, err
	}
	return own.doc.With(objects(list)).Encode(), nil
}

func objects(list []version) []composer.Object {
	out := make([]composer.Object, len(list))
	for i, v := range list {
		out[i] = v.object
	}
	return out
}

// translate puts versions right and keeps those that belong into f, of several
// with the same normalized version the first. A package of which no version can
// be used is an error: it is not the same as having none.
func (r *Repository) translate(cat *catalog, f composer.File, versions []composer.Object) (list []version, changed bool, err error) {
	seen := map[string]bool{}
	left := 0
	for _, o := range versions {
		v, edited, problem := cat.version(f.Name, o)
		if problem != nil {
			left, err, changed = left+1, problem, true
			continue
		}
		if composer.IsDev(v.normalized) != f.Dev || seen[v.normalized] {
			changed = true
			continue
		}
		seen[v.normalized] = true
		list, changed = append(list, v), changed || edited
	}
	switch {
	case left > 0 && left == len(versions):
		return nil, false, fmt.Errorf("none of the %d versions of %s can be used: %w", left, f.Name, err)
	case left > 0:
		r.log.Warn("versions that clients could not use are left out", slog.String("repository", r.String()),
			slog.String("package", f.Name.String()), slog.Int("versions", left), slog.String("last_error", err.Error()))
	}
	return list, changed, nil
}

// version puts one version right, and says whether there was anything to do.
func (c *catalog) version(n composer.Name, o composer.Object) (v version, edited bool, err error) {
	// A version of another package would be taken for that package by clients.
	if name, err := composer.ParseName(o.Text("name")); err != nil || name != n {
		return v, false, fmt.Errorf("it is named %.80q", o.Text("name"))
	}
	if o.Has("uid") { // of use only within the original's root
		o, edited = o.Without("uid"), true
	}
	given := o.Text("version_normalized")
	if v.normalized = given; given == "" || given == "9999999-dev" { // what Composer 1 called every default branch
		pretty := scalar(o.Get("version"))
		if v.normalized, err = composer.NormalizeVersion(pretty); err != nil {
			return v, false, err
		}
		o, edited = o.With("version_normalized", quote(v.normalized)), true
	}
	dist, err := c.dist(o.Get("dist"))
	if err != nil {
		if !isObject(o.Get("source")) {
			return v, false, err
		}
		dist = json.RawMessage("null") // what is left is how the repository would be cloned
	}
	if !bytes.Equal(dist, o.Get("dist")) {
		o, edited = o.With("dist", dist), true
	}
	v.object = o
	return v, edited, nil
}

// dist makes the address of an archive absolute and attaches the root's mirrors,
// which count for every archive and replace what the archive names itself.
func (c *catalog) dist(value json.RawMessage) (json.RawMessage, error) {
	if !isObject(value) {
		return value, nil
	}
	var d composer.Object
	if err := d.UnmarshalJSON(value); err != nil {
		return nil, err
	}
	address := d.Text("url")
	whole := composer.Resolve(c.base, address)
	if address == "" || !fetchable(whole) {
		return nil, errors.New("its archive has no http or https address")
	}
	before := d
	if whole != address {
		d = d.With("url", quote(whole))
	}
	if d.Has("mirrors") {
		d = d.Without("mirrors")
	}
	if len(c.mirrors) > 0 {
		d = append(slices.Clip(d), composer.Member{Key: "mirrors", Value: mirrorList(c.mirrors)})
	}
	if slices.EqualFunc(before, d, func(a, b composer.Member) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }) {
		return value, nil
	}
	return encode(d), nil
}

func mirrorList(mirrors []composer.Mirror) json.RawMessage {
	list := make([]composer.Object, len(mirrors))
	for i, m := range mirrors {
		preferred := json.RawMessage("false")
		if m.Preferred {
			preferred = json.RawMessage("true")
		}
		list[i] = composer.Object{{Key: "url", Value: quote(m.DistURL)}, {Key: "preferred", Value: preferred}}
	}
	return encodeList(list)
}

// fetchable reports whether an address is one that clients of ours may be led
// to: never a path on their disk, nor a scheme of our own.
func fetchable(address string) bool {
	scheme, _, ok := strings.Cut(address, "://")
	return ok && (strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "http"))
}

func isObject(value json.RawMessage) bool { return len(value) > 0 && value[0] == '{' }

// scalar is the text of a version, which may be written as a number.
func scalar(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	if len(value) > 0 && (value[0] == '-' || '0' <= value[0] && value[0] <= '9') {
		return string(value)
	}
	return ""
}

// quote writes a text as JSON, slashes and other characters as they are.
func quote(s string) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // a string has a form in JSON
	}
	return bytes.TrimSpace(b.Bytes())
}
