package composer

import (
	"bytes"
	"errors"
	"fmt"
)

// maxDepth is how deep values may nest: PHP's json_decode, which reads what we pass on, stops at the same depth.
const maxDepth = 512

// scanner reads JSON from one slice, front to back, checking the whole grammar once on the way. It hands out positions,
// not decoded values: a value is kept as the bytes it came in. Bytes inside strings are not required to be UTF-8.
type scanner struct {
	data  []byte
	pos   int
	loose bool              // white space between tokens was seen
	keys  map[string]string // keys already seen, so that a thousand versions share one "version"
}

var errDepth = fmt.Errorf("values are nested more than %d deep", maxDepth)

// scan runs read over all of data. read sees data without white space between tokens, whatever form it came in, so that
// equal values have equal bytes.
func scan(data []byte, read func(s *scanner) error) error {
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		return errors.New("it starts with a byte order mark, which is not JSON")
	}
	s := &scanner{data: data}
	if err := s.whole(read); err != nil {
		return err
	}
	if !s.loose {
		return nil
	}
	return (&scanner{data: compact(data)}).whole(read)
}

func (s *scanner) whole(read func(s *scanner) error) error {
	s.space()
	if err := read(s); err != nil {
		return err
	}
	s.space()
	if s.pos < len(s.data) {
		return s.unexpected("after the end of the document")
	}
	return nil
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\n', '\t', '\r':
			s.pos++
			s.loose = true
		default:
			return
		}
	}
}

func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) unexpected(where string) error {
	if s.pos >= len(s.data) {
		return fmt.Errorf("it ends %s", where)
	}
	return fmt.Errorf("unexpected %q at byte %d, %s", s.data[s.pos], s.pos, where)
}

// raw reads one value and returns its bytes, with no room to append into.
func (s *scanner) raw(depth int) ([]byte, error) {
	start := s.pos
	if err := s.value(depth); err != nil {
		return nil, err
	}
	return s.data[start:s.pos:s.pos], nil
}

// value reads one value; depth is how many containers surround it.
func (s *scanner) value(depth int) error {
	switch c := s.peek(); c {
	case '{':
		return s.members(depth, nil)
	case '[':
		return s.elements(depth, nil)
	case '"':
		return s.str()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		if c == '-' || isDigit(c) {
			return s.number()
		}
		return s.unexpected("where a value belongs")
	}
}

// members reads an object. When each is given it is called behind every key and reads the value.
func (s *scanner) members(depth int, each func(key string) error) error {
	if s.peek() != '{' {
		return s.unexpected("where an object belongs")
	}
	if depth >= maxDepth {
		return errDepth
	}
	s.pos++
	s.space()
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	for {
		start := s.pos
		if s.peek() != '"' {
			return s.unexpected("where a key belongs")
		}
		if err := s.str(); err != nil {
			return err
		}
		end := s.pos
		s.space()
		if s.peek() != ':' {
			return s.unexpected("where a colon belongs")
		}
		s.pos++
		s.space()
		var err error
		if each != nil {
			err = each(s.key(s.data[start:end]))
		} else {
			err = s.value(depth + 1)
		}
		if err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
			s.space()
		case '}':
			s.pos++
			return nil
		default:
			return s.unexpected("inside an object")
		}
	}
}

// elements reads an array. When each is given it reads every element.
func (s *scanner) elements(depth int, each func() error) error {
	if s.peek() != '[' {
		return s.unexpected("where a list belongs")
	}
	if depth >= maxDepth {
		return errDepth
	}
	s.pos++
	s.space()
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		var err error
		if each != nil {
			err = each()
		} else {
			err = s.value(depth + 1)
		}
		if err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
			s.space()
		case ']':
			s.pos++
			return nil
		default:
			return s.unexpected("inside a list")
		}
	}
}

// key decodes a quoted key, once per document for each different one.
func (s *scanner) key(quoted []byte) string {
	if s.keys == nil {
		s.keys = make(map[string]string)
	}
	if k, ok := s.keys[string(quoted)]; ok {
		return k
	}
	k := unquote(quoted)
	s.keys[string(quoted)] = k
	return k
}

func (s *scanner) str() error {
	data := s.data
	i := s.pos + 1
	for i < len(data) {
		c := data[i]
		switch {
		case c == '"':
			s.pos = i + 1
			return nil
		case c == '\\':
			n, err := escapeLength(data[i:])
			if err != nil {
				return fmt.Errorf("%w at byte %d", err, i)
			}
			i += n
		case c < 0x20:
			s.pos = i
			return s.unexpected("inside a string")
		default:
			i++
		}
	}
	s.pos = len(data)
	return s.unexpected("inside a string")
}

// escapeLength measures the escape sequence at the start of b. Half a surrogate pair stands for no character and is
// refused, as PHP does.
func escapeLength(b []byte) (int, error) {
	if len(b) < 2 {
		return 0, errors.New("unfinished escape")
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, nil
	case 'u':
		r, ok := hex4(b[2:])
		switch {
		case !ok:
			return 0, errors.New("malformed \\u escape")
		case r < 0xd800 || r > 0xdfff:
			return 6, nil
		case r < 0xdc00 && len(b) >= 12 && b[6] == '\\' && b[7] == 'u':
			if low, ok := hex4(b[8:]); ok && 0xdc00 <= low && low <= 0xdfff {
				return 12, nil
			}
		}
		return 0, errors.New("half a surrogate pair")
	}
	return 0, fmt.Errorf("unknown escape \\%c", b[1])
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func (s *scanner) word(w string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(w)) {
		return s.unexpected("where a value belongs")
	}
	s.pos += len(w)
	return nil
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	switch {
	case s.peek() == '0':
		s.pos++
	case !s.digits():
		return s.unexpected("inside a number")
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return s.unexpected("inside a number")
		}
	}
	if s.peek()|0x20 == 'e' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return s.unexpected("inside a number")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for isDigit(s.peek()) {
		s.pos++
	}
	return s.pos > start
}
