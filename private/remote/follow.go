package remote

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"stasis/proxy/composer"
)

const (
	// edgeAge is how long caches on the way may be behind the change feed.
	edgeAge = 15 * time.Minute
	// maxAnnounced bounds how many changes are remembered for that long.
	maxAnnounced = 100_000
)

// following is how far the change feed was read.
type following struct {
	reading sync.Mutex // held while it is read
	cursor  int64      // guarded by reading

	mu        sync.Mutex
	announced map[composer.File]time.Time // guarded by mu
}

// Follow reads the root again, and from the change feed which packages changed
// since Follow last returned nil. It tells visit; all is true when any package
// may have changed: the first time, after a hole in the feed, and every time
// where there is no feed. What was announced is asked for past the caches on the
// way until it is as new as that.
func (r *Repository) Follow(ctx context.Context, visit func(changed []composer.Name, all bool) error) error {
	f := &r.following
	f.reading.Lock()
	defer f.reading.Unlock()
	if err := r.Refresh(ctx); err != nil {
		return err
	}
	c, offered, err := r.Changes(ctx, f.cursor)
	if err != nil {
		return err
	}
	changed, all := f.note(c.Actions)
	f.forget(r.now().Add(-edgeAge))
	if err := visit(changed, all || !offered || f.cursor == 0); err != nil {
		return err
	}
	f.cursor = c.Timestamp
	return nil
}

// note remembers what was announced and returns the packages it was about.
func (f *following) note(actions []Action) (changed []composer.Name, all bool) {
	if len(actions) > maxAnnounced {
		return nil, true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.announced == nil {
		f.announced = map[composer.File]time.Time{}
	}
	names := map[composer.Name]bool{}
	for _, a := range actions {
		file, err := composer.ParseFile(a.Package)
		if err != nil {
			all = all || a.Type == "resync"
			continue
		}
		files := []composer.File{file}
		if a.Type == "delete" {
			files = []composer.File{{Name: file.Name}, {Name: file.Name, Dev: true}}
		}
		for _, file := range files {
			if at := time.Unix(a.Time, 0).UTC(); at.After(f.announced[file]) {
				f.announced[file] = at
			}
		}
		names[file.Name] = true
	}
	return slices.SortedFunc(maps.Keys(names), byName), all
}

func byName(a, b composer.Name) int { return strings.Compare(a.String(), b.String()) }

// at returns when a change of file was last announced, if that is not long ago.
func (f *following) at(file composer.File) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.announced[file]
}

func (f *following) forget(before time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.announced, func(_ composer.File, at time.Time) bool { return at.Before(before) })
}
