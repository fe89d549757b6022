package remote

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"

	"stasis/proxy/composer"
	"stasis/proxy/upstream"
)

const (
	// maxIncluded bounds the documents that one root includes, directly or not.
	maxIncluded = 2000
	// tries is how often a document whose hash is wrong is fetched, as Composer
	// does it.
	tries = 3
)

// includer puts a root together with the documents that it includes.
type includer struct {
	r    *Repository
	cat  *catalog
	held *catalog // what was read before; may be nil
	seen map[string]bool
	past bool
	kept int64
}

func (in *includer) root(ctx context.Context, c *content) error {
	if in.cat.mode == inline && !c.inline {
		c.packages = c.ancient
	}
	if err := in.packages(ctx, c, in.cat.mode == inline); err != nil {
		return err
	}
	if in.cat.hashedURL == "" || in.cat.mode != hashed && in.cat.mode != lazy {
		return nil
	}
	return in.providers(ctx, c)
}

// packages takes over the packages of a document and, where they count, of
// those that it includes. Their hash tells only whether they may have changed:
// some repositories write one that is not true.
func (in *includer) packages(ctx context.Context, c *content, includes bool) error {
	for n, pieces := range c.packages {
		in.cat.inline[n] = append(in.cat.inline[n], pieces...)
	}
	if in.kept += c.kept; in.kept > maxKept {
		return bad(in.cat.base, fmt.Errorf("its packages take more than %d MiB even when they are compressed", maxKept>>20))
	}
	if !includes {
		return nil
	}
	for _, l := range c.includes {
		address := in.address(l.key)
		again, err := in.once(address)
		if err != nil {
			return err
		}
		if again {
			continue
		}
		inner := in.known(address, l.hash)
		if inner == nil {
			sum := sha1.New()
			if inner, err = in.fetch(ctx, address, sum); err != nil {
				return err
			}
			if !in.keep(address, l.hash, inner, sum) {
				// It may change without the root's changing: next time, both are read.
				in.cat.lastModified, in.cat.etag = "", ""
			}
		}
		if err := in.packages(ctx, inner, true); err != nil {
			return err
		}
	}
	return nil
}

// providers takes over an index and those that it includes.
func (in *includer) providers(ctx context.Context, c *content) error {
	if len(c.providers) > 0 {
		in.cat.indexes = append(in.cat.indexes, c.providers)
	}
	for _, l := range c.indexes {
		address := in.address(strings.ReplaceAll(l.key, "%hash%", l.hash))
		again, err := in.once(address)
		if err != nil {
			return err
		}
		if again {
			continue
		}
		inner := in.known(address, l.hash)
		for try := 1; inner == nil; try++ {
			sum := sha256.New()
			got, err := in.fetch(ctx, address, sum)
			switch {
			case err != nil:
				return err
			case in.keep(address, l.hash, got, sum):
				inner = got
			case try == tries:
				return bad(address, fmt.Errorf("%w: its SHA-256 is %x and should be %.64s", errMoved, sum.Sum(nil), l.hash))
			}
		}
		if err := in.providers(ctx, inner); err != nil {
			return err
		}
	}
	return nil
}

// address is where an included document lies. Composer puts its key behind the
// repository's address, whatever it is; a whole address is taken as one.
func (in *includer) address(key string) string {
	return composer.Resolve(in.cat.base, strings.TrimLeft(key, "/"))
}

// once reports whether a document was taken over before: some include each
// other.
func (in *includer) once(address string) (again bool, err error) {
	if in.seen[address] {
		return true, nil
	}
	if in.seen[address] = true; len(in.seen) > maxIncluded {
		return false, bad(in.cat.base, fmt.Errorf("it includes more than %d documents", maxIncluded))
	}
	return false, nil
}

func (in *includer) known(address, hash string) *content {
	if in.held == nil || hash == "" {
		return nil
	}
	c := in.held.files[address+" "+hash]
	if c != nil {
		in.cat.files[address+" "+hash] = c
	}
	return c
}

// keep remembers a document under its hash, and reports whether that is true.
func (in *includer) keep(address, want string, c *content, sum hash.Hash) bool {
	if !strings.EqualFold(want, hex.EncodeToString(sum.Sum(nil))) {
		return false
	}
	in.cat.files[address+" "+want] = c
	return true
}

func (in *includer) fetch(ctx context.Context, address string, sum hash.Hash) (*content, error) {
	resp, err := in.r.get(ctx, address, nil, in.past)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", plain(address), err)
	}
	defer resp.Body.Close()
	if err := found(resp, address); err != nil {
		return nil, err
	}
	c, err := readContent(io.TeeReader(resp.Body, sum), in.r.max)
	if err != nil {
		return nil, failed(address, err)
	}
	return c, nil
}

// found checks the status of a document that the root names.
func found(resp *upstream.Response, address string) error {
	switch resp.Status {
	case http.StatusOK:
		return nil
	case http.StatusNotFound, http.StatusGone:
		return bad(address, errMoved)
	}
	return badStatus(resp)
}
