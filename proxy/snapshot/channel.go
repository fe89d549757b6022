package snapshot

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"stasis/store"
)

// Channel is a name that points at a sealed snapshot and can be moved.
type Channel struct {
	Name string       `json:"name"`
	ID   store.Digest `json:"id"`
	// Snapshot is a name of the snapshot it points at.
	Snapshot string    `json:"snapshot"`
	At       time.Time `json:"at"` // of the last move
	By       string    `json:"by,omitempty"`
	Note     string    `json:"note,omitempty"`
	// Move is the number of the last move, from 1.
	Move uint64 `json:"move"`
}

// Move is one move of a channel.
type Move struct {
	Number   uint64       `json:"number"`
	ID       store.Digest `json:"id"`
	Snapshot string       `json:"snapshot"` // its name at that time
	At       time.Time    `json:"at"`
	By       string       `json:"by,omitempty"`
	Note     string       `json:"note,omitempty"`
	// Rollback is true when the move went back to an earlier one.
	Rollback bool `json:"rollback,omitempty"`
	// Back is the move that a rollback from here returns to; 0 when this is
	// as far back as it goes.
	Back uint64 `json:"back,omitempty"`
}

var (
	channels = store.Table[Channel]{Family: store.FamilyChannel, Name: "channel"}
	moves    = store.Table[Move]{Family: store.FamilyChannel, Name: "channel move"}
)

// SetChannel points a channel, new or not, at a sealed snapshot. Pointing it
// where it points already is no move.
func (s *Snapshots) SetChannel(name, ref, by, note string) (Channel, error) {
	if err := CheckName(name); err != nil {
		return Channel{}, err
	}
	return s.move(name, by, note, func(tx *store.Tx, now Channel) (Move, error) {
		if now.Move == 0 {
			taken, err := records.Has(tx, name)
			if err != nil {
				return Move{}, err
			}
			if taken {
				return Move{}, problemf(ErrExists, "%q is the name of a snapshot", name)
			}
		}
		r, err := find(tx, ref)
		if err != nil {
			return Move{}, err
		}
		if r.State != Sealed {
			return Move{}, problemf(ErrNotSealed, "the snapshot %q is %s; a channel can only point at a sealed one", r.Name, r.State)
		}
		return Move{ID: r.ID, Snapshot: r.Name, Back: now.Move}, nil
	})
}

// RollBack points a channel where it pointed before its last move that was no
// rollback. Doing it again goes back further.
func (s *Snapshots) RollBack(name, by, note string) (Channel, error) {
	return s.move(name, by, note, func(tx *store.Tx, now Channel) (Move, error) {
		if now.Move == 0 {
			return Move{}, noChannel(name)
		}
		last, err := moves.Get(tx, name, store.SeqKey(now.Move))
		if err != nil {
			return Move{}, err
		}
		if last.Back == 0 {
			return Move{}, problemf(ErrInvalid, "the channel %q cannot be rolled back: it has pointed at nothing before %q", name, now.Snapshot)
		}
		to, err := moves.Get(tx, name, store.SeqKey(last.Back))
		if err != nil {
			return Move{}, err
		}
		held, err := named(tx, to.ID)
		if errors.Is(err, fs.ErrNotExist) {
			return Move{}, problemf(fs.ErrNotExist, "the channel %q cannot be rolled back: the snapshot %q (%s) has been deleted", name, to.Snapshot, to.ID)
		}
		if err != nil {
			return Move{}, err
		}
		return Move{ID: to.ID, Snapshot: held[0], Rollback: true, Back: to.Back}, nil
	})
}

