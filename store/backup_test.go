package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/store"
	"stasis/store/backup"
)

// made is a store that changes at random.
type made struct {
	t      testing.TB
	r      *rand.Rand
	s      *store.Store
	opts   store.Options
	bodies []store.Digest
	owners int
}

func newMade(t testing.TB, seed uint64, o store.Options) *made {
	m := &made{t: t, r: rand.New(rand.NewPCG(seed, 5)), opts: o}
	if m.opts.Path == "" {
		m.opts.Path = t.TempDir()
	}
	m.opts.Now = func() time.Time { return someDay.Add(time.Duration(len(m.bodies)) * time.Hour) }
	m.reopen()
	t.Cleanup(func() { m.s.Close() })
	return m
}

func (m *made) reopen() {
	m.t.Helper()
	if m.s != nil {
		m.must(m.s.Close())
	}
	s, err := store.Open(context.Background(), m.opts)
	m.must(err)
	m.s = s
}

func (m *made) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *made) bytes(n int) []byte {
	b := make([]byte, n+8) // half of it compresses
	for i := 0; i < n/2; i += 8 {
		binary.BigEndian.PutUint64(b[i:], m.r.Uint64())
	}
	return b[:n]
}

var madeTables = []store.Table[note]{notes, others,
	{Family: store.FamilyRevision, Name: "r"}, {Family: store.FamilyOverlay, Name: "o"}, {Family: store.FamilyAudit, Name: "z"}}

// change does something of everything a store can.
func (m *made) change(times int) {
	m.t.Helper()
	for range times {
		table := madeTables[m.r.IntN(len(madeTables))]
		key := fmt.Sprint(m.r.IntN(60))
		switch m.r.IntN(12) {
		case 0, 1, 2, 3:
			update(m.t, m.s, func(tx *store.Tx) error {
				return table.Put(tx, note{Text: string(m.bytes(m.r.IntN(400))), N: m.r.Int()}, key, "k")
			})
		case 4, 5, 6:
			update(m.t, m.s, func(tx *store.Tx) error {
				for i := range m.r.IntN(8) {
					if err := table.Delete(tx, fmt.Sprint(i+m.r.IntN(60)), "k"); err != nil {
						return err
					}
				}
				return nil
			})
		case 7:
			body := m.bytes(1 + m.r.IntN(2<<(10+m.r.IntN(9))))
			update(m.t, m.s, func(tx *store.Tx) error {
				d, err := tx.PutDocument(body)
				return errors.Join(err, table.Put(tx, note{Text: d.String()}, "document", d.String()))
			})
		case 8:
			d, err := keep(m.s, m.bytes(m.r.IntN(600<<10)))
			m.must(err)
			m.bodies = append(m.bodies, d)
		case 9, 10:
			if d, ok := m.body(); ok {
				m.owners++
				m.must(m.s.Pin(fmt.Sprint(m.owners%7), d))
			}
		case 11:
			if m.r.IntN(2) == 0 {
				m.must(m.s.Unpin(fmt.Sprint(m.r.IntN(7))))
			} else if d, ok := m.body(); ok {
				if err := m.s.DeleteBlob(d); err != nil && !errors.Is(err, store.ErrPinned) {
					m.t.Fatal(err)
				}
			}
		}
	}
	switch m.r.IntN(4) {
	case 0:
		m.reopen()
	case 1:
		m.must(store.Compact(m.s))
	case 2:
		m.must(m.s.Maintain(context.Background()))
	}
}

// body is one that is held.
func (m *made) body() (store.Digest, bool) {
	m.bodies = slices.DeleteFunc(m.bodies, func(d store.Digest) bool { return !m.s.HasBlob(d) })
	if len(m.bodies) == 0 {
		return store.Digest{}, false
	}
	return m.bodies[m.r.IntN(len(m.bodies))], true
}

func (m *made) backup(o store.BackupOptions) ([]byte, backup.Header, backup.Totals) {
	m.t.Helper()
	var out bytes.Buffer
	totals, err := m.s.Backup(context.Background(), &out, o)
	m.must(err)
	header, checked, _, err := backup.Check(bytes.NewReader(out.Bytes()))
	if err != nil || checked != totals {
		m.t.Fatalf("the backup reads as %+v, and should as %+v: %v", checked, totals, err)
	}
	return out.Bytes(), header, totals
}

