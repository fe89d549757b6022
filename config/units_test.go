package config_test

import (
	"testing"
	"time"

	"stasis/config"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]config.Size{
		"0": 0, "10737418240": 10 << 30, "10GB": 10e9, "10GiB": 10 << 30, "64MB": 64e6, "64 MiB": 64 << 20,
		"1.5KiB": 1536, "2kb": 2000, "7B": 7, "1TB": 1e12, "1TiB": 1 << 40,
	} {
		if got, err := config.ParseSize(text); got != want || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", text, int64(got), err, int64(want))
		}
	}
	for _, text := range []string{"", "GB", "-1", "10G", "10 pounds", "1.5", "0.3KB5", "9999999999TiB", "1e3", "1/2", "1.2.3MB", "٣MB"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, int64(got))
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "3600": time.Hour, "90s": 90 * time.Second, "1h": time.Hour, "7d": 7 * 24 * time.Hour,
		"1h30m": 90 * time.Minute, "0.5": time.Second / 2, "250ms": 250 * time.Millisecond, "1d12h": 36 * time.Hour,
	} {
		if got, err := config.ParseDuration(text); got != want || err != nil {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "s", "-1", "-1h", "1w", "1h30", "soon", "99999999999d", "1e9", "1h-5m", "1 hour"} {
		if got, err := config.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"10GiB", "64 MB", "1.5KiB", "..", "1e999999999", "0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := config.ParseSize(text)
		if err != nil {
			return
		}
		if size < 0 {
			t.Fatalf("ParseSize(%q) = %d", text, int64(size))
		}
		if again, err := config.ParseSize(size.String()); again != size || err != nil {
			t.Fatalf("%q is %s, which reads as %d, %v", text, size, int64(again), err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"90s", "1h30m", "7d", "0.000000001", "250ms", "1h1h", "."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := config.ParseDuration(text)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("ParseDuration(%q) = %v", text, d)
		}
		written := config.FormatDuration(d)
		if again, err := config.ParseDuration(written); again != d || err != nil {
			t.Fatalf("%q is %s, which reads as %v, %v", text, written, again, err)
		}
	})
}
