package composer

import "strings"

// CompareVersions orders normalized versions as PHP's version_compare does: negative when a is older than b. Two
// branches whose names carry no number or stability word compare as equal, so sort with a stable sort. Unlike in PHP,
// where a separator at the end or an odd character behind a digit in the name of a branch can make each of two versions
// older than the other, this is an order over all strings.
func CompareVersions(a, b string) int {
	for {
		var x, y string
		x, a = nextPart(a)
		y, b = nextPart(b)
		if x == "" && y == "" {
			return 0
		}
		if digit(x) && digit(y) {
			if c := compareNumbers(x, y); c != 0 {
				return c
			}
			continue
		}
		if c := partRank(x) - partRank(y); c != 0 {
			return c
		}
		// Equal ranks that are not both numbers: a number is more than nothing, two words are alike.
		if x == "" {
			return -1
		}
		if y == "" {
			return 1
		}
	}
}

// nextPart cuts the first run of digits or of letters off v, skipping whatever is neither.
func nextPart(v string) (part, rest string) {
	i := 0
	for i < len(v) && !alnum(v[i]) {
		i++
	}
	j := i
	for j < len(v) && alnum(v[j]) && isDigit(v[j]) == isDigit(v[i]) {
		j++
	}
	return v[i:j], v[j:]
}

// partRank is the place of a word among the words; a number and the end of the version share a place. As in PHP the
// beginning of a word decides: "patch" is a "p".
func partRank(part string) int {
	switch {
	case part == "" || isDigit(part[0]):
		return 4
	case strings.HasPrefix(part, "dev"):
		return 0
	case part[0] == 'a':
		return 1
	case part[0] == 'b':
		return 2
	case strings.HasPrefix(part, "RC") || strings.HasPrefix(part, "rc"):
		return 3
	case part[0] == 'p':
		return 5
	}
	return -1
}

// compareNumbers compares digits of any length by value.
func compareNumbers(x, y string) int {
	x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return strings.Compare(x, y)
}

func digit(part string) bool { return part != "" && isDigit(part[0]) }
func isDigit(c byte) bool    { return '0' <= c && c <= '9' }
func alnum(c byte) bool      { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }
