package composer

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// unquote decodes a string that the scanner has accepted, quotes included. Bytes that are not UTF-8 stay as they are.
func unquote(quoted []byte) string {
	b := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			out = append(out, b[i])
			continue
		}
		i++
		switch c := b[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(b[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, _ := hex4(b[i+3:])
				r = utf16.DecodeRune(r, low)
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// appendQuoted writes s as a JSON string, escaping only what JSON requires: no HTML escapes, slashes and UTF-8 as they are.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(dst, s[start:]...), '"')
}

// compact copies valid JSON without the white space between its tokens.
func compact(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); {
		switch data[i] {
		case ' ', '\n', '\t', '\r':
			i++
		case '"':
			end := stringEnd(data, i)
			out = append(out, data[i:end]...)
			i = end
		default:
			out = append(out, data[i])
			i++
		}
	}
	return out
}

// stringEnd returns the position behind the string that starts at i.
func stringEnd(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// sameJSON compares two valid values by their bytes, white space between tokens aside. Different spellings of one value
// count as different, which costs a few bytes in a minified list and nothing else.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	i, j := 0, 0
	inString := false
	for {
		if !inString {
			i, j = skipSpace(a, i), skipSpace(b, j)
		}
		if i == len(a) || j == len(b) {
			return i == len(a) && j == len(b)
		}
		if a[i] != b[j] {
			return false
		}
		switch a[i] {
		case '"':
			inString = !inString
		case '\\':
			i, j = i+1, j+1
			if i == len(a) || j == len(b) || a[i] != b[j] {
				return false
			}
		}
		i, j = i+1, j+1
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}
