package snapshot

import (
	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/store"
)

// count fills in the numbers of a record.
func (b *build) count() {
	r := &b.r
	names := map[composer.Name]bool{}
	r.Fidelity = map[history.Fidelity]int{}
	for _, e := range b.files {
		r.Fidelity[e.Fidelity]++
		if f, err := composer.ParseFile(e.File); err == nil && !e.Absent() {
			names[f.Name] = true
		}
	}
	r.Files, r.Packages, r.Archives = len(b.files), len(names), len(b.archives)
	r.Bytes = bodyBytes(b.archives)
}

// bodyBytes adds up the sizes of archives, each body once.
func bodyBytes(list []Archive) (sum int64) {
	seen := map[store.Digest]bool{}
	for _, a := range list {
		if !seen[a.SHA256] {
			seen[a.SHA256] = true
			sum += a.Size
		}
	}
	return sum
}

func (b *build) lack(m Missing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.missing = append(b.missing, m)
}

func (b *build) phase(name string, total int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.progress = Progress{Phase: name, Total: total, Bytes: b.progress.Bytes}
}

func (b *build) step(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.progress.Done++
	b.progress.Bytes += bytes
}

// teller reports the steps of what runs in one goroutine.
type teller struct {
	Progress
	report func(Progress) // nil: nobody wants to know
}

// tell begins a phase.
func tell(report func(Progress), phase string, total int) *teller {
	t := &teller{Progress{Phase: phase, Total: total}, report}
	t.say()
	return t
}

func (t *teller) step(bytes int64) {
	t.Done++
	t.Bytes += bytes
	t.say()
}

func (t *teller) say() {
	if t.report != nil {
		t.report(t.Progress)
	}
}

// progress returns how far a snapshot has come, nil when nobody builds it.
func (s *Snapshots) progress(snap Snapshot) *Progress {
	s.mu.Lock()
	b := s.builds[snap.Name]
	s.mu.Unlock()
	if b == nil || snap.State != Building {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.progress
	return &p
}
