package policy

import (
	"fmt"
	"time"
)

// when spells an instant for people.
func when(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

// expiry ends a sentence about a rule that ends by itself.
func expiry(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", until " + when(t)
}

// days spells an age in its largest whole unit.
func days(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if d >= unit.length && d%unit.length == 0 {
			if n := d / unit.length; n != 1 {
				return fmt.Sprintf("%d %ss", n, unit.name)
			}
			return "1 " + unit.name
		}
	}
	return d.String()
}

// short cuts a commit to what people compare.
func short(reference string) string {
	if reference == "" {
		return "no reference"
	}
	if len(reference) == 40 {
		return reference[:12]
	}
	return reference
}
