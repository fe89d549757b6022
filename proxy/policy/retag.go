package policy

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// Mode is what happens to a known stable version that gets a new reference.
type Mode string

// The modes of the re-tag policy.
const (
	KeepFirst Mode = "keep-first" // the first reference ever seen is served
	Follow    Mode = "follow"     // whatever upstream says is served
	Hide      Mode = "hide"       // the version is not served at all
)

// setting notes since when a mode counts.
type setting struct {
	Retag Mode      `json:"retag"`
	At    time.Time `json:"at"`
}

// SetRetag makes mode the re-tag policy from now on. Setting the one that
// counts already changes nothing.
func (p *Policy) SetRetag(mode Mode) error {
	if mode != KeepFirst && mode != Follow && mode != Hide {
		return invalidf("%q is no re-tag policy; use %s, %s or %s", mode, KeepFirst, Follow, Hide)
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	modes := p.current.Load().modes
	if n := len(modes); n > 0 && modes[n-1].Retag == mode {
		return nil
	}
	s := setting{Retag: mode, At: p.now().UTC()}
	if n := len(modes); n > 0 && !s.At.After(modes[n-1].At) {
		s.At = modes[n-1].At.Add(1) // the clock went back; the last word still counts
	}
	err := p.store.Update(func(tx *store.Tx) error {
		return settings.Put(tx, s, store.TimeKey(s.At))
	})
	if errors.Is(err, store.ErrNoSpace) {
		// A full disk must not keep the program from serving: the policy counts,
		// and the next start writes it down.
		b := *p.current.Load()
		b.modes = append(slices.Clone(b.modes), s)
		b.generation++
		p.current.Store(&b)
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep the re-tag policy: %w", err)
	}
	p.log.Info("the re-tag policy was set", "mode", mode)
	return p.reload()
}

// Retag returns the re-tag policy as of t.
func (p *Policy) Retag(t time.Time) Mode { return p.current.Load().modeAt(t) }

// modeAt: the first mode ever set also counts for the time before.
func (b *book) modeAt(t time.Time) Mode {
	mode := KeepFirst
	for i, s := range b.modes {
		if i > 0 && s.At.After(t) {
			break
		}
		mode = s.Retag
	}
	return mode
}

// followed reports whether Follow counted at some moment from since to until.
// What was given out then stays installable.
func (b *book) followed(since, until time.Time) bool {
	if b.modeAt(since) == Follow {
		return true
	}
	return slices.ContainsFunc(b.modes, func(s setting) bool {
		return s.Retag == Follow && s.At.After(since) && !s.At.After(until)
	})
}

// firstReference returns the reference under which a stable version was first
// seen, given all that are recorded of that version, and whether the version
// at reference is a re-tag of it. References that only an imported lock file
// knows are no witnesses against what was seen, and what is not recorded cannot
// be judged.
func firstReference(recorded []history.Reference, reference string) (history.Reference, bool) {
	var first history.Reference
	found, known := false, false
	for _, r := range recorded {
		known = known || r.Reference == reference
		if r.Via == history.Import && r.Reference != reference {
			continue
		}
		if !found || earlier(r, first) {
			first, found = r, true
		}
	}
	return first, known && found && first.Reference != reference
}

// earlier orders references of one version by when they were seen; of two seen
// in the same moment the one that was replaced was there first.
func earlier(a, b history.Reference) bool {
	if !a.FirstSeen.Equal(b.FirstSeen) {
		return a.FirstSeen.Before(b.FirstSeen)
	}
	if a.GoneAt.IsZero() != b.GoneAt.IsZero() {
		return !a.GoneAt.IsZero()
	}
	return a.GoneAt.Before(b.GoneAt)
}

// SeenRetag is a re-tag that was seen, kept for the operator.
type SeenRetag struct {
	Package string    `json:"package"`
	Version string    `json:"version"`
	Old     string    `json:"old"`
	New     string    `json:"new"`
	At      time.Time `json:"at"`
	// Document is the last one that had the old reference.
	Document store.Digest `json:"document,omitzero"`
}

var retags = store.Table[SeenRetag]{Family: store.FamilyOverlay, Name: "retag"}

// RecordRetags keeps the re-tags of one observation. before is the document
// that still had the old references.
func (p *Policy) RecordRetags(seen []history.Retag, before store.Digest) error {
	if len(seen) == 0 {
		return nil
	}
	err := p.store.Update(func(tx *store.Tx) error {
		for _, t := range seen {
			s := SeenRetag{Package: t.Package, Version: t.Version, Old: t.Old, New: t.New, At: t.At.UTC(), Document: before}
			if err := retags.Put(tx, s, t.Package, store.TimeKey(s.At), t.Version); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep the re-tags of %s: %w", seen[0].Package, err)
	}
	return nil
}

// Retags lists the re-tags that were seen of a package, oldest first.
func (p *Policy) Retags(n composer.Name) ([]SeenRetag, error) {
	list := []SeenRetag{}
	err := p.store.View(func(tx *store.Tx) error {
		list = list[:0]
		return retags.Scan(tx, []string{n.String()}, func(_ []string, s SeenRetag) error {
			list = append(list, s)
			return nil
		})
	})
	return list, err
}

// massRetag is how many stable versions of a package may change their
// reference in one document before that is taken for an attack.
const massRetag = 5

// MassRetag reports whether the re-tags of one observation are so many that
// the package has to be frozen at its previous revision, with the reason.
func MassRetag(seen []history.Retag) (reason string, mass bool) {
	if len(seen) <= massRetag {
		return "", false
	}
	return fmt.Sprintf("%d tagged versions of %s changed their reference at once, %s to %s among them; the package is held at its last good revision",
		len(seen), seen[0].Package, seen[0].Version, short(seen[0].New)), true
}
