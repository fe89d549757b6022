package composer

import (
	"errors"
	"fmt"
	"time"
)

// Lock is what a composer.lock says about packages: what a project uses, and with it the complete metadata of each.
type Lock struct {
	Packages []LockPackage // those of production first, then those for development
	Members  Object        // everything, as it was read
}

// LockPackage is one locked version.
type LockPackage struct {
	Name            Name
	Version         string // as the author wrote it
	Normalized      string
	Dist            *Dist // nil when the package has no archive, such as a metapackage
	SourceReference string
	Time            time.Time // zero when absent or unreadable
	Dev             bool      // needed for development only
	Object          Object    // the whole entry, in the form of a version in a metadata document
}

// Reference returns the reference that identifies the locked content: that of the archive, else that of the source.
func (p LockPackage) Reference() string {
	if p.Dist != nil && p.Dist.Reference != "" {
		return p.Dist.Reference
	}
	return p.SourceReference
}

// File is the metadata document in which such a version stands.
func (p LockPackage) File() File { return File{Name: p.Name, Dev: IsDev(p.Normalized)} }

// maxLocked bounds the packages of one lock file. The largest known have about a thousand.
const maxLocked = 20_000

// ParseLock reads a composer.lock. Every entry must have a valid name and a version that can be normalized; a lock file
// without any package is valid, one without the two lists is not a lock file.
func ParseLock(body []byte) (*Lock, error) {
	var o Object
	err := scan(body, func(s *scanner) (err error) {
		if s.peek() != '{' {
			return s.unexpected("where an object belongs")
		}
		o, err = s.object(0, nil)
		return err
	})
	if err == nil && !o.Has("packages") && !o.Has("packages-dev") {
		err = errors.New("it has neither packages nor packages-dev")
	}
	if err != nil {
		return nil, fmt.Errorf("this is not a composer.lock: %w", err)
	}
	lock := &Lock{Members: o}
	for _, key := range []string{"packages", "packages-dev"} {
		entries := o.list(key)
		if len(lock.Packages)+len(entries) > maxLocked {
			return nil, fmt.Errorf("the composer.lock has more than %d packages", maxLocked)
		}
		for i, entry := range entries {
			p, err := lockPackage(parseObject(entry))
			if err != nil {
				return nil, fmt.Errorf("entry %d of %s in the composer.lock: %w", i+1, key, err)
			}
			p.Dev = key == "packages-dev"
			lock.Packages = append(lock.Packages, p)
		}
	}
	return lock, nil
}

func lockPackage(o Object) (LockPackage, error) {
	name, err := ParseName(o.Text("name"))
	if err != nil {
		return LockPackage{}, err
	}
	if !o.Has("version") {
		return LockPackage{}, fmt.Errorf("%s has no version", name)
	}
	doc := Document{Versions: []Object{o}, name: name}
	index, err := doc.Index()
	if err != nil {
		return LockPackage{}, err
	}
	v := index[0]
	return LockPackage{
		Name: name, Version: v.Pretty, Normalized: v.Normalized, Dist: v.Dist,
		SourceReference: v.SourceReference, Time: v.Time, Object: o,
	}, nil
}
