package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"stasis/proxy/composer"
	"stasis/store"
)

// hotArchive is a small archive in memory. It is handed out only while the
// store holds it, so that whatever removes it there counts here as well, and
// every use of it is a use of the stored one.
type hotArchive struct {
	digest store.Digest
	body   []byte
	etag   []string
	length []string
	// reserved is whether the name was ours alone when the archive was read.
	reserved bool
}

const (
	// archiveShare is which part of the memory for ready answers is for
	// archives.
	archiveShare = 4
	// maxHotArchive is how large an archive may be to be kept in memory: from
	// here on a file or the database is as fast for all that matters.
	maxHotArchive = 1 << 20
)

// distHot answers with an archive from memory; false when it is not there.
func (p *Proxy) distHot(w http.ResponseWriter, r *http.Request, req composer.DistRequest) (bool, error) {
	k := archiveKey{name: req.Name, ref: composer.ReferenceKey(req.Reference), typ: req.Type}
	a := p.hotBodies.get(k)
	if a == nil {
		return false, nil
	}
	if a.reserved != p.o.Sources.Reserved(k.name) || !p.store.UseBlob(a.digest) {
		p.hotBodies.remove(k)
		return false, nil
	}
	if err := p.denied(k, req.Version); err != nil {
		return false, err
	}
	return true, p.sendHot(w, r, k, a)
}

// heat takes a stored archive into memory if it is small and its reference
// names one content for ever. Nil means that it is to be sent from b.
func (p *Proxy) heat(k archiveKey, d store.Digest, b store.Blob) *hotArchive {
	if !isCommit(k.ref) || b.Size() > min(maxHotArchive, p.hotBodies.limit/2) {
		return nil
	}
	a := &hotArchive{
		digest: d, body: make([]byte, b.Size()), reserved: p.o.Sources.Reserved(k.name),
		etag: []string{`"` + d.String() + `"`}, length: []string{strconv.FormatInt(b.Size(), 10)},
	}
	if _, err := b.ReadAt(a.body, 0); err != nil && err != io.EOF { //nolint:errorlint // ReaderAt returns it as it is
		return nil // sending it will say why
	}
	p.hotBodies.put(k, a, b.Size())
	return a
}

func (p *Proxy) sendHot(w http.ResponseWriter, r *http.Request, k archiveKey, a *hotArchive) error {
	h := w.Header()
	p.setArchiveHeaders(h, r, k, cacheHit)
	h["Etag"] = a.etag
	h["Accept-Ranges"] = headerBytes
	var sent int64
	var err error
	if whole(r) {
		h["Content-Length"] = a.length
		w.WriteHeader(http.StatusOK)
		var n int
		n, err = w.Write(a.body)
		sent = int64(n)
	} else {
		sent, err = serveContent(w, r, bytes.NewReader(a.body))
	}
	p.stats.count(KindArchives, hit, sent, k.name.String())
	if err != nil {
		return fmt.Errorf("%w: %w", errAborted, err)
	}
	return nil
}

// ready is how many answers memory holds, archives included, and their bytes.
func (p *Proxy) ready() (entries int, bytes int64) {
	n, b := p.hot.usage()
	m, c := p.hotBodies.usage()
	return n + m, b + c
}
