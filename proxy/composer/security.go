package composer

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Advisory says that some versions of a package have a known weakness.
type Advisory struct {
	ID       string
	Affected string // a constraint, as it was written
	Object   Object // everything, as it was read

	in versionSet
}

// Affects reports whether a normalized version is among those concerned.
func (a Advisory) Affects(normalized string) bool { return a.in.matches(normalized) }

// FilterEntry says that a list, such as that of malware, names some versions of a package.
type FilterEntry struct {
	Constraint string // as it was written
	Reason     string
	URL        string
	ID         string
	Source     string
	Object     Object // everything, as it was read; nil for entries of our own making

	in versionSet
}

// Names reports whether a normalized version is among those concerned. The constraint of an entry that was neither read
// nor made by WithConstraint is read each time.
func (e FilterEntry) Names(normalized string) bool {
	if e.in == nil {
		e.in = readVersionSet(e.Constraint)
	}
	return e.in.matches(normalized)
}

// versionSet is a constraint read alternative by alternative, so that one which cannot be read does not hide the others.
type versionSet []Constraint

func readVersionSet(s string) versionSet {
	set := versionSet{}
	if c, err := ParseConstraint(s); err == nil {
		return append(set, c)
	}
	if len(s) > maxConstraint {
		return set
	}
	for _, part := range strings.Split(s, "|") {
		if c, err := ParseConstraint(part); err == nil && strings.Trim(part, phpSpace) != "" {
			set = append(set, c)
		}
	}
	return set
}

func (s versionSet) matches(normalized string) bool {
	for _, c := range s {
		if c.Matches(normalized) {
			return true
		}
	}
	return false
}

// Advisories returns the advisories that the document carries. Whatever is not an object with affected versions is left
// out.
func (d *Document) Advisories() []Advisory {
	var out []Advisory
	for _, value := range d.Top.list("security-advisories") {
		if a, ok := ReadAdvisory(value); ok {
			out = append(out, a)
		}
	}
	return out
}

// ReadAdvisory reads one advisory as documents and the advisories endpoint hold it.
func ReadAdvisory(value json.RawMessage) (Advisory, bool) {
	o := parseObject(value)
	a := Advisory{ID: o.Text("advisoryId"), Affected: o.Text("affectedVersions"), Object: o}
	if a.Affected == "" {
		return Advisory{}, false
	}
	a.in = readVersionSet(a.Affected)
	return a, true
}

// Filters returns the filter entries that the document carries, by list. Whatever is not an object with a constraint is
// left out.
func (d *Document) Filters() map[string][]FilterEntry {
	var out map[string][]FilterEntry
	for _, list := range d.Top.object("filter") {
		for _, value := range (Object{list}).list(list.Key) {
			o := parseObject(value)
			e := FilterEntry{
				Constraint: o.Text("constraint"), Reason: o.Text("reason"), URL: o.Text("url"),
				ID: o.Text("id"), Source: o.Text("source"), Object: o,
			}
			if e.Constraint == "" {
				continue
			}
			e.in = readVersionSet(e.Constraint)
			if out == nil {
				out = map[string][]FilterEntry{}
			}
			out[list.Key] = append(out[list.Key], e)
		}
	}
	return out
}

// WithFilters returns a document that carries exactly the given filter entries, lists in the order of their names. An
// entry that was read is written as it was. Without any entry the document has no filter.
func (d *Document) WithFilters(lists map[string][]FilterEntry) *Document {
	filter := Object{}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		var entries []json.RawMessage
		for _, e := range lists[name] {
			entries = append(entries, e.object().append(nil))
		}
		if entries != nil {
			filter = append(filter, Member{name, listOf(entries)})
		}
	}
	c := *d
	if len(filter) == 0 {
		c.Top = d.Top.Without("filter")
	} else {
		c.Top = d.Top.With("filter", filter.append(nil))
	}
	return &c
}

// WithTop returns a document in which one top-level key beside the packages has another value; nil removes it.
func (d *Document) WithTop(key string, value json.RawMessage) *Document {
	c := *d
	if value == nil {
		c.Top = d.Top.Without(key)
	} else {
		c.Top = d.Top.With(key, value)
	}
	return &c
}

func (e FilterEntry) object() Object {
	if e.Object != nil {
		return e.Object
	}
	o := Object{{"constraint", quoted(e.Constraint)}}
	for _, m := range []struct{ key, value string }{{"url", e.URL}, {"reason", e.Reason}, {"id", e.ID}, {"source", e.Source}} {
		if m.value != "" {
			o = append(o, Member{m.key, quoted(m.value)})
		}
	}
	return o
}

// Keep returns doc without the versions for which keep says no: doc.With those that are left. Whoever keeps everything
// gets doc itself back. The Object that keep sees is the whole version and belongs to it only during the call; the Version
// has neither Dist nor source.
func Keep(doc *Document, keep func(v Version, whole Object) bool) *Document {
	out := *doc
	out.Versions = nil
	var last Object // that was kept
	_ = doc.walk(&summary{unplaced: true}, func(i int, v *Version, state Object) error {
		if !keep(*v, state) {
			return nil
		}
		switch {
		case !doc.Minified:
			out.Versions = append(out.Versions, doc.Versions[i])
		case len(last) == 0:
			out.Versions = append(out.Versions, slices.Clone(state))
		default:
			out.Versions = append(out.Versions, difference(last, state))
		}
		last = append(last[:0], state...)
		return nil
	})
	if len(out.Versions) == len(doc.Versions) {
		return doc
	}
	return &out
}

// WithConstraint returns the entry with another constraint and everything else as it was.
func (e FilterEntry) WithConstraint(constraint string) FilterEntry {
	if e.Object != nil {
		e.Object = e.Object.With("constraint", quoted(constraint))
	}
	e.Constraint, e.in = constraint, readVersionSet(constraint)
	return e
}
