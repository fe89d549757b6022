package history_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"stasis/store"
)

// A client keeps one body per address with its date, asks with that date, and
// keeps the body when it is told that nothing changed. Whatever bodies an
// address has in turn, it must always end up with the one of the moment.
func TestAClientThatMovesBetweenViewsAlwaysHasTheRightBody(t *testing.T) {
	h, _ := recorder(t)
	rng := rand.New(rand.NewPCG(7, 7))
	start := at("2026-09-01T12:00:00Z")
	for url := range 20 {
		key := fmt.Sprintf("acme/a%d", url)
		dates := map[int]time.Time{}
		for range 60 {
			body := rng.IntN(12)
			// Many bodies begin in the same second.
			notBefore := start.Add(time.Duration(rng.IntN(3)) * time.Second)
			got, err := h.Validator(key, store.SumDigest([]byte{byte(body)}), notBefore)
			if err != nil {
				t.Fatal(err)
			}
			if held, ok := dates[body]; ok && !held.Equal(got) {
				t.Fatalf("body %d was dated %s and is dated %s", body, held, got)
			}
			for other, date := range dates {
				if other != body && date.Equal(got) {
					t.Fatalf("bodies %d and %d are both dated %s", body, other, got)
				}
			}
			if got.Nanosecond() != 0 || got.Before(notBefore) && dates[body].IsZero() {
				t.Fatalf("dated %s, not before %s", got, notBefore)
			}
			dates[body] = got
		}
	}
}

func TestAddressesHaveDatesOfTheirOwn(t *testing.T) {
	h, _ := recorder(t)
	start := at("2026-09-01T12:00:00Z")
	for _, key := range []string{"acme/a", "acme/b"} {
		got, err := h.Validator(key, store.SumDigest([]byte(key)), start)
		if err != nil || !got.Equal(start) {
			t.Errorf("%s: %s %v", key, got, err)
		}
	}
}
