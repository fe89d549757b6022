package snapshot

import "slices"

// Options are what changes the answers of a snapshot besides its content.
type Options struct {
	// Rest says what is answered about a file that the manifest does not list.
	Rest string `json:"rest"`
	// Archives says which archives are kept.
	Archives string `json:"archives"`
	// Advisories says which security advisories the documents carry.
	Advisories string `json:"advisories"`
	// Private says which state of our own packages is served.
	Private string `json:"private"`
}

// Values of Options.Rest.
const (
	RestClosed  = "closed"  // it does not exist
	RestInstant = "instant" // the dated view of the snapshot's instant
)

// Values of Options.Archives.
const (
	ArchivesEager = "eager" // all are fetched, checked, listed and pinned before sealing
	ArchivesLazy  = "lazy"  // those held are pinned, and others when they come
	ArchivesNone  = "none"  // none is pinned
)

// Values of Options.Advisories and, without AdvisoriesOff, of Options.Private.
const (
	AsOf          = "asof" // as the documents have them
	Live          = "live" // today's
	AdvisoriesOff = "off"  // none
)

// fill puts the defaults in, and checks the rest.
func (o *Options) fill(fromLock bool) error {
	rest, archives := RestInstant, ArchivesLazy
	if fromLock {
		rest, archives = RestClosed, ArchivesEager
	}
	for _, c := range []struct {
		name     string
		value    *string
		standard string
		allowed  []string
	}{
		{"world", &o.Rest, rest, []string{RestClosed, RestInstant}},
		{"archives", &o.Archives, archives, []string{ArchivesEager, ArchivesLazy, ArchivesNone}},
		{"advisories", &o.Advisories, AsOf, []string{AsOf, Live, AdvisoriesOff}},
		{"private", &o.Private, AsOf, []string{AsOf, Live}},
	} {
		if *c.value == "" {
			*c.value = c.standard
		}
		if !slices.Contains(c.allowed, *c.value) {
			return problemf(ErrInvalid, "%q is no value for %s: it is one of %q", *c.value, c.name, c.allowed)
		}
	}
	return nil
}
