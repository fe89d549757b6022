package proxy

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encoding is a content coding we can serve (RFC 9110, section 8.4.1).
type encoding int

const (
	identity encoding = iota
	gzipped
	zstded
	brotlied
	encodings // their number
)

var encodingNames = [encodings]string{"identity", "gzip", "zstd", "br"}

// preference breaks ties between codings that a client likes equally. zstd is
// as small as brotli at a level that costs as little as gzip.
var preference = [...]encoding{zstded, gzipped, brotlied, identity}

// negotiate picks the coding for an Accept-Encoding header (RFC 9110, section
// 12.5.3). Without a header, or when nothing offered fits, it is identity: a
// client that refuses even that still gets an answer it can try to read.
func negotiate(header string) encoding {
	switch header {
	case "":
		return identity
	case "deflate, gzip, br, zstd": // every Composer on a current libcurl
		return zstded
	case "gzip", "gzip, deflate", "deflate, gzip":
		return gzipped
	}
	quality := [encodings]int{identity: 1, gzipped: -1, zstded: -1, brotlied: -1}
	star := -1
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := parseQuality(params)
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "*":
			star = q
		case "x-gzip":
			quality[gzipped] = q
		default:
			for e, n := range encodingNames {
				if n == name {
					quality[e] = q
				}
			}
		}
	}
	best, bestQ := identity, 0
	for _, e := range preference {
		q := quality[e]
		if q < 0 {
			q = max(star, 0)
		}
		if q > bestQ {
			best, bestQ = e, q
		}
	}
	return best
}

// parseQuality reads "q=0.5" as 500; anything odd counts as 1000.
func parseQuality(params string) int {
	for p := range strings.SplitSeq(params, ";") {
		k, v, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(k), "q") {
			continue
		}
		if f, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil && f >= 0 && f <= 1 {
			return int(f * 1000)
		}
	}
	return 1000
}

var gzipWriters = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(io.Discard, 6)
	if err != nil {
		panic(err) // only for an unknown level
	}
	return w
}}

// zstdEncoder and zstdDecoder are stateless in the calls used here and safe
// for concurrent use; their memory is shared by all of them.
var (
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20))
		if err != nil {
			panic(err) // only for bad options
		}
		return e
	})
	zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			panic(err) // only for bad options
		}
		return d
	})
)

// encode compresses body.
func encode(e encoding, body []byte) []byte {
	switch e {
	case gzipped:
		var buf bytes.Buffer
		buf.Grow(len(body)/6 + 64)
		w := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(w)
		w.Reset(&buf)
		mustWrite(w, body)
		return bytes.Clone(buf.Bytes())
	case zstded:
		return bytes.Clone(zstdEncoder().EncodeAll(body, make([]byte, 0, len(body)/6+64)))
	case brotlied:
		var buf bytes.Buffer
		mustWrite(brotli.NewWriterLevel(&buf, 5), body)
		return bytes.Clone(buf.Bytes())
	}
	return body
}

func mustWrite(w io.WriteCloser, body []byte) {
	if _, err := w.Write(body); err != nil {
		panic(err) // a bytes.Buffer does not fail
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
}

// decode is the inverse of encode, for bytes that we made ourselves.
func decode(e encoding, b []byte) (out []byte, err error) {
	switch e {
	case gzipped:
		var r *gzip.Reader
		if r, err = gzip.NewReader(bytes.NewReader(b)); err == nil {
			out, err = io.ReadAll(r)
		}
	case zstded:
		out, err = zstdDecoder().DecodeAll(b, nil)
	case brotlied:
		out, err = io.ReadAll(brotli.NewReader(bytes.NewReader(b)))
	default:
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inflate a ready answer: %w", err)
	}
	return out, nil
}
