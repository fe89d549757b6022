package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"stasis/proxy/composer"
)

// ownList is the name under which our blocks are advertised as a filter list.
// Clients obey it when their configuration names it, and the malware list
// unless their configuration says otherwise: a block stands in both.
const ownList = "stasis"

// source is what our entries call themselves.
const source = "Stasis"

// filter puts the live filter entries and our own beside the versions. Where
// nothing has to change, the document stays the one it is. A dated view gets
// only the entries that name a version of its document, so that nothing but a
// denial ever changes what it answers.
func (e *evaluation) filter(doc *composer.Document, list []shown) *composer.Document {
	var own []composer.FilterEntry
	for _, c := range e.rules {
		if c.Kind == Block && c.ActiveAt(e.view.Now) {
			if entry, ok := e.entryOf(c, list); ok {
				own = append(own, entry)
			}
		}
	}
	lists, carved := e.carve(list)
	if !e.view.At.IsZero() {
		return settle(doc, concerning(list, with(lists, own)))
	}
	if own == nil && !carved {
		if e.facts.Live == nil {
			return doc
		}
		live := e.facts.Live.Top.Get("filter")
		if bytes.Equal(live, doc.Top.Get("filter")) {
			return doc
		}
		return doc.WithTop("filter", live)
	}
	return settle(doc, with(lists, own))
}

// with adds our entries to upstream's.
func with(lists map[string][]composer.FilterEntry, own []composer.FilterEntry) map[string][]composer.FilterEntry {
	if own == nil {
		return lists
	}
	all := map[string][]composer.FilterEntry{}
	maps.Copy(all, lists)
	for _, name := range []string{ownList, malwareList} {
		all[name] = slices.Concat(all[name], own)
	}
	return all
}

// concerning keeps the entries that name a version in the list.
func concerning(list []shown, lists map[string][]composer.FilterEntry) map[string][]composer.FilterEntry {
	kept := map[string][]composer.FilterEntry{}
	for name, entries := range lists {
		for _, f := range entries {
			if slices.ContainsFunc(list, func(s shown) bool { return f.Names(s.version.Normalized) }) {
				kept[name] = append(kept[name], f)
			}
		}
	}
	return kept
}

// settle writes filter entries, or leaves the document alone when it has
// exactly these.
func settle(doc *composer.Document, lists map[string][]composer.FilterEntry) *composer.Document {
	changed := doc.WithFilters(lists)
	if bytes.Equal(changed.Top.Get("filter"), doc.Top.Get("filter")) {
		return doc
	}
	return changed
}

// entryOf writes a block as a filter entry. A reference has no place in one,
// and a waived version has to be left out, so both are turned into versions.
func (e *evaluation) entryOf(c *compiled, list []shown) (composer.FilterEntry, bool) {
	constraint := c.Versions
	if constraint == "" {
		constraint = "*"
	}
	if c.Reference != "" {
		var named []string
		for i := range list {
			v := list[i].version.Normalized
			if text := composer.ExactConstraint(v); c.covers(v, list[i].reference) && contains(text, v) {
				named = append(named, text)
			}
		}
		constraint = strings.Join(named, "|")
	}
	for _, v := range e.letThrough(list) {
		constraint = composer.ExceptVersion(constraint, v)
	}
	entry := composer.FilterEntry{Reason: c.Reason, ID: blockID(c.ID), Source: source}
	return entry.WithConstraint(constraint), constraint != ""
}

// contains reports whether a text, read as a constraint, contains a version.
func contains(text, normalized string) bool {
	c, err := composer.ParseConstraint(text)
	return err == nil && c.Matches(normalized)
}

func blockID(id string) string { return "stasis-block-" + id }

// letThrough lists the versions of a document that a waiver lets through.
func (e *evaluation) letThrough(list []shown) []string {
	var out []string
	for i := range list {
		if s := &list[i]; !s.gone && e.waived(s.version.Normalized, s.reference, e.view.Now) {
			out = append(out, s.version.Normalized)
		}
	}
	return out
}

