package upstream

import (
	"fmt"
	"log/slog"
)

const hidden = "[hidden]"

// Secret is a string that is worth nothing to a reader of logs: however it is printed, encoded
// or logged, only a placeholder appears. The text is behind a pointer because fmt prints
// unexported fields without asking their methods.
type Secret struct{ text *string }

// NewSecret hides s.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal returns the hidden text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero says whether nothing is hidden.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// String returns a placeholder, or nothing for an empty secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return hidden
}

// Format prints the placeholder for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, s.String()) }

// MarshalText encodes the placeholder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue logs the placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
