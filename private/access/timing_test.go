//go:build !race

package access_test

import (
	"math"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"stasis/private/access"
)

// The race detector's bookkeeping takes longer for what it has not seen before, so that this test would measure that.

// A token that is wrong in its last character must not take longer, or less long, than one that is wrong in the first,
// or than one whose id does not exist.
func TestTheTimeOfARefusalDoesNotTellHowNearAGuessWas(t *testing.T) {
	n := 2_000
	if full() {
		n = 100_000
	}
	d := open(t, access.Options{})
	_, text := d.token(access.Token{})
	tries := []struct {
		name string
		make func() string
	}{
		{"last character", func() string { return access.Resealed(text, 42) }},
		{"first character", func() string { return access.Resealed(text, 16) }},
		{"unknown id", access.Stranger},
		{"another unknown id", access.Stranger}, // as many unknown as known, so that no branch is the rarer one
	}
	samples := make([][]float64, len(tries))
	requests := make([]*http.Request, len(tries))
	for range n {
		for i, c := range tries {
			requests[i] = request("Bearer "+c.make(), netip.AddrPortFrom(stranger(), 1).String())
		}
		for _, i := range rand.Perm(len(tries)) {
			begin := time.Now()
			_, _ = d.Admit(requests[i])
			samples[i] = append(samples[i], float64(time.Since(begin)))
		}
		d.clock.advance(time.Minute) // so that no guess is slowed
	}
	for i := 1; i < len(tries); i++ {
		tt := welch(cropped(samples[0]), cropped(samples[i]))
		a, _ := moments(cropped(samples[0]))
		b, _ := moments(cropped(samples[i]))
		t.Logf("%s (%.0f ns) against %s (%.0f ns): t = %.2f over %d samples each", tries[0].name, a, tries[i].name, b, tt, n)
		// Chance alone exceeds 4.5 once in 150,000 runs.
		if math.Abs(tt) > 4.5 {
			t.Errorf("the time tells %s from %s: t = %.2f", tries[0].name, tries[i].name, tt)
		}
	}
}

// stranger is an address nobody has had before.
func stranger() netip.Addr {
	b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	for i := 4; i < 8; i++ {
		b[i] = byte(rand.Uint32())
	}
	return netip.AddrFrom16(b)
}

// cropped leaves out the slowest tenth, which is the machine's other work.
func cropped(samples []float64) []float64 {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[:len(sorted)*9/10]
}

// welch is the t of two samples whose variances may differ.
func welch(a, b []float64) float64 {
	ma, va := moments(a)
	mb, vb := moments(b)
	return (ma - mb) / math.Sqrt(va/float64(len(a))+vb/float64(len(b)))
}

func moments(samples []float64) (mean, variance float64) {
	for _, s := range samples {
		mean += s / float64(len(samples))
	}
	for _, s := range samples {
		variance += (s - mean) * (s - mean) / float64(len(samples)-1)
	}
	return mean, variance
}
