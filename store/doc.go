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
//	RESTORING   the folder is being restored and cannot be opened yet
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
//	'K' backup          table name, key parts       name of the folder; backups that can be continued
//	'z' removal         key of a removed record     nothing; kept while a backup can be continued
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
// Commits of facts that happen at the same time share one sync (syncGroup); an
// archive is synced once, when it is whole. Both sync whole log files, so of
// each log a prefix is durable, and Badger, which replays a log up to its first
// damaged entry, replays everything that was acknowledged.
//
// # Guarantees
//
//   - When Update or Commit has returned nil, the change survives kill -9 and a
//     power cut.
//   - A body is visible whole or not at all.
//   - No byte is delivered that does not match its checksum. What does not is
//     ErrCorrupt; a damaged blob is dropped, a damaged document is written anew
//     by the next PutDocument, and an alert is raised, once.
//   - Below the free-space floor writes fail with ErrNoSpace and reads go on.
//     Updates that only delete go through, and those that use the spare room
//     (Tx.UseSpare) down to half of the floor.
//   - One process per folder: the second gets ErrLocked.
//   - Memory does not grow with the size of archives: a reader or writer holds
//     one or two chunks, a held body about 250 bytes.
//
// # Space
//
// Eviction goes by the sizes of bodies. The files driver gives their blocks
// back at once. With the badger driver a reclaimer follows (reclaim.go), one
// pass for every eighth of the limit that was removed, 64 MiB at most; while
// ten times a limit of 64 MB streams through, the folder takes 1.1 to 1.4 times
// the limit.
//
// Badger writes through memory maps of sparse files, where a full disk is
// SIGBUS. Three things keep that away: the floor, asked before every write;
// blocks reserved ahead of the logs (reserve.go); and around opening and
// closing, when Badger writes tables whether we want it or not, the ballast and
// the choice to leave the databases to their logs (space.go).
//
// # What remains
//
//   - A process that takes the last block of the disk while Badger is writing a
//     table can still kill us. Nothing acknowledged is lost by that.
//   - A bit that flips in a log that was not yet turned into a table ends its
//     replay there: facts since the last table, or archives of the last value
//     log file, are lost with it. Facts after a clean Close are in tables.
//   - A damaged index or last block of a table of facts keeps the store from
//     opening (ErrCorrupt names the file): restore a backup. A database of
//     chunks that cannot be opened is started afresh.
//   - Badger's compaction passes over blocks it cannot read. Verify tells of
//     them before.
package store
