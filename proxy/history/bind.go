package history

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"stasis/proxy/composer"
	"stasis/store"
)

// bindings has what was decided about a file at an instant, by instant first:
// all files of one dated world lie together.
var bindings = store.Table[bound]{Family: store.FamilyBinding, Name: "bind"}

// bound is a Binding as it is stored, without its instant. There is one per
// view and file, so names are short, times are Unix seconds and digests are in
// base64.
type bound struct {
	Kind     Kind
	Fidelity Fidelity
	Docs     [3]store.Digest // Document, Next, Imported
	Times    [4]time.Time    // BoundAt, ValidFrom, LastConfirmed, NextFrom
}

type boundJSON struct {
	Kind     string   `json:"k"`
	Fidelity string   `json:"f"`
	Docs     []string `json:"d,omitempty"`
	Times    []int64  `json:"t,omitempty"`
}

func (b bound) MarshalJSON() ([]byte, error) {
	out := boundJSON{Kind: short(b.Kind), Fidelity: short(b.Fidelity)}
	for _, d := range b.Docs {
		text := ""
		if !d.IsZero() {
			text = base64.RawStdEncoding.EncodeToString(d[:])
		}
		out.Docs = append(out.Docs, text)
	}
	for n := len(out.Docs); n > 0 && out.Docs[n-1] == ""; n-- {
		out.Docs = out.Docs[:n-1]
	}
	for _, t := range b.Times {
		sec := int64(0)
		if !t.IsZero() {
			sec = t.Unix()
		}
		out.Times = append(out.Times, sec)
	}
	for n := len(out.Times); n > 0 && out.Times[n-1] == 0; n-- {
		out.Times = out.Times[:n-1]
	}
	return json.Marshal(out)
}

func (b *bound) UnmarshalJSON(body []byte) error {
	var in boundJSON
	if err := json.Unmarshal(body, &in); err != nil {
		return err
	}
	var ok, sure bool
	b.Kind, ok = long(in.Kind, WholeDocument, FilterDocument, GapDocument, AbsentDocument)
	b.Fidelity, sure = long(in.Fidelity, Exact, Absent, Gap, Reconstructed, Estimated)
	if !ok || !sure || len(in.Docs) > len(b.Docs) || len(in.Times) > len(b.Times) {
		return errors.New("not a binding")
	}
	for i, text := range in.Docs {
		raw, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil || len(raw) != 0 && len(raw) != len(b.Docs[i]) {
			return errors.New("a binding with a malformed digest")
		}
		copy(b.Docs[i][:], raw)
	}
	for i, sec := range in.Times {
		if sec != 0 {
			b.Times[i] = time.Unix(sec, 0).UTC()
		}
	}
	return nil
}

// short spells a word by its first two letters; the words of each type differ
// there.
func short[S ~string](word S) string {
	return string(word[:min(2, len(word))])
}

func long[S ~string](letters string, words ...S) (S, bool) {
	for _, w := range words {
		if short(w) == letters {
			return w, true
		}
	}
	return "", false
}

func (b bound) binding(at time.Time) Binding {
	return Binding{
		Kind: b.Kind, Fidelity: b.Fidelity, At: at,
		Document: b.Docs[0], Next: b.Docs[1], Imported: b.Docs[2],
		BoundAt: b.Times[0], ValidFrom: b.Times[1], LastConfirmed: b.Times[2], NextFrom: b.Times[3],
	}
}

func (b Binding) bound() bound {
	return bound{
		Kind: b.Kind, Fidelity: b.Fidelity,
		Docs:  [3]store.Digest{b.Document, b.Next, b.Imported},
		Times: [4]time.Time{b.BoundAt, b.ValidFrom, b.LastConfirmed, b.NextFrom},
	}
}

func bindingKey(at time.Time, f composer.File) []string {
	return []string{store.TimeKey(at), f.String()}
}

// Bound returns what was bound for f at an instant, if anything was.
func (h *History) Bound(at time.Time, f composer.File) (Binding, bool, error) {
	at = at.UTC().Truncate(time.Second)
	var b Binding
	err := h.store.View(func(tx *store.Tx) error {
		rec, err := bindings.Get(tx, bindingKey(at, f)...)
		b = rec.binding(at)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return Binding{}, false, nil
	}
	if err != nil {
		return Binding{}, false, fmt.Errorf("read the view of %s at %s: %w", f, at.Format(time.RFC3339), err)
	}
	return b, true, nil
}

// Bind writes down what Decide found. The first decision about a file at an
// instant stands: when there is one already, it is returned instead.
func (h *History) Bind(f composer.File, b Binding) (Binding, error) {
	return h.bind(f, b, false)
}

// Rebind replaces a decision, on an operator's word. Whoever asks for it logs it.
func (h *History) Rebind(f composer.File, b Binding) (Binding, error) {
	return h.bind(f, b, true)
}

func (h *History) bind(f composer.File, b Binding, replace bool) (Binding, error) {
	if b.At.IsZero() || b.At.Nanosecond() != 0 {
		return Binding{}, fmt.Errorf("bind %s: %s is not a whole second", f, b.At)
	}
	b.BoundAt = h.now().UTC().Truncate(time.Second)
	out := b
	err := h.store.Update(func(tx *store.Tx) error {
		out = b
		key := bindingKey(b.At, f)
		if !replace {
			held, err := bindings.Get(tx, key...)
			if err == nil {
				out = held.binding(b.At)
				return nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return bindings.Put(tx, b.bound(), key...)
	})
	if err != nil {
		return Binding{}, fmt.Errorf("bind %s at %s: %w", f, b.At.Format(time.RFC3339), err)
	}
	return out, nil
}
