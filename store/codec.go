package store

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// How the bytes of a document are stored.
const (
	codecRaw  = 0
	codecZstd = 1
)

// maxDocument bounds what a document may unfold to, stored or not.
const maxDocument = 1 << 30

// codec compresses documents. Registry documents shrink to about a tenth.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make the compressor: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxDocument))
	if err != nil {
		return nil, fmt.Errorf("make the decompressor: %w", err)
	}
	return &codec{enc: enc, dec: dec}, nil
}

func (c *codec) close() {
	if c != nil {
		c.enc.Close() //nolint:errcheck // it has no writer
		c.dec.Close()
	}
}

// pack returns the stored form of body, which is body itself when compressing
// does not pay.
func (c *codec) pack(body []byte) (byte, []byte) {
	packed := c.enc.EncodeAll(body, make([]byte, 0, len(body)/8+64))
	if len(packed) >= len(body) {
		return codecRaw, body
	}
	return codecZstd, packed
}

// unpack returns the body of a stored form, which unfolds to size bytes.
func (c *codec) unpack(kind byte, packed []byte, size int64) ([]byte, error) {
	switch kind {
	case codecRaw:
		return packed, nil
	case codecZstd:
		return c.dec.DecodeAll(packed, make([]byte, 0, size))
	default:
		return nil, fmt.Errorf("unknown compression %d", kind)
	}
}
