package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
)

// maxInflated bounds what one compressed answer may become, whoever reads it.
const maxInflated = 1 << 30

// respond hands an answer to the caller, inflated if it was compressed as asked for.
func (c *Client) respond(run *run, k *call, at *url.URL, resp *http.Response) (*Response, *Error) {
	out := &Response{
		Status: resp.StatusCode, Header: resp.Header, ContentLength: resp.ContentLength,
		Unframed: resp.ContentLength < 0 && resp.ProtoMajor == 1 && len(resp.TransferEncoding) == 0,
		URL:      at.String(),
	}
	b := &body{run: run, raw: resp.Body, status: resp.StatusCode, host: hostOf(at), op: k.method}
	b.from = b.raw
	out.Body = b
	if k.method == http.MethodHead || resp.StatusCode == http.StatusNoContent ||
		resp.StatusCode == http.StatusNotModified || resp.ContentLength == 0 {
		_ = b.Close()
		out.Body, out.Unframed = http.NoBody, false
		return out, nil
	}
	if k.class == ClassArchive {
		return out, nil
	}
	switch encoding := strings.ToLower(strings.Join(resp.Header.Values("Content-Encoding"), ",")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		b.from = io.LimitReader(&inflater{raw: b.raw}, maxInflated+1)
		b.limit = maxInflated
		out.Header = resp.Header.Clone()
		out.Header.Del("Content-Encoding")
		out.Header.Del("Content-Length")
		out.ContentLength, out.Unframed = -1, false
	default:
		_ = b.raw.Close()
		return nil, &Error{Host: b.host, Op: k.method, Status: b.status, Kind: ServerError,
			Err: fmt.Errorf("it is encoded as %q, which was not asked for", encoding)}
	}
	return out, nil
}

// body ends its run when it is done with and explains its failures.
type body struct {
	run    *run
	raw    io.ReadCloser
	from   io.Reader
	limit  int64 // of inflated bytes; 0 for none
	read   int64
	err    error
	status int
	host   string
	op     string
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	b.run.watch()
	n, err := b.from.Read(p)
	b.run.pause()
	b.read += int64(n)
	if b.limit > 0 && b.read > b.limit {
		n, err = n-int(b.read-b.limit), ErrTooLarge
	}
	if err == nil {
		return n, nil
	}
	if err != io.EOF && !errors.Is(err, ErrTooLarge) { //nolint:errorlint // an end that is wrapped is a failure
		err = b.failure(err)
	}
	b.err = err
	_ = b.raw.Close()
	b.run.end()
	return n, err
}

func (b *body) failure(err error) error {
	e := asError(b.run.failure(err, b.host, b.op), b.host, b.op)
	e.body = true
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, new(flate.CorruptInputError)) {
		e.Kind, e.Status = ServerError, b.status
	}
	return e
}

// Close gives up what has not been read.
func (b *body) Close() error {
	if b.err == nil {
		b.err = http.ErrBodyReadAfterClose
	}
	err := b.raw.Close()
	b.run.end()
	return err
}

// inflater opens the gzip stream with the first Read, so that waiting for its header is waiting
// for the body.
type inflater struct {
	raw io.Reader
	gz  *gzip.Reader
}

func (i *inflater) Read(p []byte) (int, error) {
	if i.gz == nil {
		gz, err := gzip.NewReader(i.raw)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // an empty body is not an empty gzip stream
		}
		if err != nil {
			return 0, err
		}
		i.gz = gz
	}
	return i.gz.Read(p)
}

// ReadAll reads the body to its end and closes it. A body of more than limit bytes, counted
// after inflation, is an error that matches ErrTooLarge, found before much more than limit has
// been inflated. A body that ends before it should is an error as well.
func (c *Client) ReadAll(resp *Response, limit int64) ([]byte, error) {
	defer func() { _ = resp.Body.Close() }()
	if resp.Body == http.NoBody {
		return nil, nil
	}
	if resp.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	var buf bytes.Buffer
	if size := min(resp.ContentLength, 1<<20); size > 0 {
		buf.Grow(int(size) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, limit+1))
	switch {
	case n > limit:
		return nil, tooLarge(limit)
	case err != nil:
		return nil, err
	case resp.ContentLength >= 0 && n != resp.ContentLength:
		return nil, io.ErrUnexpectedEOF
	}
	return buf.Bytes(), nil
}

func tooLarge(limit int64) error { return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit) }
