package artifact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"stasis/proxy/composer"
)

// Definitions is what a repository of type "package" holds.
type Definitions struct {
	Versions   []Inline
	Advisories map[composer.Name][]composer.Advisory
}

// Inline is one version as somebody wrote it down.
type Inline struct {
	Package            composer.Name
	Pretty, Normalized string
	Version            composer.Object // whole and as it was written
}

// maxInline bounds how many versions one text may define.
const maxInline = 10_000

// ParsePackages reads package definitions as Composer takes them: one version, a list of versions, or the whole
// repository ({"type": "package", "package": …}), which may carry security advisories. Each version needs a name, a
// version, and an archive or a repository to get it from, unless it is a metapackage. The error is an *Error.
func ParsePackages(body []byte) (Definitions, error) {
	list, advisories, err := unwrap(body)
	if err != nil {
		return Definitions{}, &Error{"the package definition is not valid: " + sentence(err)}
	}
	d := Definitions{}
	seen := map[string]bool{}
	for i, o := range list {
		v, err := parseInline(o)
		if err == nil && seen[v.Package.String()+" "+v.Normalized] {
			err = fmt.Errorf("%s %s is defined twice", v.Package, v.Pretty)
		}
		if err != nil {
			return Definitions{}, &Error{fmt.Sprintf("package definition %d of %d is not valid: %s", i+1, len(list), sentence(err))}
		}
		seen[v.Package.String()+" "+v.Normalized] = true
		d.Versions = append(d.Versions, v)
	}
	if d.Advisories, err = parseAdvisories(advisories); err != nil {
		return Definitions{}, &Error{"the security advisories are not valid: " + sentence(err)}
	}
	return d, nil
}

// unwrap finds the versions and the advisories in whichever form they came.
func unwrap(body []byte) (list []composer.Object, advisories json.RawMessage, err error) {
	if isList(body) {
		return readList(body)
	}
	var o composer.Object
	if err := o.UnmarshalJSON(body); err != nil {
		return nil, nil, err
	}
	if o.Text("type") != "package" || !o.Has("package") { // a package of the type "package" has a name, no package
		return []composer.Object{o}, nil, nil
	}
	if inner := o.Get("package"); isList(inner) {
		list, _, err = readList(inner)
	} else {
		list = make([]composer.Object, 1)
		err = list[0].UnmarshalJSON(inner)
	}
	return list, o.Get("security-advisories"), err
}

func isList(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && body[0] == '['
}

func readList(body []byte) (list []composer.Object, _ json.RawMessage, err error) {
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, nil, err
	}
	if len(list) == 0 || len(list) > maxInline {
		return nil, nil, fmt.Errorf("it defines %d versions; 1 to %d are possible", len(list), maxInline)
	}
	return list, nil, nil
}

func parseInline(o composer.Object) (Inline, error) {
	if err := composer.CheckManifest(o); err != nil {
		return Inline{}, err
	}
	name, err := composer.ParseName(o.Text("name"))
	if err != nil {
		return Inline{}, err
	}
	v := Inline{Package: name, Pretty: o.Text("version"), Version: o}
	if v.Pretty == "" {
		return Inline{}, fmt.Errorf("%s has no version", name)
	}
	if v.Normalized, err = composer.NormalizeVersion(v.Pretty); err == nil {
		err = checkSpelling(v.Pretty, v.Normalized)
	}
	if n := o.Text("version_normalized"); err == nil && n != "" && n != v.Normalized {
		err = fmt.Errorf("its version_normalized is %q, but %q is %q", n, v.Pretty, v.Normalized)
	}
	if err == nil {
		err = checkForms(o)
	}
	if err == nil {
		err = checkPlaces(o)
	}
	if err != nil {
		return Inline{}, fmt.Errorf("%s %s: %w", name, v.Pretty, err)
	}
	return v, nil
}

// checkForms holds the keys against what Composer demands of definitions written by hand, beyond what it survives.
func checkForms(o composer.Object) error {
	for _, k := range []struct{ key, opening, form string }{
		{"description", `"`, "a text"}, {"homepage", `"`, "a text"},
		{"extra", "{[", "an object"}, {"scripts", "{[", "an object"}, {"support", "{[", "an object"},
		{"authors", "{[", "a list"}, {"funding", "{[", "a list"}, {"keywords", "{[", "a list"},
		{"license", `"[{`, "a text or a list"}, {"abandoned", `"tf`, "true, false or the name of a package"},
	} {
		if v := o.Get(k.key); len(v) > 0 && string(v) != "null" && strings.IndexByte(k.opening, v[0]) < 0 {
			return fmt.Errorf("its %q is not %s", k.key, k.form)
		}
	}
	return nil
}

