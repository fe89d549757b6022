// Package backup is the form in which a data folder travels: one stream of
// checked frames that is written once and read once, from front to back.
//
// It owns the format, and promises that a stream which was cut off, damaged,
// put together from others or continued behind its end is refused with a
// sentence (ErrDamaged), and that neither side holds more than a few frames in
// memory. What the records mean, and from which moment they are, is left to
// the store.
//
// # Format
//
//	"stasis backup 1\n"
//	frame, frame, …
//
// A frame is its kind (1 byte), the length of its body (4, BE), a CRC-32C (4,
// BE) and the body, 4 MiB at most. The checksum covers the frame's number in
// the stream (8, BE), its kind and its body, so that frames cannot change
// places either.
//
//	kind   body
//	'H'    Header as JSON; the first frame, and only that
//	'R'    a run of records, compressed with zstd
//	'D'    a run of records as they are: documents, which are compressed already
//	'L'    a run of bodies that were held: digest (32), size (8), last use in nanoseconds (8)
//	'A'    an archive body begins: digest (32), size (8)
//	'P'    a part of it, until its size is reached
//	'U'    or nothing more of it: it could not be read to its end
//	'X'    what is not included although it belongs here, as JSON
//	'E'    Totals as JSON, with the SHA-256 of all bytes before this frame; the last frame
//
// A run of records is one after the other: 'p' (put), length of the key and
// key, length of the value and value; or 'x' (removed), length of the key and
// key. Lengths are varints. Keys are those of the store, of the format that
// the header names; values have no frames of the store, whose checksums are
// not needed here.
package backup
