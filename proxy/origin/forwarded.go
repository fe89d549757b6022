package origin

import "strings"

// element is one hop of a Forwarded header.
type element struct {
	client, host, proto string
}

// parseForwarded reads the values of the Forwarded header (RFC 7239, section 4) in the order in which the
// hops were added. It reports false for anything that is not exactly in the grammar, since guessing at a
// header that decides about addresses would be worse than not having it.
func parseForwarded(values []string) ([]element, bool) {
	var out []element
	for _, v := range values {
		s := scanner{rest: v}
		for {
			e, ok := s.element()
			if !ok {
				return nil, false
			}
			if e != (element{}) {
				out = append(out, e)
			}
			if s.done() {
				break
			}
			if !s.skip(',') {
				return nil, false
			}
		}
	}
	return out, true
}

// scanner consumes a header value from the left.
type scanner struct{ rest string }

func (s *scanner) space()     { s.rest = strings.TrimLeft(s.rest, " \t") }
func (s *scanner) done() bool { s.space(); return s.rest == "" }

func (s *scanner) skip(c byte) bool {
	s.space()
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// element reads pairs up to a comma or the end. A parameter given twice is an error.
func (s *scanner) element() (element, bool) {
	var e element
	for {
		s.space()
		if s.rest == "" || s.rest[0] == ',' {
			return e, true
		}
		if s.skip(';') {
			continue
		}
		name := s.token()
		if name == "" || s.rest == "" || s.rest[0] != '=' {
			return e, false
		}
		s.rest = s.rest[1:]
		value, ok := s.value()
		if !ok {
			return e, false
		}
		var into *string
		switch strings.ToLower(name) {
		case "for":
			into = &e.client
		case "host":
			into = &e.host
		case "proto":
			into = &e.proto
		}
		if into != nil {
			if *into != "" {
				return e, false
			}
			*into = value
		}
		s.space()
		if s.rest != "" && s.rest[0] != ';' && s.rest[0] != ',' {
			return e, false
		}
	}
}

func (s *scanner) token() string {
	n := 0
	for n < len(s.rest) && isToken(s.rest[n]) {
		n++
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

// value reads a token or a quoted string. Proxies in the field write host:port and addresses without
// the quotes the grammar asks for, so those characters are taken outside quotes too.
func (s *scanner) value() (string, bool) {
	if s.rest == "" || s.rest[0] != '"' {
		n := 0
		for n < len(s.rest) && (isToken(s.rest[n]) || strings.IndexByte(":[]", s.rest[n]) >= 0) {
			n++
		}
		v := s.rest[:n]
		s.rest = s.rest[n:]
		return v, v != ""
	}
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return b.String(), true
		case c == '\\' && i+1 < len(s.rest):
			i++
			b.WriteByte(s.rest[i])
		case c < ' ' && c != '\t' || c == 0x7f:
			return "", false
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

func isToken(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
