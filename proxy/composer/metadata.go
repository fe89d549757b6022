package composer

import (
	"errors"
	"fmt"
)

// Document is one metadata document of one package: its tagged versions or its development versions.
//
// A Document shares memory with the bytes it was parsed from. Neither may be changed afterwards; Rewrite and With return
// new documents that share what did not change.
type Document struct {
	Minified bool     // Versions hold differences, see Expand
	Versions []Object // as in the file
	Top      Object   // every top-level key besides "packages" and "minified", in order

	name   Name
	layout []string // the top-level keys in the order of the file
}

// NewDocument makes a minified document out of whole versions.
func NewDocument(name Name, expanded []Object) *Document {
	return &Document{Minified: true, Versions: Minify(expanded), name: name, layout: []string{"packages", "minified"}}
}

// ParseDocument reads the metadata document of want. Versions may stand in a list or in an object with any keys. Other
// packages in the same document, which no client reads, are left out. Every version must have a name and a version, as
// Composer gives up a whole run otherwise; what else it holds is not looked at.
func ParseDocument(body []byte, want Name) (*Document, error) {
	var d *Document
	err := scan(body, func(s *scanner) (err error) {
		d, err = readDocument(s, want)
		return err
	})
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return nil, fmt.Errorf("metadata of %s: %w", want, err)
	}
	return d, nil
}

// What a document may hold. The largest real ones have some thousand versions, and about 30 keys in a whole version, 40 in
// all of them together. Versions are compared key by key, and a minified document says in few bytes what takes many.
const (
	maxKeys     = 256 // of one version, and different ones in a document
	maxVersions = 50_000
	maxMembers  = 2_000_000 // versions times different keys
)

func readDocument(s *scanner, want Name) (*Document, error) {
	d := &Document{name: want}
	found := false
	packages := func(name string) error {
		if name != want.full || s.peek() == 'n' {
			return s.value(2)
		}
		found = true
		return d.readVersions(s, 2)
	}
	top, err := s.object(0, func(key string) error {
		if key != "packages" {
			return s.value(1)
		}
		d.Versions, found = nil, false
		_, err := s.object(1, packages)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errors.New("the document has no packages entry of that name")
	}
	d.Minified = top.Text("minified") == Minified
	for _, m := range top {
		d.layout = append(d.layout, m.Key)
		if m.Key != "packages" && !(m.Key == "minified" && d.Minified) {
			d.Top = append(d.Top, m)
		}
	}
	return d, nil
}

func (d *Document) readVersions(s *scanner, depth int) error {
	d.Versions = nil
	one := func() error {
		o, err := s.object(depth+1, nil)
		if err != nil {
			return err
		}
		if len(o) > maxKeys {
			return fmt.Errorf("one of its versions has %d keys, more than the %d allowed", len(o), maxKeys)
		}
		if d.Versions = append(d.Versions, o); len(d.Versions) > maxVersions {
			return fmt.Errorf("it has more than the %d versions allowed", maxVersions)
		}
		return nil
	}
	if s.peek() == '{' {
		return s.members(depth, func(string) error { return one() })
	}
	return s.elements(depth, one)
}

// ParseVersions reads the versions of one package as repositories of every age write them: a list, or an object with any
// keys. What a version holds is not looked at. The versions share memory with value.
func ParseVersions(value []byte) ([]Object, error) {
	var d Document
	if err := scan(value, func(s *scanner) error { return d.readVersions(s, 2) }); err != nil {
		return nil, fmt.Errorf("versions of a package: %w", err)
	}
	return d.Versions, nil
}

// check walks the versions for what every one of them must have, and for what none may cost.
func (d *Document) check() error {
	var named, versioned bool
	keys := map[string]struct{}{}
	for i, v := range d.Versions {
		if !d.Minified || i == 0 {
			named, versioned = false, false
		}
		for _, m := range v {
			keys[m.Key] = struct{}{}
			switch m.Key {
			case "name":
				named = m.Value[0] == '"' && !isUnset(m.Value)
			case "version":
				c := m.Value[0]
				versioned = (c == '"' || c == '-' || isDigit(c)) && !isUnset(m.Value)
			}
		}
		if !named {
			return fmt.Errorf("entry %d of its versions has no name", i+1)
		}
		if !versioned {
			return fmt.Errorf("entry %d of its versions has no version", i+1)
		}
		if len(keys) > maxKeys {
			return fmt.Errorf("its versions have more than the %d different keys allowed", maxKeys)
		}
	}
	if len(d.Versions)*len(keys) > maxMembers {
		return fmt.Errorf("it has %d versions and %d different keys, which is more than the %d keys allowed in all", len(d.Versions), len(keys), maxMembers)
	}
	return nil
}

// Name returns the package the document is about.
func (d *Document) Name() Name { return d.name }

// Expanded returns the versions whole, newly allocated in either case.
func (d *Document) Expanded() []Object {
	if d.Minified {
		return Expand(d.Versions)
	}
	return append([]Object(nil), d.Versions...)
}

// With returns a document with the same top-level keys and other versions, given whole and stored minified if d is.
func (d *Document) With(expanded []Object) *Document {
	c := *d
	if c.Versions = expanded; d.Minified {
		c.Versions = Minify(expanded)
	}
	return &c
}

// Encode writes the document without white space, its keys in the order in which they came; versions as a list.
func (d *Document) Encode() []byte {
	size := 256
	for _, v := range d.Versions {
		for _, m := range v {
			size += len(m.Key) + len(m.Value) + 6
		}
	}
	for _, m := range d.Top {
		size += len(m.Key) + len(m.Value) + 6
	}
	dst := append(make([]byte, 0, size), '{')
	for _, m := range d.top() {
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, m.Key), ':')
		if m.Key == "packages" {
			dst = d.appendPackages(dst)
		} else {
			dst = appendValue(dst, m.Value)
		}
	}
	return append(dst, '}')
}

// top lists the top-level members to write: those of the file that are still there, then the new ones.
func (d *Document) top() Object {
	values := make(map[string][]byte, len(d.Top)+2)
	for _, m := range d.Top {
		values[m.Key] = m.Value
	}
	values["packages"] = nil
	if d.Minified {
		values["minified"] = quoted(Minified)
	}
	var o Object
	add := func(key string) {
		if value, ok := values[key]; ok {
			o = append(o, Member{key, value})
			delete(values, key)
		}
	}
	for _, key := range d.layout {
		add(key)
	}
	add("packages")
	add("minified")
	for _, m := range d.Top {
		add(m.Key)
	}
	return o
}

func (d *Document) appendPackages(dst []byte) []byte {
	dst = append(appendQuoted(append(dst, '{'), d.name.full), ":["...)
	for i, v := range d.Versions {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = v.append(dst)
	}
	return append(dst, "]}"...)
}
