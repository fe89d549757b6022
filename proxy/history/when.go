package history

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// When is what stands for {when} in an address: an instant, or the name of
// something that stands for one.
type When struct {
	// Instant is a whole second in UTC; zero when there is a Name.
	Instant time.Time
	// Name is the name of a snapshot or channel, or "@" and a snapshot's id.
	Name string
	// Strict is true when only what is exactly known is wanted.
	Strict bool
	// Text is what was written, without ",strict".
	Text string
}

// String is the canonical form: two texts that mean the same have the same.
func (w When) String() string {
	s := w.Name
	if s == "" {
		s = w.Instant.Format(time.RFC3339)
	}
	if w.Strict {
		s += ",strict"
	}
	return s
}

// WhenError explains in one sentence what is wrong with a {when}.
type WhenError struct {
	Text     string
	Sentence string
	// Works is the earliest time at which the same text will work; zero when
	// it never will.
	Works time.Time
}

func (e *WhenError) Error() string { return e.Sentence }

var (
	dateOnly    = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	compactForm = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z$`)
	fullForm    = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$`)
	fraction    = regexp.MustCompile(`^[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ][0-9:]{6,8}[.,][0-9]`)
	withoutZone = regexp.MustCompile(`^[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ][0-9]{2}:?[0-9]{2}(:?[0-9]{2})?$`)
	snapshotID  = regexp.MustCompile(`^@[0-9a-f]{8,64}$`)
	whenName    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,99}$`)
)

const whenForms = "write a UTC date such as 2026-03-01, an instant with its zone such as 2026-03-01T12:00:00Z, or the name of a snapshot or channel"

// ParseWhen reads a {when}. A bare date includes the whole day: it is its last
// second in UTC. Instants are whole seconds and must lie at least settle
// before now, because what is younger may not have reached us yet. Every error
// is a *WhenError.
func ParseWhen(s string, now time.Time, settle time.Duration) (When, error) {
	text, strict := strings.CutSuffix(s, ",strict")
	w := When{Strict: strict, Text: text}
	bad := func(format string, args ...any) (When, error) {
		return When{}, &WhenError{Text: text, Sentence: fmt.Sprintf(format, args...)}
	}
	if len(text) > 100 {
		return bad("this is too long for a date or a name: %s", whenForms)
	}
	var err error
	upper := strings.ToUpper(text)
	switch {
	case text == "":
		return bad("a date or a name is missing: %s", whenForms)
	case snapshotID.MatchString(text), whenName.MatchString(text):
		w.Name = text
		return w, nil
	case dateOnly.MatchString(text):
		w.Instant, err = time.Parse(time.DateOnly, text)
		w.Instant = w.Instant.Add(24*time.Hour - time.Second)
	case compactForm.MatchString(upper):
		w.Instant, err = time.Parse("20060102T150405Z", upper)
	case fullForm.MatchString(upper):
		w.Instant, err = time.Parse(time.RFC3339, upper)
	case withoutZone.MatchString(upper):
		return bad("%q does not say in which zone: append Z for UTC, or an offset such as +02:00", text)
	case fraction.MatchString(upper):
		return bad("%q has a fraction of a second: instants are whole seconds", text)
	case strings.HasPrefix(text, "@"):
		return bad("%q is not the id of a snapshot, which is @ and at least 8 lower-case hex digits", text)
	default:
		return bad("%q is not understood: %s", text, whenForms)
	}
	if err != nil {
		return bad("%q is not a date that exists: %s", text, whenForms)
	}
	w.Instant = w.Instant.UTC()
	if w.Instant.Year() < 1970 || w.Instant.Year() > 2261 {
		return bad("%q lies outside the years 1970 to 2261", text)
	}
	if works := w.Instant.Add(settle); works.After(now) {
		return When{}, tooYoung(w, now, works)
	}
	return w, nil
}

// tooYoung explains an instant that is too young and what to do instead.
func tooYoung(w When, now, works time.Time) error {
	why := "is not settled yet"
	switch {
	case dateOnly.MatchString(w.Text) && now.UTC().Format(time.DateOnly) == w.Text:
		why = "is today, and a date includes its whole day"
	case w.Instant.After(now):
		why = "is in the future"
	}
	return &WhenError{
		Text:  w.Text,
		Works: works,
		Sentence: fmt.Sprintf("%s %s: this view works from %s on; for the state of this moment make a named snapshot from \"now\"",
			w.Text, why, ceil(works).Format(time.RFC3339)),
	}
}
