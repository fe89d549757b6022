package remote

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"stasis/proxy/composer"
	"stasis/proxy/upstream"
)

// Bounds on one repository, whatever it sends.
const (
	// maxStream bounds a root or an included document, inflated.
	maxStream = 1 << 30
	// maxNames bounds the names of one index; Packagist has half a million.
	maxNames = 2_000_000
	// readStep is how far the decoder may read beyond the value it wants.
	readStep = 64 << 10
)

// content is a root, or a document that a root includes, taken apart.
type content struct {
	members   composer.Object // what is none of the following
	inline    bool            // it has packages or includes, be they none
	packages  map[composer.Name][]piece
	providers map[composer.Name]digest
	includes  []link // of packages
	indexes   []link // of providers
	ancient   map[composer.Name][]piece
	kept      int64 // bytes of pieces
}

// link is another document of the repository.
type link struct{ key, hash string }

// readContent reads a document as it arrives: what is large in it is never in
// memory as a whole. A single value may take limit bytes.
func readContent(body io.Reader, limit int64) (*content, error) {
	in := &meter{from: body, max: limit}
	s := &stream{in: in, dec: json.NewDecoder(in)}
	c := &content{}
	err := s.entries(true, func(key string) error { return s.member(c, key) })
	if err == nil {
		if _, err = s.dec.Token(); err == nil {
			err = errors.New("something follows the end of the document")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		return nil, readable(err)
	}
	return c, nil
}

// readable puts the decoder's errors into words.
func readable(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("it is not JSON: %w", err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("it is not JSON: %w", io.ErrUnexpectedEOF)
	}
	return err
}

type stream struct {
	in  *meter
	dec *json.Decoder
}

func (s *stream) member(c *content, key string) error {
	switch key {
	case "packages":
		c.inline, c.packages = true, map[composer.Name][]piece{}
		return s.entries(false, func(key string) error {
			value, err := s.value()
			if err == nil {
				err = c.shelve(c.packages, key, value)
			}
			return err
		})
	case "providers":
		c.providers = map[composer.Name]digest{}
		return s.entries(false, func(key string) error { return s.provider(c, key) })
	case "includes":
		c.inline = true
		return s.links(&c.includes, "sha1")
	case "provider-includes":
		return s.links(&c.indexes, "sha256")
	}
	value, err := s.value()
	if err == nil {
		c.members = append(c.members, composer.Member{Key: key, Value: value})
		err = c.old(key, value)
	}
	return err
}

// old takes over a package in the form of the first repositories,
// {"vendor/name": {"versions": {…}}}, which counts where there is no other.
func (c *content) old(key string, value json.RawMessage) error {
	var o composer.Object
	if o.UnmarshalJSON(value) != nil || !o.Has("versions") {
		return nil
	}
	if c.ancient == nil {
		c.ancient = map[composer.Name][]piece{}
	}
	return c.shelve(c.ancient, key, o.Get("versions"))
}

func (s *stream) provider(c *content, key string) error {
	var p struct {
		SHA256 string `json:"sha256"`
	}
	value, err := s.value()
	if err != nil {
		return err
	}
	name, err := composer.ParseName(key)
	if err != nil {
		return nil // no client can ask for it
	}
	var sum digest
	if json.Unmarshal(value, &p) == nil && len(p.SHA256) == hex.EncodedLen(len(sum)) {
		if _, err := hex.Decode(sum[:], []byte(p.SHA256)); err != nil {
			sum = digest{}
		}
	}
	if len(c.providers) >= maxNames {
		return fmt.Errorf("its index has more than %d names", maxNames)
	}
	c.providers[name] = sum // one without a usable hash is there and cannot be had
	return nil
}

func (s *stream) links(list *[]link, hash string) error {
	*list = nil
	return s.entries(false, func(key string) error {
		value, err := s.value()
		var o composer.Object
		if err == nil && key != "" {
			_ = o.UnmarshalJSON(value)
			*list = append(*list, link{key, o.Text(hash)})
		}
		return err
	})
}

// entries reads an object, or unless strict what PHP makes of one that is empty
// or has numbers for keys: a list, whose elements have no key.
func (s *stream) entries(strict bool, each func(key string) error) error {
	s.in.allow(s.dec.InputOffset())
	open, err := s.dec.Token()
	if err != nil {
		return err
	}
	if open == nil && !strict {
		return nil
	}
	if open != json.Delim('{') && (strict || open != json.Delim('[')) {
		return fmt.Errorf("it has %.40q where an object belongs", fmt.Sprint(open))
	}
	for s.dec.More() {
		key := ""
		if open == json.Delim('{') {
			s.in.allow(s.dec.InputOffset())
			token, err := s.dec.Token()
			if err != nil {
				return err
			}
			key = token.(string)
		}
		if err := each(key); err != nil {
			return err
		}
	}
	_, err = s.dec.Token()
	return err
}

func (s *stream) value() (json.RawMessage, error) {
	s.in.allow(s.dec.InputOffset())
	var value json.RawMessage
	err := s.dec.Decode(&value)
	if err == nil && int64(len(value)) > s.in.max {
		err = upstream.ErrTooLarge
	}
	return value, err
}

// meter bounds what the decoder reads for one value, and in all. It hands out
// small steps, so that the decoder is never far ahead of what it wants.
type meter struct {
	from  io.Reader
	max   int64 // for one value
	read  int64
	until int64
}

func (m *meter) allow(offset int64) { m.until = min(offset+m.max+2*readStep, maxStream) }

func (m *meter) Read(p []byte) (int, error) {
	if m.read >= m.until {
		return 0, upstream.ErrTooLarge
	}
	n, err := m.from.Read(p[:min(len(p), readStep)])
	m.read += int64(n)
	return n, err
}
