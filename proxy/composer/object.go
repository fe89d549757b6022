package composer

import (
	"encoding/json"
	"slices"
)

// Member is one key of an Object with its value as it was written.
type Member struct {
	Key   string
	Value json.RawMessage
}

// Object is a JSON object that remembers the order of its keys and the text of its values. A key stands in it once; when
// a text names a key twice, the last value counts, at the first place, as in PHP.
//
// Objects are values: With and Without return changed copies and leave their receiver alone.
type Object []Member

// manyMembers is where looking for a repeated key one by one becomes slower than a map.
const manyMembers = 48

// object reads one object at the given depth, or an empty list, which is how PHP writes an object without members.
// When read is given, it reads the value behind each key.
func (s *scanner) object(depth int, read func(key string) error) (Object, error) {
	if s.peek() == '[' {
		return nil, s.elements(depth, func() error { return s.unexpected("where an object belongs") })
	}
	var o Object
	var places map[string]int
	err := s.members(depth, func(key string) (err error) {
		start := s.pos
		if read != nil {
			err = read(key)
		} else {
			err = s.value(depth + 1)
		}
		if err != nil {
			return err
		}
		value := s.data[start:s.pos:s.pos]
		at := -1
		if places == nil {
			at = o.find(key)
		} else if i, ok := places[key]; ok {
			at = i
		}
		if at >= 0 {
			o[at].Value = value
			return nil
		}
		o = append(o, Member{key, value})
		if places != nil {
			places[key] = len(o) - 1
		} else if len(o) == manyMembers {
			places = make(map[string]int, 4*manyMembers)
			for i, m := range o {
				places[m.Key] = i
			}
		}
		return nil
	})
	return o, err
}

func (o Object) find(key string) int {
	for i := range o {
		if o[i].Key == key {
			return i
		}
	}
	return -1
}

// Get returns the value of key, or nil when there is no such key.
func (o Object) Get(key string) json.RawMessage {
	if i := o.find(key); i >= 0 {
		return o[i].Value
	}
	return nil
}

// Has reports whether key is present, be it as null.
func (o Object) Has(key string) bool { return o.find(key) >= 0 }

// Text returns the value of key when it is a string, else "".
func (o Object) Text(key string) string {
	s, _ := textOf(o.Get(key))
	return s
}

// With returns a copy of o in which key has the given value, in its old place or at the end.
func (o Object) With(key string, value json.RawMessage) Object {
	i := o.find(key)
	if i < 0 {
		return append(slices.Clip(o), Member{key, value})
	}
	o = slices.Clone(o)
	o[i].Value = value
	return o
}

// Without returns a copy of o that lacks key.
func (o Object) Without(key string) Object {
	i := o.find(key)
	if i < 0 {
		return o
	}
	return append(slices.Clone(o[:i]), o[i+1:]...)
}

// MarshalJSON writes the members in order and their values as they are.
func (o Object) MarshalJSON() ([]byte, error) { return o.append(nil), nil }

// UnmarshalJSON reads an object; it keeps no reference to data.
func (o *Object) UnmarshalJSON(data []byte) error {
	return scan(slices.Clone(data), func(s *scanner) (err error) {
		*o, err = s.object(0, nil)
		return err
	})
}

func (o Object) append(dst []byte) []byte {
	dst = append(dst, '{')
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendQuoted(dst, m.Key)
		dst = append(dst, ':')
		dst = appendValue(dst, m.Value)
	}
	return append(dst, '}')
}

func appendValue(dst []byte, v json.RawMessage) []byte {
	if len(v) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, v...)
}

// textOf decodes a value that is a string.
func textOf(v json.RawMessage) (string, bool) {
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	return unquote(v), true
}

// quoted is the JSON text of s.
func quoted(s string) json.RawMessage { return appendQuoted(nil, s) }
