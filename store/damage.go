package store

import "sync"

// damage remembers what was found damaged since the start: so that each thing
// is alerted once, and that a damaged document is written anew when it is put
// again instead of being taken for held.
type damage struct {
	mu        sync.Mutex // guards everything below
	told      map[string]bool
	documents map[Digest]bool
}

// maxTold bounds what is remembered. Past it, things are told again.
const maxTold = 10_000

// first reports whether this is the first time kind and subject are told.
func (m *damage) first(kind, subject string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.told == nil || len(m.told) >= maxTold {
		m.told = map[string]bool{}
	}
	key := kind + " " + subject
	told := m.told[key]
	m.told[key] = true
	return !told
}

func (m *damage) spoil(d Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.documents == nil {
		m.documents = map[Digest]bool{}
	}
	m.documents[d] = true
}

func (m *damage) spoiled(d Digest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.documents[d]
}

// healed is called when documents were written anew.
func (m *damage) healed(ds []Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range ds {
		delete(m.documents, d)
		delete(m.told, "document "+d.String())
	}
}

// damaged makes the error for damage and tells of it, once. Overwriting the
// record, or putting the document again, heals it.
func (tx *Tx) damaged(kind, subject, why string) error {
	err := damaged(kind, subject, why)
	if tx.s != nil && tx.s.damage.first(kind, subject) {
		tx.s.corrupt(kind, subject, err)
	}
	return err
}
