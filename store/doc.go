// Package store keeps what Stasis must not lose and what it would rather not
// fetch twice: recorded facts, verbatim documents and archive bodies.
//
// It owns durability, free space, eviction, pins and damage detection. It
// knows nothing of HTTP or Composer: keys are opaque strings, and what a
// record means is the business of the package that declares its Table.
//
// # Layout of the data folder
//
//	LOCK        held (flock) by the one process that may use the folder
//	FORMAT      "stasis store 1": the version of everything below
//	BALLAST     disk blocks given back when a full disk would keep us from opening
//	facts/      a Badger database: records and documents; every commit is synced
//	archives/   a Badger database: chunks of archive bodies      (driver "badger")
//	blobs/      one file per archive body, below its first byte  (driver "files")
//	blobs/tmp/  bodies being written                             (driver "files")
//
// # Keys of facts
//
// A key is one family byte, then its parts. Tables spell their keys as strings:
// table name and key parts joined by 0x00, so that key order is the order of
// the parts, one after the other. The store's own families use fixed-width
// binary keys.
//
//	family              key after the byte          value
//	'd' document        SHA-256                     codec, sizes, number of parts
//	'D' document part   SHA-256, part (4, BE)       compressed bytes, 256 KiB at most
//	'b' blob            SHA-256                     driver, id, size, created, chunk checksums
//	'u' use             SHA-256                     last use, nanoseconds
//	'p' pin             SHA-256, owner              nothing
//	others              table name, key parts       JSON of the Table's type
//
// The other families are listed in keys.go. Values are framed: a format
// version, the CRC-32C of key and body, the length of the body, the body. The
// frame is checked on every read, so a record that was damaged, cut short or
// swapped with another is ErrCorrupt and never a value.
//
// # Keys of archives
//
//	'c' chunk           id (8, BE), index (4, BE)   framed bytes, 256 KiB at most
//	'~' filler          number                      bytes that only rotate a memtable
//
// Bodies are written before their digest is known, so chunks belong to an id,
// and the blob record in facts says which id holds a digest.
//
// # Order of writing
//
// Bytes become durable first (chunks synced; or file synced, renamed and its
// folder synced), then the blob record, then the record of whoever points to
// the digest. Removal goes backwards. A crash can therefore leave bytes nobody
// owns, which Open and Maintain remove; it cannot leave a pointer to nothing.
//
// # Guarantees
//
//   - When Update, PutDocument's Update or Commit has returned nil, the change
//     survives kill -9 and a power cut.
//   - A body is visible whole or not at all.
//   - No byte is delivered that does not match its checksum. What does not is
//     ErrCorrupt; a damaged blob is dropped and an alert raised, so that it can
//     be fetched again.
//   - Below the free-space floor writes fail with ErrNoSpace and reads go on.
//     Updates that only delete go through.
//   - One process per folder: the second gets ErrLocked.
//
// # What remains
//
// Badger writes through memory maps, where a full disk is SIGBUS. The floor and
// the blocks reserved ahead of each write keep our own writing away from that.
// Another process that takes the last block of the disk can still kill us; the
// next Open gives the ballast back, and nothing acknowledged is lost.
package store
