package proxy

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"stasis/proxy/composer"
)

// withOurs adds the packages of sources to upstream's name list.
func (p *Proxy) withOurs(body []byte, filters url.Values) ([]byte, error) {
	if len(body) == 0 {
		body = []byte(`{"packageNames":[]}`)
	}
	var ours []string
	for _, s := range p.o.Sources.Packages() {
		if kind := filters.Get("type"); kind == "" || kind == s.Type {
			ours = append(ours, s.Name.String())
		}
	}
	if ours = matching(ours, filters.Get("vendor"), filters.Get("filter")); len(ours) == 0 {
		return body, nil
	}
	return editMember(body, "packageNames", func(names []string) []string {
		names = append(names, ours...)
		slices.Sort(names)
		return slices.Compact(names)
	})
}

// seenNames drops from a name list what a reader does not see.
func seenNames(body []byte, reader Reader) ([]byte, error) {
	body, err := editMember(body, "packageNames", func(names []string) []string { return seenBy(reader, names) })
	if err != nil {
		return nil, err
	}
	return editMember(body, "packages", func(all map[string]json.RawMessage) map[string]json.RawMessage {
		for name := range all {
			if !sees(reader, name) {
				delete(all, name)
			}
		}
		return all
	})
}

// found is a result of a search (protocol 5.2).
type found struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Repository  string `json:"repository"`
	Downloads   int    `json:"downloads"`
	Favers      int    `json:"favers"`
	Abandoned   bool   `json:"abandoned,omitempty"`
}

// withOurResults puts the packages of sources that match a search before
// upstream's results, on its first page.
func (p *Proxy) withOurResults(body []byte, q url.Values, base string) ([]byte, error) {
	if len(body) == 0 {
		body = []byte(`{"results":[],"total":0}`)
	}
	words := strings.Fields(strings.ToLower(q.Get("q")))
	if page := q.Get("page"); page != "" && page != "1" || len(words) == 0 || q.Has("tags") || q.Has("tags[]") {
		return body, nil
	}
	var ours []json.RawMessage
	for _, s := range p.o.Sources.Packages() {
		text := s.Name.String() + " " + strings.ToLower(s.Description)
		kind := q.Get("type")
		if kind != "" && kind != s.Type || slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
			continue
		}
		entry, err := json.Marshal(found{Name: s.Name.String(), Description: s.Description, URL: base + "/packages/" + s.Name.String(), Abandoned: s.Abandoned})
		if err != nil {
			return nil, fmt.Errorf("write a search result: %w", err)
		}
		ours = append(ours, entry)
	}
	if len(ours) == 0 {
		return body, nil
	}
	body, err := editMember(body, "total", func(n int) int { return n + len(ours) })
	if err != nil {
		return nil, err
	}
	return editMember(body, "results", func(list []json.RawMessage) []json.RawMessage {
		// A public package of the same name is another one, and never offered.
		list = slices.DeleteFunc(list, func(v json.RawMessage) bool {
			n, err := composer.ParseName(nameIn(v))
			return err == nil && p.o.Sources.Reserved(n)
		})
		return append(ours, list...)
	})
}

// seenIn makes a filter of the objects in a member that have a name.
func seenIn(member string) func([]byte, Reader) ([]byte, error) {
	return func(body []byte, reader Reader) ([]byte, error) {
		return editMember(body, member, func(list []json.RawMessage) []json.RawMessage {
			return slices.DeleteFunc(list, func(v json.RawMessage) bool { return !sees(reader, nameIn(v)) })
		})
	}
}

func sees(reader Reader, name string) bool {
	n, err := composer.ParseName(name)
	return err == nil && reader.Sees(n)
}

// nameIn is the name in an object.
func nameIn(object json.RawMessage) string {
	var o struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(object, &o) // what is no object has no name
	return o.Name
}

// editMember changes one member of a JSON object, if it is there, and leaves
// the others as they are.
func editMember[T any](body []byte, key string, edit func(T) T) ([]byte, error) {
	var all composer.Object
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("read an answer for its readers: %w", err)
	}
	if !all.Has(key) {
		return body, nil
	}
	var v T
	if err := json.Unmarshal(all.Get(key), &v); err != nil {
		return nil, fmt.Errorf("read %s of an answer for its readers: %w", key, err)
	}
	value, err := json.Marshal(edit(v))
	if err != nil {
		return nil, fmt.Errorf("write %s of an answer: %w", key, err)
	}
	return json.Marshal(all.With(key, value))
}
