package composer

import (
	"errors"
	"fmt"
	"strings"
)

// maxName bounds a whole package name in bytes. The longest names in use have about 120; a file name on any system
// that Composer runs on holds 255.
const maxName = 255

// Name is a valid, lower-case package name, "vendor/package". It is comparable; the zero Name is no name at all and is
// never returned by ParseName without an error.
type Name struct{ full string }

// ParseName reads a package name and lower-cases it. Platform names ("php", "ext-json") have no vendor and are
// therefore no package names.
func ParseName(s string) (Name, error) {
	if len(s) > maxName {
		return Name{}, fmt.Errorf("the package name has %d characters, more than the %d allowed", len(s), maxName)
	}
	s = lowerASCII(s)
	vendor, pkg, ok := strings.Cut(s, "/")
	if !ok {
		return Name{}, fmt.Errorf("%q is not a package name: it has no vendor and slash", s)
	}
	if err := checkHalf(vendor, 1); err != nil {
		return Name{}, fmt.Errorf("%q is not a package name: its vendor %w", s, err)
	}
	if err := checkHalf(pkg, 2); err != nil {
		return Name{}, fmt.Errorf("%q is not a package name: its second part %w", s, err)
	}
	if strings.HasSuffix(pkg, ".json") {
		return Name{}, fmt.Errorf("%q is not a package name: it ends in .json", s)
	}
	return Name{full: s}, nil
}

// String returns "vendor/package".
func (n Name) String() string { return n.full }

// Vendor returns the part before the slash.
func (n Name) Vendor() string {
	vendor, _, _ := strings.Cut(n.full, "/")
	return vendor
}

// Package returns the part after the slash.
func (n Name) Package() string {
	_, pkg, _ := strings.Cut(n.full, "/")
	return pkg
}

// IsZero reports whether n is the zero Name.
func (n Name) IsZero() bool { return n.full == "" }

// MarshalText and UnmarshalText let a Name stand in JSON, as a value or as a key.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.full), nil }

// UnmarshalText is ParseName.
func (n *Name) UnmarshalText(b []byte) (err error) {
	*n, err = ParseName(string(b))
	return err
}

// checkHalf checks one side of the slash: runs of letters and digits with one separator between them, or up to
// maxHyphens hyphens.
func checkHalf(s string, maxHyphens int) error {
	if s == "" {
		return errors.New("is empty")
	}
	if deviceName(s) {
		return errors.New("is a device name on Windows")
	}
	run := 0 // length of the separator run that ends before i
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			run = 0
			continue
		case c == '_' || c == '.' || c == '-':
		default:
			return fmt.Errorf("holds %q", c)
		}
		run++
		if i == 0 || i == len(s)-1 {
			return errors.New("starts or ends with a separator")
		}
		if run > 1 && (run > maxHyphens || s[i] != '-' || s[i-1] != '-') {
			return errors.New("has too many separators in a row")
		}
	}
	return nil
}

func deviceName(s string) bool {
	switch s {
	case "nul", "con", "prn", "aux":
		return true
	}
	return len(s) == 4 && (s[:3] == "com" || s[:3] == "lpt") && '1' <= s[3] && s[3] <= '9'
}

// lowerASCII leaves everything beyond ASCII alone: strings.ToLower would turn the Kelvin sign into a k, and thereby an
// invalid name into a valid one.
func lowerASCII(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// File names one of the two metadata documents of a package: the tagged versions, or the development ones.
type File struct {
	Name Name
	Dev  bool
}

// ParseFile reads what stands for %package% in a metadata URL: "vendor/package" or "vendor/package~dev".
func ParseFile(s string) (File, error) {
	s, dev := strings.CutSuffix(s, "~dev")
	n, err := ParseName(s)
	return File{Name: n, Dev: dev}, err
}

// String is the inverse of ParseFile.
func (f File) String() string {
	if f.Dev {
		return f.Name.full + "~dev"
	}
	return f.Name.full
}
