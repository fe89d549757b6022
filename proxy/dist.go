package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"stasis/proxy/composer"
	"stasis/proxy/history"
	"stasis/proxy/upstream"
	"stasis/store"
)

// source says where an archive can be had.
type source struct {
	urls   []string // in the order to try them
	shasum string   // SHA-1 that the metadata promises; empty when it promises none
	// owner is the source that named it, as in history.Reference; empty when
	// the proxied registry did.
	owner string
}

// archiveTypes are the content types of Composer's dist types.
var archiveTypes = map[string][]string{
	"zip":  {"application/zip"},
	"tar":  {"application/x-tar"},
	"gzip": {"application/gzip"},
	"xz":   {"application/x-xz"},
	"rar":  {"application/vnd.rar"},
}

var (
	archiveOctets  = []string{"application/octet-stream"}
	archiveCaching = []string{"public, max-age=31536000, immutable"}
	privateCaching = []string{"private, max-age=31536000, immutable"}
	headerBytes    = []string{"bytes"}
)

// serveDist answers GET /dist-proxy/{vendor}/{package}/{version}/{reference}.{type};
// rest is the part behind /dist-proxy/.
func (p *Proxy) serveDist(w http.ResponseWriter, r *http.Request, rest string) {
	req, err := composer.ParseDistPath(rest)
	if err != nil {
		refuse(w, r, http.StatusNotFound, "this is not the address of an archive: "+err.Error(), 0)
		return
	}
	if strings.HasPrefix(req.Type, "tar") || strings.HasPrefix(req.Type, "t") && len(req.Type) < 5 {
		req.Type = "tar" // whatever kind of tar the extension names
	}
	if err := p.readable(r.Context(), p.readerOf(r), req); err != nil {
		p.fail(w, r, err)
		return
	}
	if err := p.dist(w, r, req); err != nil {
		p.stats.count(KindArchives, failed, 0, req.Name.String())
		p.fail(w, r, err)
	}
}

// dist writes an archive. An error means that nothing was written yet, unless
// it is errAborted.
func (p *Proxy) dist(w http.ResponseWriter, r *http.Request, req composer.DistRequest) error {
	if done, err := p.distHot(w, r, req); done || err != nil {
		return err
	}
	ctx := r.Context()
	k, src, err := p.locate(ctx, req)
	if err != nil {
		return err
	}
	if err := p.denied(k, req.Version); err != nil {
		return err
	}
	if src != nil && src.owner == "" && !p.o.Enabled {
		src = &source{} // what is held is served
	}
	if src == nil && p.o.Sources.Reserved(k.name) {
		// What is held under it may be from before the name was ours.
		if src, err = p.findSource(ctx, k, req); err != nil {
			return err
		}
	}
	rec, known, err := p.archiveRecord(k)
	if err != nil {
		return err
	}
	if known {
		if done, err := p.distHeld(w, r, k, rec); done || err != nil {
			return err
		}
	}
	if src == nil {
		if src, err = p.findSource(ctx, k, req); err != nil {
			return err
		}
	}
	return p.distMissing(w, r, k, *src)
}

// locate names the archive that a request means. What is recorded of its
// reference decides; a reference never recorded is named as it is asked for.
// The source is nil when it has to be looked for.
func (p *Proxy) locate(ctx context.Context, req composer.DistRequest) (archiveKey, *source, error) {
	refs, err := p.history.References(req.Name, composer.ReferenceKey(req.Reference))
	if err != nil {
		return archiveKey{}, nil, fmt.Errorf("look up %s: %w", req.Name, err)
	}
	k, src := pick(refs, req)
	return k, src, nil
}

// pick chooses among the references of a package that have the asked key.
func pick(refs []history.Reference, req composer.DistRequest) (archiveKey, *source) {
	k := archiveKey{name: req.Name, ref: composer.ReferenceKey(req.Reference), typ: req.Type}
	matching := slices.DeleteFunc(refs, func(ref history.Reference) bool { return ref.Type != req.Type })
	if isCommit(k.ref) {
		if len(matching) == 0 {
			return k, nil
		}
		return k, sourceOf(matching, req)
	}
	// Such a reference may stand for several archives: the version tells.
	matching = slices.DeleteFunc(matching, func(ref history.Reference) bool { return !sameVersion(ref, req.Version) })
	if len(matching) == 0 {
		k.version = normalized(req.Version)
		return k, nil
	}
	k.version = matching[0].Normalized
	return k, sourceOf(matching, req)
}

// isCommit reports whether a reference key is a full commit id, which names
// one content for ever.
func isCommit(ref string) bool { return len(ref) == 40 || len(ref) == 64 }

func normalized(version string) string {
	if n, err := composer.NormalizeVersion(version); err == nil {
		return n
	}
	return version
}

// sameVersion reports whether a version as it stands in a URL means a recorded
// one: normalized, as its MD5, or as its author wrote it (protocol 4.4).
func sameVersion(ref history.Reference, version string) bool {
	return version == ref.Normalized || version == composer.VersionKey(ref.Normalized) ||
		version == ref.Version || normalized(version) == ref.Normalized
}

