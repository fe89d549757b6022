package access_test

import (
	"os"
	"testing"
	"time"

	"stasis/private/access"
)

func TestAnAnswerThatWasDecidedBeforeAllocatesNothing(t *testing.T) {
	d := open(t, access.Options{})
	_, text := d.token(access.Token{})
	for _, header := range []string{"Bearer " + text, basic("token", text), ""} {
		r := request(header)
		if _, err := d.Admit(r); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = d.Admit(r) }); n > 0 {
			t.Errorf("%q costs %v allocations", header, n)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	d := open(b, access.Options{})
	_, text := d.token(access.Token{})
	for _, c := range []struct{ name, header string }{{"anonymous", ""}, {"basic", basic("token", text)}, {"bearer", "Bearer " + text}} {
		r := request(c.header)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Admit(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("undecided", func(b *testing.B) {
		r := request("Bearer " + text)
		b.ReportAllocs()
		for b.Loop() {
			d.Forget()
			if _, err := d.Admit(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// full asks for the long forms of the tests about attacks and faults.
func full() bool { return os.Getenv("STASIS_FAULTS") == "full" }

func TestAHundredThousandWrongTokensAreSlowed(t *testing.T) {
	n := 5_000
	if full() {
		n = 100_000
	}
	d := open(t, access.Options{AdminToken: "correct-horse"})
	_, text := d.token(access.Token{})
	reasons := map[string]int{}
	for i := range n {
		_, err := d.admit("Bearer " + access.Resealed(text, 16+i%27))
		reasons[access.ReasonOf(err)]++
		d.clock.advance(time.Millisecond)
	}
	// Ten at once, and one every six seconds of the clock.
	if allowed := 10 + n/6000 + 1; reasons["wrong"] > allowed || reasons["wrong"]+reasons["limited"] != n {
		t.Errorf("of %d guesses in %s: %v, want at most %d that were compared", n, time.Duration(n)*time.Millisecond, reasons, allowed)
	}
}