// distTypes are the types of archives that Composer can install and this program can fetch.
var distTypes = []string{"zip", "tar", "gzip", "xz", "rar", "phar", "file"}

// checkPlaces checks where the code of a version comes from.
func checkPlaces(o composer.Object) error {
	source, err := placeOf(o, "source")
	if err != nil {
		return err
	}
	dist, err := placeOf(o, "dist")
	if err != nil {
		return err
	}
	if source == nil && dist == nil {
		if strings.EqualFold(o.Text("type"), "metapackage") {
			return nil
		}
		return errors.New("it has neither dist nor source, and is no metapackage")
	}
	if source != nil && source.Reference == "" {
		return errors.New("its source has no reference")
	}
	if dist == nil {
		return nil
	}
	if !slices.Contains(distTypes, dist.Type) {
		return fmt.Errorf("its dist has the type %.40q, which is none of %s", dist.Type, strings.Join(distTypes, ", "))
	}
	if u, err := url.Parse(dist.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return errors.New("its dist has an address that is not a whole http or https one")
	}
	if !isSHA1(dist.Shasum) {
		return fmt.Errorf("its dist has the shasum %.50q, which is not a SHA-1 in lower-case hex", dist.Shasum)
	}
	return nil
}

type codePlace struct {
	Type, URL, Reference, Shasum string
}

// placeOf reads source or dist, which may be missing.
func placeOf(whole composer.Object, key string) (*codePlace, error) {
	v := whole.Get(key)
	if len(v) == 0 || string(v) == "null" || string(v) == "[]" || string(v) == "{}" {
		return nil, nil
	}
	var o composer.Object
	if err := o.UnmarshalJSON(v); err != nil {
		return nil, fmt.Errorf("its %s is not an object", key)
	}
	for _, m := range o {
		if slices.Contains([]string{"type", "url", "reference", "shasum"}, m.Key) && m.Value[0] != '"' && string(m.Value) != "null" {
			return nil, fmt.Errorf("its %s has an %q that is not a text", key, m.Key)
		}
	}
	p := codePlace{o.Text("type"), o.Text("url"), o.Text("reference"), o.Text("shasum")}
	if p.Type == "" || p.URL == "" {
		return nil, fmt.Errorf("its %s has no type or no url", key)
	}
	for _, s := range []string{p.URL, p.Reference} {
		// Tools would take it for an option.
		if strings.HasPrefix(strings.TrimLeft(s, " \t\r\n\v\f"), "-") {
			return nil, fmt.Errorf("its %s has an url or reference that begins with a hyphen", key)
		}
	}
	return &p, nil
}

func isSHA1(s string) bool {
	if len(s) != 40 {
		return s == ""
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

// parseAdvisories reads advisories as they stand in a repository of type "package", by package name.
func parseAdvisories(body json.RawMessage) (map[composer.Name][]composer.Advisory, error) {
	if len(body) == 0 || string(body) == "null" {
		return nil, nil
	}
	var o composer.Object
	if err := o.UnmarshalJSON(body); err != nil {
		return nil, err
	}
	out := map[composer.Name][]composer.Advisory{}
	for _, m := range o {
		name, err := composer.ParseName(m.Key)
		if err != nil {
			return nil, err
		}
		var list []json.RawMessage
		if err := json.Unmarshal(m.Value, &list); err != nil {
			return nil, fmt.Errorf("those of %s are not a list", name)
		}
		for _, entry := range list {
			a, ok := composer.ReadAdvisory(entry)
			if !ok || a.ID == "" {
				return nil, fmt.Errorf("one of %s has no advisoryId or no affectedVersions", name)
			}
			if _, err := composer.ParseConstraint(a.Affected); err != nil {
				return nil, fmt.Errorf("advisory %.60q of %s: %w", a.ID, name, err)
			}
			out[name] = append(out[name], a)
		}
	}
	return out, nil
}
