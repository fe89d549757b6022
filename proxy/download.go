package proxy

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"stasis/proxy/archive"
	"stasis/proxy/upstream"
	"stasis/store"
)

// downloads holds the archive downloads that are under way: one per archive,
// however many clients want it.
type downloads struct {
	mu sync.Mutex
	m  map[archiveKey]*download // guarded by mu
}

func (d *downloads) init() { d.m = map[archiveKey]*download{} }

// download is one archive on its way from its origin into the store. Clients
// follow it at their own speed by reading what was written so far; the last
// bytes are shown only when the whole archive was checked, so that nobody can
// complete a bad one.
type download struct {
	key   archiveKey
	blob  store.BlobWriter
	total int64         // from the origin, -1 when unknown; set before begun is closed
	begun chan struct{} // closed when the first bytes look right, or it ended
	ended chan struct{} // closed at the end
	got   int64         // bytes of the body so far; for the filling goroutine

	mu      sync.Mutex
	more    chan struct{} // closed and replaced when visible grew; guarded by mu
	visible int64         // bytes that clients may have; guarded by mu
	started bool          // begun is closed; guarded by mu
	digest  store.Digest  // of the kept archive; guarded by mu
	size    int64         // guarded by mu
	err     error         // guarded by mu
	spill   spill         // guarded by mu
}

// copySize is the step in which a download is written, shown and followed: the
// size of the store's chunks, each of which is checked as a whole when read.
const copySize = 256 << 10

// holdBack is what is kept from clients until an archive was checked: the end
// of a zip lies in there, without which it cannot be opened.
const holdBack = archive.EndRecord

// errNotKept means that an archive is on its way but cannot be stored. Whoever
// has no bytes of it yet is given what the origin sends.
var errNotKept = errors.New("there is no room to keep it")

// joinDownload returns the download of an archive, beginning it if need be. A follower, nil for those who want no bytes
// of it, has to leave it in the end.
func (p *Proxy) joinDownload(k archiveKey, src source, f *follower) *download {
	p.downloads.mu.Lock()
	defer p.downloads.mu.Unlock()
	if d := p.downloads.m[k]; d != nil {
		d.enter(f)
		return d
	}
	d := &download{key: k, total: -1, begun: make(chan struct{}), ended: make(chan struct{}), more: make(chan struct{})}
	d.spill.init()
	d.enter(f)
	p.downloads.m[k] = d
	if !p.running.begin() {
		delete(p.downloads.m, k)
		d.end(store.Digest{}, 0, errClosing)
		return d
	}
	go func() {
		defer p.running.end()
		digest, size, err := p.download(d, src)
		p.downloads.drop(d)
		d.end(digest, size, err)
	}()
	return d
}

// drop lets whoever comes from now on begin a download of their own.
func (d *downloads) drop(old *download) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.m[old.key] == old {
		delete(d.m, old.key)
	}
}

// download fetches, stores, checks and records one archive, trying its
// origins in order until one delivers.
func (p *Proxy) download(d *download, src source) (store.Digest, int64, error) {
	ctx, cancel := p.detached(0)
	defer cancel()
	var first error
	for _, url := range src.urls {
		digest, size, err := p.downloadFrom(ctx, d, src, url)
		if err == nil {
			return digest, size, nil
		}
		if errors.Is(err, store.ErrNoSpace) {
			return store.Digest{}, 0, errNotKept
		}
		if first == nil || errors.Is(first, errGone) {
			first = err
		}
		if d.hasBegun() || ctx.Err() != nil {
			break // clients have bytes of this one
		}
	}
	if first == nil {
		first = absence(fmt.Sprintf("%s has no origin to download it from", d.key))
	}
	return store.Digest{}, 0, first
}

// errGone is an origin's word that it does not have the archive.
var errGone = absence("the archive does not exist at its origin any more")

