package store_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/store"
)

func TestDigestText(t *testing.T) {
	d := store.SumDigest([]byte("a"))
	const want = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	if d.String() != want {
		t.Errorf("String: got %s, want %s", d, want)
	}
	if got, err := store.ParseDigest(want); err != nil || got != d {
		t.Errorf("ParseDigest: %s, %v", got, err)
	}
	for _, bad := range []string{"", "ca97", strings.ToUpper(want), want + "0", want[:63] + "g"} {
		if _, err := store.ParseDigest(bad); err == nil {
			t.Errorf("ParseDigest(%q) is no error", bad)
		}
	}
	for _, d := range []store.Digest{d, {}} {
		text, err := d.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		back := store.SumDigest(nil)
		if err := back.UnmarshalText(text); err != nil || back != d {
			t.Errorf("text %q: got %s back, %v", text, back, err)
		}
	}
	if !(store.Digest{}).IsZero() || d.IsZero() {
		t.Error("IsZero does not tell zero from others")
	}
}

func TestTimeAndNumberKeysSortByValue(t *testing.T) {
	moments := []time.Time{time.Unix(0, 0), time.Unix(0, 1), someDay.Add(-time.Nanosecond), someDay, someDay.Add(time.Hour), time.Date(2261, 1, 1, 0, 0, 0, 0, time.UTC)}
	var keys []string
	for _, m := range moments {
		k := store.TimeKey(m)
		keys = append(keys, k)
		if back, err := store.ParseTimeKey(k); err != nil || !back.Equal(m) {
			t.Errorf("TimeKey(%v) = %s comes back as %v, %v", m, k, back, err)
		}
	}
	if !slices.IsSorted(keys) {
		t.Errorf("keys are not in order: %q", keys)
	}
	for _, bad := range []string{"", "1", "00000000000000000", "000000000000000g", "000000000000000A"} {
		if _, err := store.ParseSeqKey(bad); err == nil {
			t.Errorf("ParseSeqKey(%q) is no error", bad)
		}
	}
}

func FuzzKeyOrderAndRoundTrip(f *testing.F) {
	f.Add("a", "b", "a", "b")
	f.Add("a", "", "a", "\x01")
	f.Add("vendor/name", "0001", "vendor/name~dev", "0000")
	f.Add("a\xff", "x", "a", "\xff")
	f.Add("", "", "", "")
	f.Fuzz(func(t *testing.T, a1, a2, b1, b2 string) {
		a, b := []string{a1, a2}, []string{b1, b2}
		ka, errA := store.TableKey(store.FamilyMeta, "table", a)
		kb, errB := store.TableKey(store.FamilyMeta, "table", b)
		if (errA != nil) != strings.Contains(a1+a2, "\x00") && len(a1)+len(a2) < 8000 {
			t.Fatalf("TableKey(%q): %v", a, errA)
		}
		if errA != nil || errB != nil {
			return
		}
		if got, want := bytes.Compare(ka, kb), slices.Compare(a, b); got != want {
			t.Errorf("keys of %q and %q compare as %d, their parts as %d", a, b, got, want)
		}
		name, parts, ok := store.SplitKey(ka)
		if !ok || name != "table" || !slices.Equal(parts, a) {
			t.Errorf("the key of %q comes back as %q %q", a, name, parts)
		}
		prefix, err := store.ScanPrefix(store.FamilyMeta, "table", a[:1])
		if err != nil || !bytes.HasPrefix(ka, prefix) || bytes.HasPrefix(kb, prefix) != (a1 == b1) {
			t.Errorf("the prefix of %q is %q, %v", a[:1], prefix, err)
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("key"), []byte("body"), 0, byte(1))
	f.Add([]byte{}, []byte{}, 5, byte(0x80))
	f.Add([]byte("k"), bytes.Repeat([]byte{0}, 100), 60, byte(0xff))
	f.Fuzz(func(t *testing.T, key, body []byte, at int, flip byte) {
		// Arbitrary bytes never panic.
		store.Unframe(key, body)
		store.DecodeBlobRecord(body)
		store.DecodeDocumentInfo(body)

		framed := store.Frame(key, body)
		got, why := store.Unframe(key, framed)
		if why != "" || !bytes.Equal(got, body) {
			t.Fatalf("a frame of %q comes back as %q: %s", body, got, why)
		}
		if flip == 0 {
			return
		}
		framed[uint(at)%uint(len(framed))] ^= flip
		if got, why := store.Unframe(key, framed); why == "" {
			t.Fatalf("a damaged frame is accepted as %q", got)
		}
		framed[uint(at)%uint(len(framed))] ^= flip
		if _, why := store.Unframe(key, framed[:uint(at)%uint(len(framed))]); why == "" {
			t.Fatal("a frame that was cut short is accepted")
		}
		if _, why := store.Unframe(append(key, 'x'), framed); why == "" {
			t.Fatal("a frame is accepted under another key")
		}
	})
}
