package config

import (
	"fmt"
	"io"
)

const hidden = "[hidden]"

// Secret is a value that no print, log or encoding shows. Reveal is the one way to it.
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value, for the one place that needs it.
func (s Secret) Reveal() string { return s.value }

// IsSet tells whether there is a value.
func (s Secret) IsSet() bool { return s.value != "" }

// String returns a placeholder, or nothing when there is no value.
func (s Secret) String() string {
	if s.IsSet() {
		return hidden
	}
	return ""
}

// Format answers every verb of package fmt with the placeholder, also those that would look inside.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText hides the value from encoders and from slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