func (p *Proxy) downloadFrom(ctx context.Context, d *download, src source, url string) (store.Digest, int64, error) {
	var none store.Digest
	resp, err := p.openArchive(ctx, src.owner, url)
	if err != nil {
		p.upstreamFailed(d.key.name.String(), err)
		return none, 0, fmt.Errorf("download %s: %w", d.key, err)
	}
	defer resp.Body.Close()
	if err := originStatus(d.key, resp); err != nil {
		return none, 0, err
	}
	if resp.ContentLength > p.o.MaxArchiveSize {
		return none, 0, &badUpstream{d.key.String(), fmt.Errorf("it is %d bytes long, more than PROXY_MAX_ARCHIVE_SIZE (%d) allows", resp.ContentLength, p.o.MaxArchiveSize)}
	}
	blob, err := p.store.CreateBlob(resp.ContentLength)
	if err != nil {
		return none, 0, err
	}
	defer blob.Abort() //nolint:errcheck // after Commit it does nothing
	d.blob, d.total, d.got = blob, resp.ContentLength, 0
	sum, err := p.fill(ctx, d, resp.Body)
	if err != nil {
		if !errors.Is(err, store.ErrNoSpace) {
			p.upstreamFailed(d.key.String(), err)
		}
		return none, 0, err
	}
	p.stats.fetched(KindArchives, d.got)
	if full := d.spilled(); full != nil {
		if err := p.checkSpilled(d, src, hex.EncodeToString(sum)); err != nil {
			return none, 0, err
		}
		p.handOut(ctx, d)
		return none, 0, full
	}
	rep, err := p.checkArchive(d.key, src, blob, d.got, hex.EncodeToString(sum))
	if err != nil {
		return none, 0, err
	}
	digest, err := blob.Commit()
	if err == nil {
		err = p.keepArchive(d.key, url, digest, d.got, rep)
	}
	if errors.Is(err, store.ErrNoSpace) {
		if err := p.otherThanKnown(d.key, rep); err != nil {
			return none, 0, err
		}
		p.handOut(ctx, d)
	}
	if err != nil {
		err = fmt.Errorf("keep %s: %w", d.key, err)
		if !digest.IsZero() {
			// At worst another reference has the same bytes and fetches them again.
			err = errors.Join(err, p.store.DeleteBlob(digest))
		}
		return none, 0, err
	}
	p.spawn(func(ctx context.Context) { p.keepForSnapshots(ctx, d.key, digest) })
	return digest, d.got, nil
}

// fill copies the body into the store and shows it to clients as it comes. It
// returns the SHA-1 that a dist's shasum is compared with.
func (p *Proxy) fill(ctx context.Context, d *download, body io.Reader) ([]byte, error) {
	sum := sha1.New()
	buf := make([]byte, copySize)
	// The first bytes tell an archive from an error page.
	n, err := io.ReadFull(body, buf[:archive.SniffSize])
	short := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !short {
		return nil, &badUpstream{d.key.String(), err}
	}
	if err := archive.Sniff(d.key.typ, buf[:n]); err != nil {
		p.alerts.raise(AlertBadArchive, d.key.name.String()+" "+d.key.ref, fmt.Sprintf("%s was refused: %v", d.key, err))
		return nil, &badUpstream{d.key.String(), err}
	}
	for {
		sum.Write(buf[:n])
		if err := p.take(ctx, d, buf[:n]); err != nil {
			return nil, fmt.Errorf("keep %s: %w", d.key, err)
		}
		d.show(d.got - holdBack)
		if d.got > p.o.MaxArchiveSize {
			return nil, &badUpstream{d.key.String(), fmt.Errorf("it is longer than PROXY_MAX_ARCHIVE_SIZE (%d bytes) allows", p.o.MaxArchiveSize)}
		}
		if short {
			break
		}
		n, err = body.Read(buf)
		short = errors.Is(err, io.EOF)
		if err != nil && !short {
			return nil, &badUpstream{d.key.String(), err}
		}
	}
	if d.total >= 0 && d.got != d.total {
		return nil, &badUpstream{d.key.String(), fmt.Errorf("it ended after %d of %d bytes", d.got, d.total)}
	}
	return sum.Sum(nil), nil
}

