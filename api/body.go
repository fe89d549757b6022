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

// maxBody bounds the body of a management request that has nothing large to say.
const maxBody = 64 << 10

// body reads the request's body: nothing, or a JSON object whose members are among allowed and are
// strings.
func (c *call) body(allowed ...string) (map[string]string, error) {
	members, err := c.object(maxBody, allowed...)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string, len(members))
	for name, raw := range members {
		if fields[name], err = textOf(name, raw); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// object reads the request's body: nothing, or a JSON object whose members are among allowed. It is strict,
// because a field nobody reads (misspelt, null, doubled, in other case) would turn a narrow request into a
// wide one; for the same reason a body that breaks off is an error.
func (c *call) object(limit int64, allowed ...string) (map[string]json.RawMessage, error) {
	raw, err := c.bytes(limit)
	if err != nil {
		return nil, err
	}
	members := map[string]json.RawMessage{}
	raw = bytes.Trim(raw, " \t\r\n") // what is white space to JSON, and no more
	if len(raw) == 0 {
		return members, nil
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
		if _, twice := members[name]; twice {
			return nil, invalid(fmt.Sprintf("The field %q is given more than once.", name))
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, invalid("The body is not valid JSON.")
		}
		members[name] = value
	}
	return members, nil
}

// bytes reads the request's body as it is.
func (c *call) bytes(limit int64) ([]byte, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &failure{status: http.StatusRequestEntityTooLarge, code: CodeTooLarge, message: fmt.Sprintf("The body is larger than %d bytes.", limit)}
	case err != nil:
		return nil, invalid("The body could not be read to its end.")
	}
	return raw, nil
}

// textOf is the value of a member that has to be a string.
func textOf(name string, raw json.RawMessage) (string, error) {
	var value *string
	if json.Unmarshal(raw, &value) != nil || value == nil {
		return "", invalid(fmt.Sprintf("The field %q must be a string.", name))
	}
	return *value, nil
}

func choice(allowed []string) string {
	if len(allowed) == 0 {
		return "this operation takes none"
	}
	return "allowed are " + strings.Join(allowed, ", ")
}
