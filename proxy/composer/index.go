package composer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Version is what a proxy needs to know of a version. The version itself stays an Object.
type Version struct {
	Pretty                                 string // as the author wrote it
	Normalized                             string
	Dist                                   *Dist // nil when the version has no archive; never changed once handed out
	SourceType, SourceURL, SourceReference string
	Time, Published                        time.Time // zero when absent or unreadable
	DefaultBranch                          bool
}

// Dist is the archive of a version as its metadata announces it. Reference and Shasum may be empty.
type Dist struct {
	Type, URL, Reference, Shasum string
	Mirrors                      []Mirror // templates of other addresses, see Origins
}

// Equal reports whether d and other announce the same.
func (d *Dist) Equal(other *Dist) bool {
	return d.Type == other.Type && d.URL == other.URL && d.Reference == other.Reference && d.Shasum == other.Shasum &&
		slices.Equal(d.Mirrors, other.Mirrors)
}

// Index summarises every version in the order of the document. Parts that are missing or of an unexpected type are zero;
// a version without a usable normalized form is an error, since it ends the run of every client that reads it.
func (d *Document) Index() ([]Version, error) {
	out := make([]Version, 0, len(d.Versions))
	err := d.walk(&summary{}, func(_ int, v *Version, _ Object) error {
		if v.Normalized == "" {
			return fmt.Errorf("metadata of %s: %w", d.name, notAVersion(v.Pretty))
		}
		out = append(out, *v)
		return nil
	})
	return out, err
}

// walk calls visit for every version with its summary, made in sum, and its expanded form. Both are reused for the next
// version, so that nothing is decoded twice: in a minified list a version repeats little of the one before.
func (d *Document) walk(sum *summary, visit func(i int, v *Version, state Object) error) error {
	var state Object
	for i, diff := range d.Versions {
		if !d.Minified {
			state = state[:0]
		}
		if len(state) == 0 {
			*sum = summary{parts: sum.parts, unplaced: sum.unplaced}
		}
		state = apply(state, diff)
		for _, m := range diff {
			sum.set(m.Key, state.Get(m.Key))
		}
		sum.finish()
		if err := visit(i, &sum.Version, state); err != nil {
			return err
		}
	}
	return nil
}

// summary is a Version in the making.
type summary struct {
	Version
	normalized string  // version_normalized as given
	stale      bool    // Pretty or normalized changed since finish
	parts      scanner // reads dist and source
	unplaced   bool    // dist and source are left out
}

// set takes over the value of one key; nil means the key is gone.
func (s *summary) set(key string, value json.RawMessage) {
	if s.unplaced && (key == "dist" || key == "source") {
		return
	}
	switch key {
	case "version":
		s.Pretty, s.stale = scalar(value), true
	case "version_normalized":
		s.normalized, _ = textOf(value)
		s.stale = true
	case "dist":
		s.Dist = s.readDist(value)
	case "source":
		s.SourceType, s.SourceURL, s.SourceReference = "", "", ""
		s.parts.each(value, func(key string, value json.RawMessage) {
			switch key {
			case "type":
				s.SourceType, _ = textOf(value)
			case "url":
				s.SourceURL, _ = textOf(value)
			case "reference":
				s.SourceReference = scalar(value)
			}
		})
	case "time":
		s.Time = readTime(value)
	case "published-time":
		s.Published = readTime(value)
	case "default-branch":
		s.DefaultBranch = string(value) == "true"
	}
}

// finish settles the normalized form. "9999999-dev" is what Composer 1 wrote for the default branch, whatever its name.
func (s *summary) finish() {
	if !s.stale {
		return
	}
	s.stale = false
	if s.Normalized = s.normalized; s.normalized == "" || s.normalized == "9999999-dev" {
		s.Normalized, _ = NormalizeVersion(s.Pretty)
	}
}

func (s *summary) readDist(value json.RawMessage) *Dist {
	if len(value) == 0 || value[0] != '{' {
		return nil
	}
	dist := &Dist{}
	s.parts.each(value, func(key string, value json.RawMessage) {
		switch key {
		case "type":
			dist.Type, _ = textOf(value)
		case "url":
			dist.URL, _ = textOf(value)
		case "reference":
			dist.Reference = scalar(value)
		case "shasum":
			dist.Shasum, _ = textOf(value)
		case "mirrors":
			dist.Mirrors = readMirrors(elementsOf(value), "url")
		}
	})
	return dist
}

// each visits the members of a value that is a valid object, repeated keys included, and nothing else.
func (s *scanner) each(value json.RawMessage, visit func(key string, value json.RawMessage)) {
	if len(value) == 0 || value[0] != '{' {
		return
	}
	s.data, s.pos = value, 0
	_ = s.members(0, func(key string) error {
		v, err := s.raw(1)
		if err == nil {
			visit(key, v)
		}
		return err
	})
}

// scalar is the text of a string or a number.
func scalar(value json.RawMessage) string {
	if s, ok := textOf(value); ok {
		return s
	}
	if len(value) > 0 && (value[0] == '-' || isDigit(value[0])) {
		return string(value)
	}
	return ""
}

// readTime reads RFC 3339 or, as Composer also accepts, seconds since 1970.
func readTime(value json.RawMessage) time.Time {
	value = bytes.Trim(value, `"`)
	if t, err := time.Parse(time.RFC3339, string(value)); err == nil {
		return t.UTC()
	}
	if n, err := strconv.ParseInt(string(value), 10, 64); err == nil && n > 0 && n < 1<<40 {
		return time.Unix(n, 0).UTC()
	}
	return time.Time{}
}
