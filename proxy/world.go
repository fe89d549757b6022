package proxy

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"stasis/proxy/history"
	"stasis/store"
)

// worldKind says how a client wants to see the registry.
type worldKind int

const (
	live     worldKind = iota // as it is now
	dated                     // as it was at an instant
	sealed                    // a named snapshot
	cooldown                  // as it is now, without young releases
)

// world is the registry as one client sees it. It is comparable.
type world struct {
	kind   worldKind
	at     time.Time // of dated
	strict bool      // of dated: refuse what is not exact
	age    time.Duration
	id     store.Digest // of sealed: of its manifest
}

// prefix is where the world lies below the base URL. The root of an alias
// names the world itself there, so that one run of a client stays in one world
// even when the alias moves meanwhile.
func (w world) prefix() string {
	switch w.kind {
	case dated:
		if w.strict {
			return "/snapshot/" + compactTime(w.at) + ",strict"
		}
		return "/snapshot/" + compactTime(w.at)
	case sealed: // whatever its strictness: what is sealed is complete
		return "/s/" + w.id.String()
	case cooldown:
		return fmt.Sprintf("/cooldown/%ds", int64(w.age/time.Second))
	}
	return ""
}

// compactTime writes an instant as 20260301T235959Z.
func compactTime(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

// worldAt finds the world that {when} of /snapshot/{when}/ names: a date, an
// instant, a snapshot or a channel.
func (p *Proxy) worldAt(when string) (world, error) {
	wh, err := history.ParseWhen(when, p.now(), p.o.SnapshotSettle)
	if err != nil {
		return world{}, absence(err.Error())
	}
	if wh.Name == "" {
		return world{kind: dated, at: wh.Instant, strict: wh.Strict}, nil
	}
	snap, err := p.snapshots.Resolve(wh.Name)
	if err != nil {
		return world{}, absence(fmt.Sprintf("%s is no date, and %v", wh.Text, err))
	}
	return world{kind: sealed, id: snap.ID, at: snap.Instant, strict: wh.Strict}, nil
}

// cooldownWorld finds the world of /cooldown/{age}/.
func cooldownWorld(age string) (world, error) {
	d, err := ParseAge(age)
	if err != nil {
		return world{}, absence(err.Error())
	}
	return world{kind: cooldown, age: d}, nil
}

// ParseAge reads a release age such as 7d, 36h or 90s; a plain number is
// seconds.
func ParseAge(s string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is not an age; write it like 7d, 36h or 90m", s)
	unit, number := time.Second, s
	if n := len(s); n > 0 {
		switch s[n-1] {
		case 'd':
			unit, number = 24*time.Hour, s[:n-1]
		case 'h':
			unit, number = time.Hour, s[:n-1]
		case 'm':
			unit, number = time.Minute, s[:n-1]
		case 's':
			number = s[:n-1]
		}
	}
	var n int64
	if len(number) == 0 || len(number) > 9 {
		return 0, wrong
	}
	for _, c := range []byte(number) {
		if c < '0' || c > '9' {
			return 0, wrong
		}
		n = n*10 + int64(c-'0')
	}
	d := time.Duration(n) * unit
	if d <= 0 || d > 10*365*24*time.Hour {
		return 0, wrong
	}
	return d, nil
}

// chosen is the world that a request to the plain addresses wants: the one
// that its reader is bound to or that the user name of its basic authentication names, the default age, or
// the live one. Choosing by user name leaves composer.json, and so its
// content-hash, as it is.
func (p *Proxy) chosen(r *http.Request) (world, error) {
	if reader := p.readerOf(r); reader.World() != "" {
		return p.boundWorld(reader)
	}
	if auth := headerOf(r, "Authorization"); auth != "" {
		user := basicUser(auth)
		if when, ok := strings.CutPrefix(user, "snapshot="); ok {
			return p.worldAt(when)
		}
		if age, ok := strings.CutPrefix(user, "cooldown="); ok {
			return cooldownWorld(age)
		}
	}
	if p.o.MinReleaseAge > 0 {
		return world{kind: cooldown, age: p.o.MinReleaseAge}, nil
	}
	return world{}, nil
}

// basicUser is the user name of a Basic Authorization header, or "". A colon
// ends a user name, except in an instant, which has some of its own: there it
// is the last one.
func basicUser(auth string) string {
	scheme, token, _ := strings.Cut(auth, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return ""
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(token))
	if err != nil {
		return ""
	}
	user, _, found := strings.Cut(string(raw), ":")
	if found && hours.MatchString(user) {
		user = string(raw[:strings.LastIndexByte(string(raw), ':')])
	}
	return user
}

// hours is what the first colon leaves of an instant.
var hours = regexp.MustCompile(`^snapshot=\d{4}-\d{2}-\d{2}[Tt]\d{2}$`)
