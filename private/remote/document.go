package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"stasis/proxy/composer"
	"stasis/proxy/history"
)

// fromDocument asks for the package's own documents. Either of them proves that
// the package exists; then the other is at least empty. Where only one is
// there, it holds the versions of both.
func (r *Repository) fromDocument(ctx context.Context, cat *catalog, q question) (history.Observation, error) {
	obs, own, err := r.ask(ctx, cat, q, q.file)
	if err != nil || obs.Unchanged {
		return obs, err
	}
	asked := q.file
	if own.doc != nil {
		obs.Body, err = r.ownDocument(cat, q.file, own)
	} else {
		asked.Dev = !asked.Dev
		if _, own, err = r.ask(ctx, cat, question{past: q.past}, asked); err != nil || own.doc == nil {
			return obs, err
		}
		obs.LastModified, obs.ETag = "", cat.mark("")
		obs.Body, err = r.document(cat, q.file, own.doc.Expanded())
	}
	if err != nil {
		return obs, bad(documentURL(cat, asked), err)
	}
	return obs, nil
}

// original is a metadata document as the repository has it.
type original struct {
	doc  *composer.Document
	body []byte
}

func documentURL(cat *catalog, f composer.File) string {
	return strings.ReplaceAll(cat.root.MetadataURL, "%package%", f.String())
}

// ask fetches one document. There is none when the repository answers 404, or
// with a document that is about no such package.
func (r *Repository) ask(ctx context.Context, cat *catalog, q question, f composer.File) (history.Observation, original, error) {
	obs, body, err := r.fetch(ctx, cat, q, documentURL(cat, f))
	if body == nil || err != nil {
		return obs, original{}, err
	}
	doc, err := composer.ParseDocument(body, f.Name)
	if err == nil {
		return obs, original{doc, body}, nil
	}
	named, other := names(body, f.Name)
	if other != nil {
		err = other
	}
	if named || other != nil {
		return obs, original{}, bad(documentURL(cat, f), err)
	}
	return obs, original{}, nil
}

// names reports whether a document has an entry for n. One that has no packages
// at all is no such document.
func names(body []byte, n composer.Name) (bool, error) {
	var top, packages composer.Object
	if err := top.UnmarshalJSON(body); err != nil {
		if bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
			err = errors.New("it is a page and no metadata document")
		}
		return false, err
	}
	if err := packages.UnmarshalJSON(top.Get("packages")); err != nil {
		if !top.Has("packages") && (top.Has("security-advisories") || top.Has("filter")) {
			return false, nil // it only warns of a package of other repositories
		}
		return false, errors.New("it has no packages")
	}
	return packages.Has(n.String()), nil
}

// fetch gets a document that may have changed since q.prev. Without a body and
// not unchanged, it does not exist.
func (r *Repository) fetch(ctx context.Context, cat *catalog, q question, address string) (history.Observation, []byte, error) {
	header := http.Header{}
	if held := q.conditional(r.now()); held.Present() {
		condition(header, held.LastModified, madeOf(held.ETag))
	}
	obs := history.Observation{AskedAt: r.now()}
	resp, err := r.get(ctx, address, header, q.past)
	if err != nil {
		return obs, nil, fmt.Errorf("read %s: %w", plain(address), err)
	}
	defer resp.Body.Close()
	obs.LastModified, obs.ETag = resp.Header.Get("Last-Modified"), cat.mark(resp.Header.Get("Etag"))
	obs.Date, _ = history.ParseHTTPTime(resp.Header.Get("Date"))
	switch resp.Status {
	case http.StatusOK:
		body, err := r.client.ReadAll(resp, r.max)
		if err != nil {
			return obs, nil, failed(address, err)
		}
		if body == nil {
			body = []byte{} // an empty document is no absent one
		}
		return obs, body, nil
	case http.StatusNotModified:
		if len(header) == 0 {
			return obs, nil, bad(address, errors.New("it says not modified although nothing was held"))
		}
		obs.Unchanged = true
		return obs, nil, nil
	case http.StatusNotFound, http.StatusGone:
		return obs, nil, nil
	}
	return obs, nil, badStatus(resp)
}

// fromLazy asks for the file that holds all versions of a package.
func (r *Repository) fromLazy(ctx context.Context, cat *catalog, q question) (history.Observation, error) {
	address := strings.ReplaceAll(cat.lazyURL, "%package%", q.file.Name.String())
	obs, body, err := r.fetch(ctx, cat, q, address)
	if body == nil || err != nil {
		return obs, err
	}
	versions, err := versionsOf(body, q.file.Name)
	if err == nil && len(versions) > 0 {
		obs.Body, err = r.document(cat, q.file, versions)
	}
	if err != nil {
		return obs, bad(address, err)
	}
	return obs, nil
}

// fromHashed fetches the file whose hash the index names, unless what is
// recorded was made of just that.
func (r *Repository) fromHashed(ctx context.Context, cat *catalog, q question, want digest) (history.Observation, error) {
	of := hex.EncodeToString(want[:])
	address := strings.ReplaceAll(strings.ReplaceAll(cat.hashedURL, "%package%", q.file.Name.String()), "%hash%", of)
	obs := history.Observation{AskedAt: cat.asked, ETag: cat.mark(of)}
	switch {
	case want == digest{}:
		return obs, bad(cat.base, fmt.Errorf("its index has no SHA-256 for %s", q.file.Name))
	case q.ours && !q.past && madeOf(q.prev.ETag) == of:
		obs.Unchanged = true
		return obs, nil
	}
	body, err := r.verified(ctx, address, want, q.past)
	if err != nil {
		return obs, err
	}
	versions, err := versionsOf(body, q.file.Name)
	if err == nil && len(versions) == 0 {
		err = fmt.Errorf("it has no version of %s", q.file.Name)
	}
	if err == nil {
		obs.Body, err = r.document(cat, q.file, versions)
	}
	if err != nil {
		return obs, bad(address, err)
	}
	return obs, nil
}

// verified fetches a file until it has the hash it should have.
func (r *Repository) verified(ctx context.Context, address string, want digest, past bool) ([]byte, error) {
	for try := 1; ; try++ {
		resp, err := r.get(ctx, address, nil, past)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", plain(address), err)
		}
		if err := found(resp, address); err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
		body, err := r.client.ReadAll(resp, r.max)
		if err != nil {
			return nil, failed(address, err)
		}
		got := digest(sha256.Sum256(body))
		if got == want {
			return body, nil
		}
		if try == tries {
			return nil, bad(address, fmt.Errorf("%w: its SHA-256 is %x and should be %x", errMoved, got, want))
		}
	}
}

// versionsOf reads the versions of n in a file of a Composer 1 repository, which
// may hold other packages that stand in for it.
func versionsOf(body []byte, n composer.Name) ([]composer.Object, error) {
	c, err := readContent(bytes.NewReader(body), int64(len(body)))
	if err == nil && c.packages == nil {
		err = errors.New("it has no packages")
	}
	if err != nil {
		return nil, err
	}
	return versionsIn(c.packages[n], n)
}
