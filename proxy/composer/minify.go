package composer

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Minified is the value of a document's "minified" key when its versions are stored as differences.
const Minified = "composer/2.0"

// unset stands for a key that the version before had and this one has not.
var unset = json.RawMessage(`"__unset"`)

// Expand turns a list in which each version holds only its differences to the one before into whole versions.
func Expand(list []Object) []Object {
	out := make([]Object, len(list))
	var prev Object
	for i, d := range list {
		prev = apply(prev, d)
		out[i] = slices.Clone(prev)
	}
	return out
}

// apply changes prev, in place where it can, into the version that d describes. While nothing is known yet, d is that
// version literally, "__unset" included.
func apply(prev, d Object) Object {
	if len(prev) == 0 {
		return append(prev, d...)
	}
	for _, m := range d {
		i := prev.find(m.Key)
		switch {
		case isUnset(m.Value):
			if i >= 0 {
				prev = append(prev[:i], prev[i+1:]...)
			}
		case i >= 0:
			prev[i].Value = m.Value
		default:
			prev = append(prev, m)
		}
	}
	return prev
}

// isUnset also knows the spellings with escapes, none of which is longer than 44 bytes.
func isUnset(v json.RawMessage) bool {
	if bytes.Equal(v, unset) {
		return true
	}
	return len(v) > 0 && len(v) <= 44 && v[0] == '"' && bytes.IndexByte(v, '\\') > 0 && unquote(v) == "__unset"
}

// Minify is the inverse of Expand: the first version whole, each later one as its differences to the one before.
// The order of a version's own keys is that of the version before as far as they share them. A value that is the string
// "__unset" has no minified form behind the first version.
func Minify(list []Object) []Object {
	out := make([]Object, len(list))
	var prev Object
	for i, v := range list {
		if len(prev) == 0 {
			out[i] = v
		} else {
			out[i] = difference(prev, v)
		}
		prev = v
	}
	return out
}

func difference(prev, v Object) Object {
	d := Object{}
	for _, m := range v {
		if i := prev.find(m.Key); i < 0 || !sameJSON(prev[i].Value, m.Value) {
			d = append(d, m)
		}
	}
	for _, m := range prev {
		if !v.Has(m.Key) {
			d = append(d, Member{m.Key, unset})
		}
	}
	return d
}
