// Package satis reads what other tools have written down about private packages: the configuration of Satis, and lists of
// git repositories.
//
// It promises that nothing is dropped in silence: each setting becomes part of a source, or a note that says what is not
// carried over and why. It reads text only. Whether the sources can be reached, and adding them, is left to the caller.
package satis

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"stasis/proxy/composer"
)

// Import is what a configuration comes to.
type Import struct {
	// Sources are in the order of precedence.
	Sources []Source
	// Abandoned are packages that are marked so, with the name of what replaces them or "".
	Abandoned map[composer.Name]string
	Notes     []Note
}

// Source is a source to add.
type Source struct {
	Name string // unique among those of the import
	Type string // "git", "composer", "artifact" or "package"
	URL  string // of git and composer sources, without credentials
	// Folder of archives, as the configuration names it.
	Folder string
	// Definitions of a package source, in the form that artifact.ParsePackages reads.
	Definitions json.RawMessage
	// Packages are the names and patterns that may come from it; empty means whatever it has.
	Packages    []string
	Credentials *Credentials // nil: none are known
}

// Credentials are what a configuration holds for the host of a source. They are sent by Basic authentication, or as a
// bearer token when there is no username.
type Credentials struct{ Username, Password string }

// String hides the secret.
func (Credentials) String() string { return "(credentials)" }

// GoString hides the secret.
func (c Credentials) GoString() string { return c.String() }

// Note is about one setting that is not carried over, or not as it was.
type Note struct {
	Key  string // where in the configuration, such as "require.acme/lib"; "" for the whole
	Text string // a sentence
	// Lost says that clients will see a difference; other notes only explain.
	Lost bool
}

// Parse reads a satis.json.
func Parse(body []byte) (Import, error) {
	p := parser{}
	if err := p.config.UnmarshalJSON(body); err != nil {
		return Import{}, fmt.Errorf("the configuration of Satis is not valid JSON: %w", err)
	}
	if !p.config.Has("repositories") {
		return Import{}, errors.New("this is not a configuration of Satis: it has no repositories")
	}
	p.credentials()
	p.required()
	if err := p.repositories(); err != nil {
		return Import{}, err
	}
	p.abandoned()
	p.settings()
	return p.out, nil
}

type parser struct {
	config composer.Object
	// names are what is required; nil when everything is.
	names []string
	// hosts has the credentials of each host.
	hosts map[string]Credentials
	out   Import
}

func (p *parser) note(key, format string, args ...any) {
	p.out.Notes = append(p.out.Notes, Note{Key: key, Text: fmt.Sprintf(format, args...)})
}

func (p *parser) lost(key, format string, args ...any) {
	p.out.Notes = append(p.out.Notes, Note{Key: key, Text: fmt.Sprintf(format, args...), Lost: true})
}

// required finds out which packages Satis selects.
func (p *parser) required() {
	if string(p.config.Get("require-all")) == "true" || !p.config.Has("require") {
		return // without anything required, Satis takes everything
	}
	for _, m := range object(p.config.Get("require")) {
		name, err := composer.ParseName(m.Key)
		if err != nil {
			p.lost("require."+m.Key, "%v; it is left out", err)
			continue
		}
		if !slices.Contains(p.names, name.String()) {
			p.names = append(p.names, name.String())
		}
		if constraint := text(m.Value); !everything(constraint) {
			p.lost("require."+m.Key, "All versions of %s are provided, not only %s. Limit them by a rule, or by the token of who may have fewer.", name, constraint)
		}
	}
	if p.names == nil {
		p.names = []string{}
	}
}

// everything reports whether a constraint leaves no version out.
func everything(constraint string) bool {
	switch strings.TrimSpace(constraint) {
	case "", "*", "@dev", "*@dev", ">=0", "dev-master || *", "* || dev-master":
		return true
	}
	return false
}

func (p *parser) abandoned() {
	for _, m := range object(p.config.Get("abandoned")) {
		name, err := composer.ParseName(m.Key)
		if err != nil || string(m.Value) == "false" {
			continue
		}
		if p.out.Abandoned == nil {
			p.out.Abandoned = map[composer.Name]string{}
		}
		replacement := text(m.Value)
		if _, err := composer.ParseName(replacement); err != nil && replacement != "" {
			p.lost("abandoned."+m.Key, "%s is marked as abandoned, without %q, which is no package name.", name, replacement)
			replacement = ""
		}
		p.out.Abandoned[name] = replacement
	}
}

// object reads a value that should be an object; anything else has no members.
func object(v json.RawMessage) (o composer.Object) {
	if len(v) > 0 && v[0] == '{' {
		_ = o.UnmarshalJSON(v) // it was read as part of the whole
	}
	return o
}

func list(v json.RawMessage) (l []json.RawMessage) {
	if len(v) > 0 && v[0] == '[' {
		_ = json.Unmarshal(v, &l)
	}
	return l
}

func text(v json.RawMessage) (s string) {
	if len(v) > 0 && v[0] == '"' {
		_ = json.Unmarshal(v, &s)
	}
	return s
}

func texts(v json.RawMessage) (out []string) {
	for _, e := range list(v) {
		if s := text(e); s != "" {
			out = append(out, s)
		}
	}
	return out
}