// move makes the move that next decides on.
func (s *Snapshots) move(name, by, note string, next func(*store.Tx, Channel) (Move, error)) (Channel, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	var c Channel
	err := s.store.Update(func(tx *store.Tx) error {
		now, err := channels.Get(tx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		m, err := next(tx, now)
		if err != nil {
			return err
		}
		if c = now; m.ID == now.ID {
			return nil
		}
		m.Number, m.At, m.By, m.Note = now.Move+1, s.now().UTC(), by, note
		c = Channel{Name: name, ID: m.ID, Snapshot: m.Snapshot, At: m.At, By: by, Note: note, Move: m.Number}
		if err := moves.Put(tx, m, name, store.SeqKey(m.Number)); err != nil {
			return err
		}
		return channels.Put(tx, c, name)
	})
	return c, err
}

// DeleteChannel removes a channel and its history.
func (s *Snapshots) DeleteChannel(name string) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.store.Update(func(tx *store.Tx) error {
		c, err := getChannel(tx, name)
		if err != nil {
			return err
		}
		for n := uint64(1); n <= c.Move; n++ {
			if err := moves.Delete(tx, name, store.SeqKey(n)); err != nil {
				return err
			}
		}
		return channels.Delete(tx, name)
	})
}

// Channels returns every channel in the order of their names.
func (s *Snapshots) Channels() ([]Channel, error) {
	var list []Channel
	err := s.store.View(func(tx *store.Tx) error {
		list = list[:0]
		return channels.Scan(tx, nil, func(_ []string, c Channel) error {
			c, err := c.renamed(tx)
			list = append(list, c)
			return err
		})
	})
	return list, err
}

// Channel returns one channel.
func (s *Snapshots) Channel(name string) (c Channel, err error) {
	err = s.store.View(func(tx *store.Tx) error {
		if c, err = getChannel(tx, name); err == nil {
			c, err = c.renamed(tx)
		}
		return err
	})
	return c, err
}

// renamed returns the channel with a name that its snapshot still has.
func (c Channel) renamed(tx *store.Tx) (Channel, error) {
	has, err := names.Has(tx, c.ID.String(), c.Snapshot)
	if has || err != nil {
		return c, err
	}
	all, err := named(tx, c.ID)
	if err == nil {
		c.Snapshot = all[0]
	}
	return c, err
}

// History returns the moves of a channel, newest first.
func (s *Snapshots) History(name string) ([]Move, error) {
	var list []Move
	err := s.store.View(func(tx *store.Tx) error {
		list = list[:0]
		if _, err := getChannel(tx, name); err != nil {
			return err
		}
		return moves.ScanReverse(tx, []string{name}, "", func(_ []string, m Move) error {
			list = append(list, m)
			return nil
		})
	})
	return list, err
}

// PointedAt reports whether a channel ever pointed at a snapshot; false when
// there is no such channel.
func (s *Snapshots) PointedAt(channel string, id store.Digest) (bool, error) {
	list, err := s.History(channel)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return slices.ContainsFunc(list, func(m Move) bool { return m.ID == id }), err
}

// Resolve returns the sealed snapshot that a channel, a name or an id stands
// for.
func (s *Snapshots) Resolve(ref string) (Snapshot, error) {
	var r record
	err := s.store.View(func(tx *store.Tx) error {
		c, err := channels.Get(tx, ref)
		switch {
		case err == nil:
			r, err = find(tx, "@"+c.ID.String())
			return err
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		r, err = find(tx, ref)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Snapshot{}, problemf(fs.ErrNotExist, "there is no snapshot and no channel %s", strconv.Quote(ref))
	case err != nil:
		return Snapshot{}, err
	case r.State == Building:
		return Snapshot{}, problemf(ErrNotSealed, "the snapshot %q is still being built", r.Name)
	case r.State != Sealed:
		return Snapshot{}, problemf(ErrNotSealed, "the snapshot %q is incomplete: %d things are missing", r.Name, r.MissingTotal)
	}
	return r.Snapshot, nil
}

func getChannel(tx *store.Tx, name string) (Channel, error) {
	c, err := channels.Get(tx, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = noChannel(name)
	}
	return c, err
}

// pointingAt returns the names of the channels that point at a snapshot.
func pointingAt(tx *store.Tx, id store.Digest) ([]string, error) {
	var list []string
	err := channels.Scan(tx, nil, func(_ []string, c Channel) error {
		if c.ID == id {
			list = append(list, c.Name)
		}
		return nil
	})
	return list, err
}