// sourceOf collects the origins of recorded references, the asked version's
// and the current ones first.
func sourceOf(refs []history.Reference, req composer.DistRequest) *source {
	rank := func(ref history.Reference) int {
		n := 0
		if !sameVersion(ref, req.Version) {
			n += 2
		}
		if !ref.GoneAt.IsZero() {
			n++
		}
		return n
	}
	slices.SortStableFunc(refs, func(a, b history.Reference) int { return rank(a) - rank(b) })
	src := &source{owner: refs[0].Source}
	for _, ref := range refs {
		for _, url := range ref.Origins() {
			if !slices.Contains(src.urls, url) {
				src.urls = append(src.urls, url)
			}
		}
		if src.shasum == "" && sameVersion(ref, req.Version) {
			src.shasum = ref.Shasum
		}
	}
	return src
}

// findSource looks for an archive whose reference is not recorded: first in
// newer metadata, then by putting the reference into the address of the
// package's other archives, which is what a pinned dev-main#<commit> means
// (protocol 4.5).
func (p *Proxy) findSource(ctx context.Context, k archiveKey, req composer.DistRequest) (*source, error) {
	for _, f := range filesOf(req.Name) {
		st, err := p.history.State(f)
		if err != nil {
			return nil, err
		}
		if p.o.judge(&st, p.now()) == serve && st.AnnouncedAt.IsZero() || p.freshUnkept(f) {
			continue
		}
		if _, err := p.refresh(ctx, f, history.Demand, st.Checked); err != nil && !st.Known() {
			return nil, fmt.Errorf("find the origin of %s: %w", k, err)
		}
	}
	_, src, err := p.locate(ctx, req)
	if err != nil || src != nil {
		return src, err
	}
	if _, src = pick(p.unkeptReferences(req.Name, k.ref), req); src != nil {
		return src, nil
	}
	if isCommit(k.ref) {
		all, err := p.history.AllReferences(req.Name)
		if err != nil {
			return nil, err
		}
		if urls := substitute(all, k, req); len(urls) > 0 {
			return &source{urls: urls, owner: all[0].Source}, nil
		}
	}
	return nil, noArchive(req)
}

// noArchive says that there is no such archive, or not for who asks.
func noArchive(req composer.DistRequest) error {
	return absence(fmt.Sprintf("%s %s has no archive with the reference %q; run composer update to get a current lock file", req.Name, req.Version, req.Reference))
}

// substitute makes the addresses of an unrecorded commit from those of a
// recorded one, preferring the same version's.
func substitute(all []history.Reference, k archiveKey, req composer.DistRequest) []string {
	var found []string
	for _, ref := range all {
		if ref.Type != k.typ || !isCommit(ref.Reference) || ref.Shasum != "" && !strings.HasPrefix(ref.URL, composer.LocalScheme) {
			continue
		}
		var urls []string
		for _, url := range ref.Origins() {
			if strings.Count(url, ref.Reference) == 1 {
				urls = append(urls, strings.Replace(url, ref.Reference, k.ref, 1))
			}
		}
		if len(urls) > 0 && sameVersion(ref, req.Version) {
			return urls
		}
		if len(urls) > 0 && (ref.GoneAt.IsZero() || found == nil) {
			found = urls
		}
	}
	return found
}

// distHeld writes an archive whose bytes are in the store; false when they are not.
func (p *Proxy) distHeld(w http.ResponseWriter, r *http.Request, k archiveKey, rec archiveRecord) (bool, error) {
	b, err := p.store.OpenBlob(rec.Digest)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrCorrupt) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open %s: %w", k, err)
	}
	defer b.Close()
	p.recheck(k, rec)
	if a := p.heat(k, rec.Digest, b); a != nil {
		return true, p.sendHot(w, r, k, a)
	}
	p.setArchiveHeaders(w.Header(), r, k, cacheHit)
	w.Header()["Etag"] = []string{`"` + rec.Digest.String() + `"`}
	sent, err := sendBlob(w, r, b)
	if sent == 0 && errors.Is(err, store.ErrCorrupt) && whole(r) {
		// Nothing has left: it is fetched again as if it had never been kept.
		for _, name := range []string{"Accept-Ranges", "Cache-Status", "Content-Length", "Etag"} {
			delete(w.Header(), name)
		}
		return false, nil
	}
	p.stats.count(KindArchives, hit, sent, k.name.String())
	if err != nil {
		return true, fmt.Errorf("%w: %w", errAborted, err)
	}
	return true, nil
}

// recheck asks upstream again about an archive whose reference can move, once
// its time is over. A commit's archive needs no such question.
func (p *Proxy) recheck(k archiveKey, rec archiveRecord) {
	if isCommit(k.ref) || ageOf(rec.Checked, p.now()) < p.o.ArchiveTTL {
		return
	}
	p.flights.DoChan("recheck "+k.String(), func() (any, error) {
		owner, err := p.ownerOf(k)
		if err != nil {
			return nil, err
		}
		d := p.joinDownload(k, source{urls: []string{rec.URL}, owner: owner}, nil)
		<-d.ended
		return nil, nil
	})
}

