package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// String writes the size exactly, in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && u.bytes > 1 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

var errSize = errors.New("must be a number of bytes, or a number with one of the units KB, MB, GB, TB (decimal) or KiB, MiB, GiB, TiB (binary)")

// ParseSize reads a plain number of bytes or a number with a unit. A bare K, M or G is refused because people disagree
// about what it means.
func ParseSize(s string) (Size, error) {
	number, unit := cutNumber(strings.TrimSpace(s))
	factor := int64(0)
	if unit == "" {
		factor = 1
	}
	for _, u := range sizeUnits {
		if strings.EqualFold(unit, u.name) {
			factor = u.bytes
		}
	}
	n, err := scale(number, factor)
	if err != nil || factor == 0 {
		return 0, errSize
	}
	return Size(n), nil
}

var durationUnits = []struct {
	name string
	unit time.Duration
}{
	{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

var errDuration = errors.New("must be a number of seconds, or numbers with the units d, h, m, s or ms, such as 90s, 1h30m or 7d")

// ParseDuration reads a plain number of seconds or numbers with units. Durations have no sign.
func ParseDuration(s string) (time.Duration, error) {
	rest := strings.TrimSpace(s)
	if number, unit := cutNumber(rest); unit == "" {
		rest = number + "s"
	}
	var total time.Duration
	for {
		number, after := cutNumber(rest)
		end := strings.IndexAny(after, "0123456789.")
		if end < 0 {
			end = len(after)
		}
		factor := time.Duration(0)
		for _, u := range durationUnits {
			if after[:end] == u.name {
				factor = u.unit
			}
		}
		n, err := scale(number, int64(factor))
		if err != nil || factor == 0 || n > math.MaxInt64-int64(total) {
			return 0, errDuration
		}
		total += time.Duration(n)
		if rest = after[end:]; rest == "" {
			return total, nil
		}
	}
}

// FormatDuration writes the duration exactly, in units that ParseDuration reads.
func FormatDuration(d time.Duration) string {
	var b strings.Builder
	if days := d / (24 * time.Hour); days > 0 {
		fmt.Fprintf(&b, "%dd", days)
		d -= days * 24 * time.Hour
	}
	if h := d / time.Hour; h > 0 {
		fmt.Fprintf(&b, "%dh", h)
		d -= h * time.Hour
	}
	if m := d / time.Minute; m > 0 {
		fmt.Fprintf(&b, "%dm", m)
		d -= m * time.Minute
	}
	if d > 0 || b.Len() == 0 {
		b.WriteString(strconv.FormatInt(int64(d/time.Second), 10))
		if frac := d % time.Second; frac > 0 {
			b.WriteString("." + strings.TrimRight(fmt.Sprintf("%09d", frac), "0"))
		}
		if b.String() != "0" {
			b.WriteString("s")
		}
	}
	return b.String()
}

// cutNumber splits leading digits (with at most one point) from what follows, ignoring a space between them.
func cutNumber(s string) (number, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(s)
	}
	return s[:end], strings.TrimLeft(s[end:], " ")
}

// scale multiplies a decimal number exactly, and refuses results that are not whole or do not fit.
func scale(number string, factor int64) (int64, error) {
	if len(number) > 40 {
		return 0, errors.New("too long")
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, errors.New("not a number")
	}
	r.Mul(r, new(big.Rat).SetInt64(factor))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, errors.New("not whole or too large")
	}
	return r.Num().Int64(), nil
}
