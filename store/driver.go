package store

import (
	"context"
	"hash/crc32"
	"io"
)

// driver keeps chunks of bodies. The rest (digests, reservations, recency,
// visibility) is common to all drivers.
type driver interface {
	// create starts the body with this id.
	create(id uint64) (chunkWriter, error)
	// open returns a reader of a body's chunks; the error is ErrCorrupt when
	// its bytes are gone.
	open(h *held, record func() (blobRecord, error)) (chunkReader, error)
	// remove drops the bytes of bodies that no record names any more.
	remove(bodies []*held) error
	// sweep drops bytes that belong to no body, of ids below limit. owned is
	// asked for each.
	sweep(ctx context.Context, limit uint64, owned func(d Digest, id uint64) bool) (bytes int64, err error)
	// lastID returns the highest id with bytes in the driver.
	lastID() (uint64, error)
	// reclaim gives space of removed bodies back to the file system.
	reclaim(ctx context.Context) error
	// verify checks what the driver keeps besides chunks.
	verify() error
	close() error
}

type chunkWriter interface {
	// put writes chunk i. framed has room for a frame header before the chunk.
	put(i uint32, framed []byte) error
	// get reads a chunk that was put, of this size and checksum, into buf,
	// which has room for a framed chunk, and returns its bytes.
	get(i uint32, size int, sum uint32, buf []byte) ([]byte, error)
	// settle makes all chunks durable. Writers that settle at the same time may
	// share the work.
	settle() error
	// finish makes settled chunks the body with this digest, durably; unfinish
	// undoes that. Both are called with the catalogue locked. The chunks can
	// still be read through get.
	finish(d Digest) (fileState, error)
	unfinish() error
	// discard drops the chunks of a body that was not finished.
	discard() error
	// close comes last, finished or not.
	io.Closer
}

type chunkReader interface {
	// get reads and checks a chunk of this size like chunkWriter's.
	get(i uint32, size int, buf []byte) ([]byte, error)
	io.Closer
}

// chunkSize is the unit in which bodies are written, checked and read. Memory
// per reader or writer is one or two of these; a checksum covers each.
const chunkSize = 256 << 10

// chunks returns how many chunks a body of this size has.
func chunks(size int64) int { return int((size + chunkSize - 1) / chunkSize) }

// chunkLen returns the length of chunk i of a body of this size.
func chunkLen(size int64, i uint32) int {
	return int(min(size-int64(i)*chunkSize, chunkSize))
}

func chunkSum(chunk []byte) uint32 { return crc32.Checksum(chunk, castagnoli) }
