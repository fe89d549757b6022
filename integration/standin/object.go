package standin

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Member is one key of an Object with its value as written.
type Member struct {
	Key   string
	Value json.RawMessage
}

// Object is a JSON object that remembers the order of its keys, which flows
// into lock files and therefore must survive everything done to a document.
type Object []Member

// Get returns the raw value of key, or nil.
func (o Object) Get(key string) json.RawMessage {
	for _, m := range o {
		if m.Key == key {
			return m.Value
		}
	}
	return nil
}

// Text returns the string under key, or "" when it is absent or no string.
func (o Object) Text(key string) string {
	var s string
	if json.Unmarshal(o.Get(key), &s) != nil {
		return ""
	}
	return s
}

// With returns a copy in which key has value; a new key goes to the end.
func (o Object) With(key string, value any) Object {
	raw := encode(value)
	out := make(Object, 0, len(o)+1)
	found := false
	for _, m := range o {
		if m.Key == key {
			m.Value, found = raw, true
		}
		out = append(out, m)
	}
	if !found {
		out = append(out, Member{key, raw})
	}
	return out
}

// Without returns a copy that lacks key.
func (o Object) Without(key string) Object {
	out := make(Object, 0, len(o))
	for _, m := range o {
		if m.Key != key {
			out = append(out, m)
		}
	}
	return out
}

// MarshalJSON writes the members in their order.
func (o Object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(encode(m.Key))
		b.WriteByte(':')
		b.Write(m.Value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads an object and keeps the order of its keys.
func (o *Object) UnmarshalJSON(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	if tok != json.Delim('{') {
		return fmt.Errorf("expected a JSON object, found %v", tok)
	}
	*o = Object{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		*o = append(*o, Member{key.(string), value})
	}
	return nil
}

// encode writes v the way Packagist does: compact, slashes and UTF-8 as they are.
func encode(v any) json.RawMessage {
	if raw, ok := v.(json.RawMessage); ok {
		return raw
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("standin: a value of type %T cannot be written as JSON: %v", v, err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

var unset = json.RawMessage(`"__unset"`)

// Expand turns a minified list into complete version objects.
func Expand(list []Object) []Object {
	out := make([]Object, 0, len(list))
	var prev Object
	for _, diff := range list {
		if prev == nil {
			prev = append(Object{}, diff...)
		} else {
			for _, m := range diff {
				if bytes.Equal(m.Value, unset) {
					prev = prev.Without(m.Key)
				} else {
					prev = prev.With(m.Key, m.Value)
				}
			}
		}
		out = append(out, append(Object{}, prev...))
	}
	return out
}

// Minify keeps, of every version, what differs from the one before.
func Minify(list []Object) []Object {
	out := make([]Object, 0, len(list))
	for i, v := range list {
		if i == 0 {
			out = append(out, v)
			continue
		}
		prev, diff := list[i-1], Object{}
		for _, m := range v {
			if old := prev.Get(m.Key); old == nil || !bytes.Equal(old, m.Value) {
				diff = append(diff, m)
			}
		}
		for _, m := range prev {
			if v.Get(m.Key) == nil {
				diff = append(diff, Member{m.Key, unset})
			}
		}
		out = append(out, diff)
	}
	return out
}

// Document is one p2 file taken apart.
type Document struct {
	Top      Object   // every top-level key but "packages", in order
	Name     string   // the package
	Versions []Object // complete version objects, newest first
}

// ParseDocument takes a p2 file apart, expanding it when it is minified.
func ParseDocument(body []byte, name string) (*Document, error) {
	var top Object
	if err := json.Unmarshal(body, &top); err != nil {
		return nil, fmt.Errorf("the document of %s is not JSON: %w", name, err)
	}
	var packages map[string][]Object
	if err := json.Unmarshal(top.Get("packages"), &packages); err != nil {
		return nil, fmt.Errorf("the document of %s has no list of versions: %w", name, err)
	}
	list, ok := packages[name]
	if !ok {
		return nil, fmt.Errorf("the document does not name %s", name)
	}
	if top.Get("minified") != nil {
		list = Expand(list)
	}
	return &Document{Top: top.Without("packages"), Name: name, Versions: list}, nil
}

// Encode writes the file, minified when its top level says so.
func (d *Document) Encode() []byte {
	list := d.Versions
	if d.Top.Get("minified") != nil {
		list = Minify(list)
	}
	if list == nil {
		list = []Object{}
	}
	top := append(Object{{"packages", encode(Object{{d.Name, encode(list)}})}}, d.Top...)
	return encode(top)
}
