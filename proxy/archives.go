package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"stasis/proxy/archive"
	"stasis/proxy/composer"
	"stasis/proxy/snapshot"
	"stasis/store"
)

// archiveRecord is what is remembered of one archive, also after its bytes
// were evicted: what came once under a reference must come again.
type archiveRecord struct {
	Digest     store.Digest   `json:"digest"`            // SHA-256 of the bytes
	Content    string         `json:"content,omitempty"` // content digest c1
	Size       int64          `json:"size"`
	Type       string         `json:"type"`
	URL        string         `json:"url"` // where it came from
	FirstSeen  time.Time      `json:"first_seen"`
	Checked    time.Time      `json:"checked"` // when upstream was last asked for it
	Comment    string         `json:"comment,omitempty"`
	Alternates []store.Digest `json:"alternates,omitempty"` // other bytes of the same tree
	Refusals   []refused      `json:"refusals,omitempty"`
}

// refused is a later download that was turned away because its content differs.
type refused struct {
	At      time.Time    `json:"at"`
	Digest  store.Digest `json:"digest"`
	Content string       `json:"content,omitempty"`
	URL     string       `json:"url"`
}

var archives = store.Table[archiveRecord]{Family: store.FamilyArchive, Name: "archive"}

// archiveKey names an archive: the package and the reference. Only a
// reference that is no commit id, and so may stand for several things, takes
// the version in.
type archiveKey struct {
	name    composer.Name
	ref     string // composer.ReferenceKey
	version string // normalized; empty for commit ids
	typ     string
}

func (k archiveKey) parts() []string { return []string{k.name.String(), k.ref, k.version, k.typ} }

func (k archiveKey) String() string {
	return fmt.Sprintf("the %s archive of %s at %s%s", k.typ, k.name, k.version, prefixed(" reference ", k.ref))
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func (p *Proxy) archiveRecord(k archiveKey) (archiveRecord, bool, error) {
	var rec archiveRecord
	err := p.store.View(func(tx *store.Tx) (err error) {
		rec, err = archives.Get(tx, k.parts()...)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return rec, false, nil
	}
	if err != nil {
		return rec, false, fmt.Errorf("look up %s: %w", k, err)
	}
	return rec, true, nil
}

// keepArchive records a checked download. When the reference was seen before
// with other content the download is refused and the refusal recorded.
func (p *Proxy) keepArchive(k archiveKey, url string, digest store.Digest, size int64, rep archive.Report) error {
	now := p.now().UTC()
	var mismatch bool
	err := p.store.Update(func(tx *store.Tx) error {
		mismatch = false
		rec, err := archives.Get(tx, k.parts()...)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			rec = archiveRecord{Digest: digest, Content: rep.Content, Size: size, Type: k.typ, FirstSeen: now, Comment: rep.Comment}
		case err != nil:
			return err
		case rec.Digest == digest:
		case rec.Content != "" && rec.Content == rep.Content:
			// Rebuilt by the host: other bytes, the same tree. The bytes that
			// clients already have stay the ones while they are held.
			other := rec.Digest
			if p.store.HasBlob(rec.Digest) {
				other = digest
			} else {
				rec.Digest, rec.Size, rec.Comment = digest, size, rep.Comment
			}
			if !slices.Contains(rec.Alternates, other) {
				rec.Alternates = append(rec.Alternates, other)
			}
		default:
			mismatch = true
			if len(rec.Refusals) < maxRefusals {
				rec.Refusals = append(rec.Refusals, refused{At: now, Digest: digest, Content: rep.Content, URL: url})
			}
			rec.Checked = now // otherwise every request would look again
			return archives.Put(tx, rec, k.parts()...)
		}
		rec.URL, rec.Checked = url, now
		return archives.Put(tx, rec, k.parts()...)
	})
	if err != nil {
		return fmt.Errorf("record %s: %w", k, err)
	}
	if mismatch {
		return p.refuseOther(k)
	}
	return nil
}

func (p *Proxy) refuseOther(k archiveKey) error {
	msg := fmt.Sprintf("%s now has other content upstream than when it was first downloaded; the download was refused", k)
	p.alerts.raise(AlertDigestChanged, k.name.String()+" "+k.ref, msg)
	return &refusal{"Stasis refuses " + msg}
}

// otherThanKnown refuses a checked download that there was no room to record, if the reference is known with other content.
func (p *Proxy) otherThanKnown(k archiveKey, rep archive.Report) error {
	rec, known, err := p.archiveRecord(k)
	if err == nil && known && rec.Content != "" && rec.Content != rep.Content {
		err = p.refuseOther(k)
	}
	return err
}

// maxRefusals bounds what one record remembers.
const maxRefusals = 20

// adoptArchive records an archive that came in a bundle or from a source, as
// url says. One that is known with other content is refused.
func (p *Proxy) adoptArchive(k archiveKey, a snapshot.Archive, url string) error {
	err := p.store.Update(func(tx *store.Tx) error {
		rec, err := archives.Get(tx, k.parts()...)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			now := p.now().UTC()
			rec = archiveRecord{Digest: a.SHA256, Content: a.Content, Size: a.Size, Type: k.typ, FirstSeen: now, Checked: now, URL: url}
		case err != nil:
			return err
		case rec.Digest == a.SHA256:
			return nil
		case rec.Content == "" || rec.Content != a.Content:
			return fmt.Errorf("%s is known here with other content", k)
		default:
			rec.Alternates = append(rec.Alternates, rec.Digest)
			rec.Digest, rec.Size = a.SHA256, a.Size
		}
		return archives.Put(tx, rec, k.parts()...)
	})
	if err != nil {
		return fmt.Errorf("adopt %s: %w", k, err)
	}
	return nil
}