func contents(t testing.TB, s *store.Store, archives string) map[string]string {
	t.Helper()
	all, err := store.Contents(s, archives)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func restore(t testing.TB, o store.Options, files ...[]byte) (store.Restored, error) {
	t.Helper()
	readers := make([]io.Reader, len(files))
	for i, f := range files {
		readers[i] = bytes.NewReader(f)
	}
	return store.Restore(context.Background(), o, readers, func(p store.Problem) { t.Errorf("damaged: %+v", p) })
}

func compare(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	wrong := 0
	for k, v := range want {
		if got[k] != v {
			if wrong++; wrong < 4 {
				t.Errorf("%s: %.80q is %q, want %q", what, k, tail(got[k]), tail(v))
			}
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			if wrong++; wrong < 4 {
				t.Errorf("%s: %.80q should not be there", what, k)
			}
		}
	}
}

func tail(s string) string { return s[max(0, len(s)-60):] }

// TestAChainOfBackupsBringsEveryMomentBack changes a store at random, takes
// backups in between, and restores each with those before it, into either
// driver.
func TestAChainOfBackupsBringsEveryMomentBack(t *testing.T) {
	drivers := []string{store.DriverBadger, store.DriverFiles}
	for seed := range uint64(3) {
		archives := []string{store.BackupAll, store.BackupPinned, store.BackupNone}[seed%3]
		t.Run(fmt.Sprintf("seed %d, %s", seed, archives), func(t *testing.T) {
			m := newMade(t, seed, store.Options{Archives: drivers[seed&1]})
			var files [][]byte
			var moments []map[string]string
			since := ""
			for range 4 {
				m.change(60)
				file, header, totals := m.backup(store.BackupOptions{Since: since, Archives: archives})
				if header.Full() != (since == "") || header.Archives != archives || totals.Missing != 0 {
					t.Errorf("header %+v, totals %+v", header, totals)
				}
				since = header.ID
				files = append(files, file)
				moments = append(moments, contents(t, m.s, archives))
			}
			for n := range files {
				o := store.Options{Path: t.TempDir(), Archives: drivers[n%2]}
				restored, err := restore(t, o, files[:n+1]...)
				if err != nil {
					t.Fatal(err)
				}
				if len(restored.Missing) > 0 || restored.Verified.Problems > 0 {
					t.Errorf("%+v", restored)
				}
				compare(t, fmt.Sprintf("after backup %d", n), contents(t, open(t, o), archives), moments[n])
			}
		})
	}
}

// TestABackupIsOneMoment moves amounts between accounts of different families
// while backups are made: their sum is the same at every moment.
func TestABackupIsOneMoment(t *testing.T) {
	s := open(t, store.Options{})
	accounts := []store.Table[int]{
		{Family: store.FamilyAuxiliary, Name: "account"}, {Family: store.FamilyMeta, Name: "account"}, {Family: store.FamilyAudit, Name: "account"}}
	update(t, s, func(tx *store.Tx) error {
		for _, a := range accounts {
			for i := range 50 {
				if err := a.Put(tx, 100, fmt.Sprint(i)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	moved := make(chan error)
	go func() {
		r := rand.New(rand.NewPCG(1, 1))
		for ctx.Err() == nil {
			err := s.Update(func(tx *store.Tx) error {
				from, to := accounts[r.IntN(3)], accounts[r.IntN(3)]
				a, b := fmt.Sprint(r.IntN(50)), fmt.Sprint(50+r.IntN(50))
				have, err := from.Get(tx, a)
				if err != nil {
					return nil // emptied before
				}
				there, _ := to.Get(tx, b)
				return errors.Join(from.Delete(tx, a), to.Put(tx, there+have-1, b), from.Put(tx, 1, a))
			})
			if err != nil {
				moved <- err
				return
			}
		}
		moved <- nil
	}()
	var files [][]byte
	since := ""
	for range 5 {
		var out bytes.Buffer
		if _, err := s.Backup(t.Context(), &out, store.BackupOptions{Since: since}); err != nil {
			t.Fatal(err)
		}
		h, _, _, err := backup.Check(bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		since = h.ID
		files = append(files, out.Bytes())
	}
	cancel()
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	for n := range files {
		o := store.Options{Path: t.TempDir()}
		if _, err := restore(t, o, files[:n+1]...); err != nil {
			t.Fatal(err)
		}
		sum := 0
		view(t, open(t, o), func(tx *store.Tx) error {
			for _, a := range accounts {
				if err := a.Scan(tx, nil, func(_ []string, v int) error { sum += v; return nil }); err != nil {
					return err
				}
			}
			return nil
		})
		if sum != 3*50*100 {
			t.Errorf("backup %d has %d in its accounts, want %d", n, sum, 3*50*100)
		}
	}
}

func TestAnIncrementalBackupHoldsWhatChanged(t *testing.T) {
	m := newMade(t, 1, store.Options{})
	m.change(300)
	full, first, totals := m.backup(store.BackupOptions{Archives: store.BackupAll})
	if totals.Records < 50 || totals.Documents == 0 || totals.Archives == 0 {
		t.Fatalf("the full backup has %+v", totals)
	}
	update(t, m.s, func(tx *store.Tx) error { return notes.Put(tx, note{"new", 1}, "new") })
	update(t, m.s, func(tx *store.Tx) error { return errors.Join(notes.Put(tx, note{}, "brief")) })
	update(t, m.s, func(tx *store.Tx) error { return notes.Delete(tx, "brief") })
	_, _, totals = m.backup(store.BackupOptions{Since: first.ID})
	if totals.Records != 1 || totals.Removed != 1 || totals.Documents+totals.Archives != 0 || int(totals.Bytes) > len(full)/20 {
		t.Errorf("one record was written and one removed since: %+v of %d bytes", totals, len(full))
	}
	// Removed records are remembered across compactions and restarts.
	update(t, m.s, func(tx *store.Tx) error { return notes.Delete(tx, "new") })
	m.must(store.Compact(m.s))
	m.reopen()
	m.must(store.Compact(m.s))
	if _, _, totals = m.backup(store.BackupOptions{Since: first.ID}); totals.Removed != 2 {
		t.Errorf("two records were removed since: %+v", totals)
	}
}

func TestWhatCannotBeContinuedIsRefused(t *testing.T) {
	m := newMade(t, 2, store.Options{})
	m.change(50)
	_, h, _ := m.backup(store.BackupOptions{})
	other := newMade(t, 3, store.Options{})
	var refusal *store.BackupError
	for what, o := range map[string]store.BackupOptions{
		"an unknown backup":  {Since: "nothing"},
		"other archives":     {Since: h.ID, Archives: store.BackupAll},
		"no such archives":   {Archives: "some"},
		"a backup elsewhere": {Since: h.ID},
	} {
		s := m.s
		if what == "a backup elsewhere" {
			s = other.s
		}
		var out bytes.Buffer
		if _, err := s.Backup(t.Context(), &out, o); !errors.As(err, &refusal) || refusal.Busy() || out.Len() > 0 {
			t.Errorf("%s: %v, %d bytes", what, err, out.Len())
		}
	}
	// What a restore made is another folder: its versions are not those of the first.
	file, _, _ := m.backup(store.BackupOptions{})
	o := store.Options{Path: t.TempDir()}
	if _, err := restore(t, o, file); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, o).Backup(t.Context(), io.Discard, store.BackupOptions{Since: h.ID}); !errors.As(err, &refusal) {
		t.Errorf("a restored folder continues the backup of another: %v", err)
	}
}

// TestAFolderThatWasSetBackKnowsNoLaterBackup restores an old disk image.
func TestAFolderThatWasSetBackKnowsNoLaterBackup(t *testing.T) {
	m := newMade(t, 4, store.Options{})
	m.change(50)
	_, first, _ := m.backup(store.BackupOptions{})
	m.must(m.s.Close())
	image := t.TempDir()
	m.must(os.CopyFS(image, os.DirFS(m.opts.Path)))
	m.s = nil
	m.reopen()
	m.change(50)
	_, second, _ := m.backup(store.BackupOptions{Since: first.ID})
	m.must(m.s.Close())
	m.s, m.opts.Path = nil, image
	m.reopen()
	m.change(300)
	var refusal *store.BackupError
	if _, err := m.s.Backup(t.Context(), io.Discard, store.BackupOptions{Since: second.ID}); !errors.As(err, &refusal) {
		t.Errorf("a backup from a future that did not happen is continued: %v", err)
	}
	m.backup(store.BackupOptions{Since: first.ID})
}

func TestOneBackupAtATime(t *testing.T) {
	m := newMade(t, 5, store.Options{})
	m.change(100)
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := m.s.Backup(context.Background(), w, store.BackupOptions{})
		done <- err
	}()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	var refusal *store.BackupError
	if _, err := m.s.Backup(t.Context(), io.Discard, store.BackupOptions{}); !errors.As(err, &refusal) || !refusal.Busy() {
		t.Errorf("a second one at the same time: %v", err)
	}
	// A receiver that has gone ends it, and a store being closed does not wait for one that is slow.
	m.must(m.s.Close())
	r.CloseWithError(errors.New("gone"))
	if err := <-done; err == nil {
		t.Error("a backup whose receiver has gone is no failure")
	}
	m.s = nil
	m.reopen()
	m.backup(store.BackupOptions{})
	if _, err := os.Stat(filepath.Join(m.opts.Path, "BACKUP")); err == nil {
		t.Error("the file with the records of the moment stays")
	}
}

func TestDamageAndEvictionAreNamed(t *testing.T) {
	m := newMade(t, 6, store.Options{})
	body, evicted, document := noise(700<<10), noise(9000), bytes.Repeat([]byte("a document "), 900)
	var doc store.Digest
	update(t, m.s, func(tx *store.Tx) (err error) {
		doc, err = tx.PutDocument(document)
		return errors.Join(err, notes.Put(tx, note{"damaged", 1}, "damaged"), notes.Put(tx, note{"sound", 1}, "sound"))
	})
	pinned, err := keep(m.s, body)
	m.must(err)
	gone, err := keep(m.s, evicted)
	m.must(err)
	m.must(m.s.Pin("somebody", pinned))
	m.must(store.DamageRecord(m.s, store.FamilyMeta, "note", 20, "damaged"))
	m.must(store.DamageDocument(m.s, doc, 30))
	m.must(store.DamageChunk(m.s, pinned, 2))

	// The unpinned body goes after the moment of the backup and before its turn.
	var out bytes.Buffer
	first := true
	totals, err := m.s.Backup(t.Context(), writerFunc(func(p []byte) (int, error) {
		if first {
			first = false
			m.must(m.s.DeleteBlob(gone))
		}
		return out.Write(p)
	}), store.BackupOptions{Archives: store.BackupAll})
	m.must(err)
	_, _, missing, err := backup.Check(bytes.NewReader(out.Bytes()))
	m.must(err)
	var named []string
	for _, x := range missing {
		named = append(named, x.Kind+" "+x.Subject)
	}
	slices.Sort(named)
	want := []string{"archive " + gone.String(), "archive " + pinned.String(), "document " + doc.String(), "record note damaged"}
	slices.Sort(want)
	if !slices.Equal(named, want) || totals.Missing != 4 {
		t.Errorf("named as missing: %q, want %q", named, want)
	}
	o := store.Options{Path: t.TempDir()}
	restored, err := restore(t, o, out.Bytes())
	if err != nil || len(restored.Missing) != 4 {
		t.Errorf("%+v: %v", restored, err)
	}
	view(t, open(t, o), func(tx *store.Tx) error {
		if v, err := notes.Get(tx, "sound"); err != nil || v.Text != "sound" {
			t.Errorf("what was sound: %+v, %v", v, err)
		}
		return nil
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestRemovalsAreForgottenWithTheirBackups: what incremental backups need takes
// no room when there is none to continue.
func TestRemovalsAreForgottenWithTheirBackups(t *testing.T) {
	now := someDay
	s := open(t, store.Options{Now: func() time.Time { return now }})
	for n := range 3 {
		for i := range 30 {
			update(t, s, func(tx *store.Tx) error { return notes.Put(tx, note{}, fmt.Sprint(n, i)) })
		}
	}
	remove := func(n int) {
		update(t, s, func(tx *store.Tx) error {
			for i := range 30 {
				if err := notes.Delete(tx, fmt.Sprint(n, i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	count := func(when string, want int) {
		t.Helper()
		if err := s.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := store.CountRemovals(s); got != want {
			t.Errorf("%s: %d removals are written down, want %d", when, got, want)
		}
	}
	take := func() {
		if _, err := s.Backup(t.Context(), io.Discard, store.BackupOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove(0)
	count("without a backup", 0)
	take()
	remove(1)
	count("after a backup", 30)
	now = now.Add(60 * 24 * time.Hour)
	take()
	remove(2)
	count("after two backups", 60)
	now = now.Add(60 * 24 * time.Hour)
	count("when the first is too old", 30)
	now = now.Add(60 * 24 * time.Hour)
	count("when both are too old", 0)
	update(t, s, func(tx *store.Tx) error { return notes.Put(tx, note{}, "x") })
	update(t, s, func(tx *store.Tx) error { return notes.Delete(tx, "x") })
	count("and from then on", 0)
}

func TestWhatRestoreRefuses(t *testing.T) {
	m := newMade(t, 7, store.Options{})
	m.change(150)
	full, h, _ := m.backup(store.BackupOptions{})
	m.change(50)
	second, h2, _ := m.backup(store.BackupOptions{Since: h.ID})
	m.change(50)
	third, _, _ := m.backup(store.BackupOptions{Since: h2.ID})
	flipped := bytes.Clone(second)
	flipped[len(flipped)/2] ^= 4
	for what, c := range map[string]struct {
		files [][]byte
		want  string
	}{
		"nothing":                {nil, "no backup is given"},
		"no full backup":         {[][]byte{second, third}, "begin with the full one"},
		"a gap":                  {[][]byte{full, third}, "does not continue the one before"},
		"the wrong order":        {[][]byte{full, third, second}, "does not continue the one before"},
		"two full ones":          {[][]byte{full, full}, "stands for itself"},
		"a damaged incremental":  {[][]byte{full, flipped, third}, "damaged"},
		"one that was cut off":   {[][]byte{full, second[:len(second)-20]}, "cut off"},
		"something else":         {[][]byte{[]byte("PK\x03\x04 a zip file, perhaps")}, "does not begin like a backup"},
		"a full one cut in half": {[][]byte{full[:len(full)/2]}, "cut off"},
	} {
		o := store.Options{Path: t.TempDir()}
		_, err := restore(t, o, c.files...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if s, err := store.Open(t.Context(), o); err == nil {
			// Nothing was begun, so the folder is as empty as before.
			if usage := s.Usage(); usage.Documents+int64(usage.Blobs) > 0 {
				t.Errorf("%s: the folder can be opened and holds %+v", what, usage)
			}
			s.Close()
		} else if !errors.Is(err, store.ErrRestoring) {
			t.Errorf("%s: opening says %v", what, err)
		}
	}
	for what, dir := range map[string]string{"a folder with data": m.opts.Path, "a folder with something else": filepath.Dir(t.TempDir())} {
		if _, err := restore(t, store.Options{Path: dir}, full); err == nil || !strings.Contains(err.Error(), "is not empty") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestAnInterruptedRestoreIsTakenUp cuts a restore off at many places, each
// time further on, and finishes it at last.
func TestAnInterruptedRestoreIsTakenUp(t *testing.T) {
	m := newMade(t, 8, store.Options{})
	m.change(200)
	full, h, _ := m.backup(store.BackupOptions{Archives: store.BackupAll})
	m.change(200)
	second, _, _ := m.backup(store.BackupOptions{Since: h.ID})
	want := contents(t, m.s, store.BackupAll)
	o := store.Options{Path: t.TempDir()}
	broken := errors.New("the power is gone")
	for i := range 6 {
		n := int64(len(full)+len(second)) * int64(i+1) / 7
		cut := func(file []byte) io.Reader {
			part := min(n, int64(len(file)))
			n -= part
			if part < int64(len(file)) {
				return io.MultiReader(bytes.NewReader(file[:part]), readerFunc(func([]byte) (int, error) { return 0, broken }))
			}
			return bytes.NewReader(file)
		}
		first := cut(full)
		if _, err := store.Restore(t.Context(), o, []io.Reader{first, io.MultiReader(bytes.NewReader(second[:1000]), cut(second[1000:]))}, nil); !errors.Is(err, broken) {
			t.Fatalf("cut %d: %v", i, err)
		}
		if _, err := store.Open(t.Context(), o); !errors.Is(err, store.ErrRestoring) {
			t.Fatalf("half a folder can be opened: %v", err)
		}
	}
	if _, err := restore(t, o, second); err == nil {
		t.Error("it can be taken up without the full backup")
	}
	other := newMade(t, 9, store.Options{})
	stranger, _, _ := other.backup(store.BackupOptions{})
	if _, err := restore(t, o, stranger); err == nil || !strings.Contains(err.Error(), "unfinished restore of other backups") {
		t.Errorf("it is taken up with another backup: %v", err)
	}
	if _, err := restore(t, o, full, second); err != nil {
		t.Fatal(err)
	}
	compare(t, "taken up", contents(t, open(t, o), store.BackupAll), want)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestAFullDiskMakesNoBackup(t *testing.T) {
	free := int64(1 << 40)
	m := newMade(t, 10, store.Options{FreeSpace: func(string) (int64, error) { return free, nil }})
	m.change(100)
	free = 1000
	if _, err := m.s.Backup(t.Context(), io.Discard, store.BackupOptions{}); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("below the floor: %v", err)
	}
	free = 1 << 40
	full, _, _ := m.backup(store.BackupOptions{})
	free = 1000
	_, err := restore(t, store.Options{Path: t.TempDir(), FreeSpace: func(string) (int64, error) { return free, nil }}, full)
	if !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("restoring below the floor: %v", err)
	}
	free = 1 << 40
}