// checkArchive reads the stored archive through before it counts.
func (p *Proxy) checkArchive(k archiveKey, src source, r io.ReaderAt, size int64, sum string) (archive.Report, error) {
	rep, err := archive.Check(k.typ, r, size)
	if err == nil && src.shasum != "" && src.shasum != sum {
		err = fmt.Errorf("its SHA-1 is %s and the metadata says %s", sum, src.shasum)
	}
	if err != nil {
		p.alerts.raise(AlertBadArchive, k.name.String()+" "+k.ref, fmt.Sprintf("%s was refused: %v", k, err))
		return rep, &badUpstream{k.String(), err}
	}
	return rep, nil
}

// originStatus turns what an origin says into an error, or nil for a 200.
func originStatus(k archiveKey, resp *upstream.Response) error {
	switch resp.Status {
	case http.StatusOK:
		return nil
	case http.StatusNotFound, http.StatusGone:
		return errGone
	case http.StatusUnauthorized, http.StatusForbidden:
		return &unavailable{message: fmt.Sprintf("the origin of %s wants credentials (status %d) and Stasis holds no copy; PROXY_AUTH_JSON can give them", k, resp.Status), retry: retrySoon}
	}
	return &badUpstream{k.String(), fmt.Errorf("status %d", resp.Status)}
}

// show lets clients have the first n bytes.
func (d *download) show(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n <= d.visible {
		return
	}
	d.visible = n
	if !d.started {
		d.started = true
		close(d.begun)
	}
	close(d.more)
	d.more = make(chan struct{})
}

func (d *download) hasBegun() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.started
}

func (d *download) end(digest store.Digest, size int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.digest, d.size, d.err = digest, size, err
	close(d.ended) // first, so that whoever wakes up by begun sees a failure as one
	if !d.started {
		d.started = true
		close(d.begun)
	}
}

// progress returns how far clients may read, a channel that closes when that
// grows, and whether that is all there will be.
func (d *download) progress() (visible int64, more <-chan struct{}, all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.visible, d.more, d.spill.whole
}

// result is valid after ended was closed.
func (d *download) result() (store.Digest, int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.digest, d.size, d.err
}

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// follow sends the archive to one client from its first byte while it is being
// stored, and from the store when it is there. It returns the bytes sent.
func (p *Proxy) follow(ctx context.Context, d *download, f *follower, w io.Writer, flush func()) (sent int64, err error) {
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	for {
		visible, more, all := d.progress()
		for sent < visible {
			n, err := d.readAt(buf[:min(int64(copySize), visible-sent)], sent)
			if n == 0 && err != nil {
				return p.followStored(ctx, d, w, sent)
			}
			d.advance(f, sent+int64(n))
			if _, err := w.Write(buf[:n]); err != nil {
				return sent, err
			}
			sent += int64(n)
		}
		flush()
		if all {
			return sent, nil
		}
		select {
		case <-more:
		case <-d.ended:
			return p.followStored(ctx, d, w, sent)
		case <-ctx.Done():
			return sent, ctx.Err()
		}
	}
}

// followStored sends the rest of an archive that is complete.
func (p *Proxy) followStored(ctx context.Context, d *download, w io.Writer, sent int64) (int64, error) {
	select {
	case <-d.ended:
	case <-ctx.Done():
		return sent, ctx.Err()
	}
	digest, _, err := d.result()
	if err != nil {
		return sent, err
	}
	b, err := p.store.OpenBlob(digest)
	if err != nil {
		return sent, err
	}
	defer b.Close()
	if _, err := b.Seek(sent, io.SeekStart); err != nil {
		return sent, err
	}
	n, err := b.WriteTo(w)
	return sent + n, err
}