// ownerOf returns the source that named an archive.
func (p *Proxy) ownerOf(k archiveKey) (string, error) {
	refs, err := p.history.References(k.name, k.ref)
	if err != nil || len(refs) == 0 {
		return "", err
	}
	return refs[0].Source, nil
}

func (p *Proxy) setArchiveHeaders(h http.Header, r *http.Request, k archiveKey, cache []string) {
	typ := archiveTypes[k.typ]
	if typ == nil {
		typ = archiveOctets
	}
	h["Content-Type"] = typ
	h["Cache-Control"], h["Vary"] = archiveCaching, headerAuthorization
	if !p.readerOf(r).Anonymous() {
		h["Cache-Control"] = privateCaching
	}
	h["Cache-Status"] = cache
}

// distMissing downloads an archive and sends it while it comes.
func (p *Proxy) distMissing(w http.ResponseWriter, r *http.Request, k archiveKey, src source) error {
	f := &follower{}
	d := p.joinDownload(k, src, f)
	defer d.leave(f)
	select {
	case <-d.begun:
	case <-r.Context().Done():
		return r.Context().Err()
	}
	select {
	case <-d.ended: // small, or failed: answered as a whole
		digest, _, err := d.result()
		if errors.Is(err, errNotKept) {
			return p.distThrough(w, r, k, src)
		}
		if err != nil {
			return err
		}
		done, err := p.distHeld(w, r, k, archiveRecord{Digest: digest, Checked: p.now()})
		if err == nil && !done {
			err = fmt.Errorf("%s was lost right after it was stored", k)
		}
		return err
	default:
	}
	h := w.Header()
	p.setArchiveHeaders(h, r, k, cacheMiss)
	h["Accept-Ranges"] = headerBytes
	if d.total >= 0 {
		h["Content-Length"] = []string{strconv.FormatInt(d.total, 10)}
	}
	if r.Method == http.MethodHead {
		p.stats.count(KindArchives, miss, 0, k.name.String())
		w.WriteHeader(http.StatusOK)
		return nil
	}
	w.WriteHeader(http.StatusOK)
	flusher := http.NewResponseController(w)
	sent, err := p.follow(r.Context(), d, f, w, func() { _ = flusher.Flush() })
	p.stats.count(KindArchives, miss, sent, k.name.String())
	if err != nil {
		return fmt.Errorf("%w: %w", errAborted, err)
	}
	return nil
}

// distThrough passes an archive on without keeping it, because there is no
// room. Its end is held back until it looks complete.
func (p *Proxy) distThrough(w http.ResponseWriter, r *http.Request, k archiveKey, src source) error {
	resp, err := p.openOrigin(r.Context(), k, src)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	tail, err := newTail(k.typ, resp.Body)
	if err != nil {
		return &badUpstream{k.String(), err}
	}
	p.setArchiveHeaders(w.Header(), r, k, cachePass)
	if resp.ContentLength >= 0 {
		w.Header()["Content-Length"] = []string{strconv.FormatInt(resp.ContentLength, 10)}
	}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	sent, err := tail.WriteTo(w)
	p.stats.count(KindArchives, miss, sent, k.name.String())
	p.stats.fetched(KindArchives, sent)
	if err != nil {
		return fmt.Errorf("%w: %w", errAborted, err)
	}
	return nil
}

// openOrigin asks the origins of an archive in order until one delivers.
func (p *Proxy) openOrigin(ctx context.Context, k archiveKey, src source) (*upstream.Response, error) {
	var first error
	for _, url := range src.urls {
		resp, err := p.openArchive(ctx, src.owner, url)
		if err == nil {
			if err = originStatus(k, resp); err == nil {
				return resp, nil
			}
			_ = resp.Body.Close()
		}
		if first == nil {
			first = fmt.Errorf("download %s: %w", k, err)
		}
	}
	if first == nil {
		first = absence(fmt.Sprintf("%s has no origin to download it from", k))
	}
	return nil, first
}

// whole reports whether a request wants all of a body, whatever it has already.
func whole(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header["Range"] == nil && r.Header["If-None-Match"] == nil && r.Header["If-Match"] == nil
}

// sendBlob answers with a stored body: ranges, conditions and HEAD as
// http.ServeContent does them, and a plain GET in one stream.
func sendBlob(w http.ResponseWriter, r *http.Request, b store.Blob) (int64, error) {
	h := w.Header()
	h["Accept-Ranges"] = headerBytes
	if f, ok := b.(fileBlob); ok && f.File() != nil {
		return serveContent(w, r, f.File())
	}
	if whole(r) {
		h["Content-Length"] = []string{strconv.FormatInt(b.Size(), 10)}
		return b.WriteTo(w) // the header leaves with the first bytes, which were compared with their checksum by then
	}
	return serveContent(w, r, b)
}

// serveContent is http.ServeContent, which tells how many bytes went out and
// what stopped it.
func serveContent(w http.ResponseWriter, r *http.Request, content io.ReadSeeker) (int64, error) {
	c := &countingWriter{ResponseWriter: w}
	http.ServeContent(c, r, "", zeroTime, content)
	return c.n, c.err
}
