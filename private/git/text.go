package git

import (
	"bytes"
	"encoding/json"
)

// text is the JSON of a string, with characters as they are.
func text(s string) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // strings can be encoded
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
