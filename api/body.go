package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// maxBody bounds the body of a management request.
const maxBody = 64 << 10

// body reads the request's body: nothing, or a JSON object whose members are among allowed and are
// strings. It is strict, because a field nobody reads (misspelt, null, doubled, in other case) would turn
// a narrow request into a wide one; for the same reason a body that breaks off is an error.
func (c *call) body(allowed ...string) (map[string]string, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &failure{status: http.StatusRequestEntityTooLarge, code: CodeTooLarge, message: fmt.Sprintf("The body is larger than %d bytes.", maxBody)}
	case err != nil:
		return nil, invalid("The body could not be read to its end.")
	}
	fields := map[string]string{}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return fields, nil
	}
	if !json.Valid(raw) {
		return nil, invalid("The body is not valid JSON.")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, _ := dec.Token(); t != json.Delim('{') {
		return nil, invalid("The body must be a JSON object.")
	}
	for dec.More() {
		t, _ := dec.Token()
		name, _ := t.(string)
		if !slices.Contains(allowed, name) {
			return nil, invalid(fmt.Sprintf("The field %q is not known here; %s.", loggable(name, 64), choice(allowed)))
		}
		if _, twice := fields[name]; twice {
			return nil, invalid(fmt.Sprintf("The field %q is given more than once.", name))
		}
		t, _ = dec.Token()
		value, ok := t.(string)
		if !ok {
			return nil, invalid(fmt.Sprintf("The field %q must be a string.", name))
		}
		fields[name] = value
	}
	return fields, nil
}

func choice(allowed []string) string {
	if len(allowed) == 0 {
		return "this operation takes none"
	}
	return "allowed are " + strings.Join(allowed, ", ")
}