// carve takes the versions that are waived out of upstream's entries, since
// clients would refuse them otherwise.
func (e *evaluation) carve(list []shown) (lists map[string][]composer.FilterEntry, carved bool) {
	lists = e.lists
	for _, v := range e.letThrough(list) {
		for _, name := range slices.Sorted(maps.Keys(lists)) {
			if !slices.ContainsFunc(lists[name], func(f composer.FilterEntry) bool { return f.Names(v) }) {
				continue
			}
			var left []composer.FilterEntry
			for _, f := range lists[name] {
				if f.Names(v) {
					f = f.WithConstraint(composer.ExceptVersion(f.Constraint, v))
				}
				if f.Constraint != "" {
					left = append(left, f)
				}
			}
			if !carved {
				lists, carved = maps.Clone(lists), true
			}
			lists[name] = left
		}
	}
	return lists, carved
}

// RootFilter is the "filter" of a repository root with our list in it. It is
// given upstream's, or nothing; the summary lies at the usual address.
func RootFilter(upstream json.RawMessage) json.RawMessage {
	var filter composer.Object
	if err := filter.UnmarshalJSON(upstream); err != nil || string(filter.Get("metadata")) != "true" {
		filter = nil
	}
	var lists composer.Object
	if err := lists.UnmarshalJSON(filter.Get("lists")); err != nil {
		lists = nil
	}
	for _, name := range []string{malwareList, ownList} {
		lists = lists.With(name, json.RawMessage(`{"enabled":true}`))
	}
	text := func(o composer.Object) json.RawMessage { b, _ := o.MarshalJSON(); return b }
	filter = filter.With("metadata", json.RawMessage("true")).With("lists", text(lists))
	if filter.Text("summary-url") == "" {
		filter = filter.With("summary-url", json.RawMessage(`"/lists/all/summary.json"`))
	}
	return text(filter)
}

// Summary adds our blocks to upstream's filter summary, or to an empty one.
// tracked are the packages that a pattern is looked up in. Waivers are left to
// the documents: a summary only tells a client which documents to read.
func (p *Policy) Summary(upstream []byte, tracked iter.Seq[composer.Name]) ([]byte, error) {
	now := p.now()
	blocked := map[string][]string{}
	add := func(name string, c *compiled) {
		constraint := c.Versions
		if constraint == "" || c.Reference != "" {
			constraint = "*"
		}
		blocked[name] = append(blocked[name], constraint)
	}
	var patterns []*compiled
	for _, c := range p.current.Load().rules {
		switch {
		case c.Kind != Block || !c.ActiveAt(now):
		case c.pattern.exact():
			add(c.Package, c)
		default:
			patterns = append(patterns, c)
		}
	}
	if len(patterns) > 0 && tracked != nil {
		for n := range tracked {
			for _, c := range patterns {
				if c.pattern.matches(n.String()) {
					add(n.String(), c)
				}
			}
		}
	}
	if len(blocked) == 0 && upstream != nil {
		return upstream, nil
	}
	summary := map[string]map[string]string{}
	if upstream != nil {
		if err := readSummary(upstream, summary); err != nil {
			return nil, err
		}
	}
	for _, list := range []string{ownList, malwareList} {
		if summary[list] == nil {
			summary[list] = map[string]string{}
		}
		for name, constraints := range blocked {
			if there := summary[list][name]; there != "" {
				constraints = append([]string{there}, constraints...)
			}
			slices.Sort(constraints)
			summary[list][name] = strings.Join(slices.Compact(constraints), "|")
		}
	}
	return json.Marshal(map[string]any{"filter": summary})
}

// readSummary reads {"filter": {list: {name: constraint}}}; PHP writes an empty
// object as a list.
func readSummary(body []byte, into map[string]map[string]string) error {
	var top composer.Object
	if err := top.UnmarshalJSON(body); err != nil {
		return fmt.Errorf("filter summary: %w", err)
	}
	if !top.Has("filter") {
		return fmt.Errorf("filter summary: it has no filter key")
	}
	var lists composer.Object
	if err := lists.UnmarshalJSON(top.Get("filter")); err != nil {
		return fmt.Errorf("filter summary: %w", err)
	}
	for _, list := range lists {
		var names composer.Object
		if err := names.UnmarshalJSON(list.Value); err != nil {
			return fmt.Errorf("filter summary, list %s: %w", list.Key, err)
		}
		into[list.Key] = map[string]string{}
		for _, m := range names {
			if constraint := names.Text(m.Key); constraint != "" {
				into[list.Key][m.Key] = constraint
			}
		}
	}
	return nil
}
