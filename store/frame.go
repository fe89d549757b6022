package store

import (
	"encoding/binary"
	"hash/crc32"
)

// A frame makes damage visible: format version (1), CRC-32C of key and body
// (4), length of the body (4), body. Badger answers a damaged value log with
// empty values and no error, and without the key in the checksum a value that
// ended up under another key would look sound.
const (
	frameVersion = 1
	frameHeader  = 1 + 4 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// putFrameHeader fills the first frameHeader bytes of frame for the body that
// follows them.
func putFrameHeader(frame, key []byte) {
	body := frame[frameHeader:]
	frame[0] = frameVersion
	binary.BigEndian.PutUint32(frame[1:], frameSum(key, body))
	binary.BigEndian.PutUint32(frame[5:], uint32(len(body)))
}

// frame returns body framed for key.
func frame(key, body []byte) []byte {
	f := make([]byte, frameHeader+len(body))
	copy(f[frameHeader:], body)
	putFrameHeader(f, key)
	return f
}

// unframe returns the body of a frame, or the reason why there is none. The
// body shares memory with f.
func unframe(key, f []byte) (body []byte, why string) {
	switch {
	case len(f) == 0:
		return nil, "the value is empty"
	case len(f) < frameHeader:
		return nil, "the value is shorter than its header"
	case f[0] != frameVersion:
		return nil, "the value has an unknown format version"
	}
	body = f[frameHeader:]
	if uint64(binary.BigEndian.Uint32(f[5:])) != uint64(len(body)) {
		return nil, "the value has another length than its header says"
	}
	if binary.BigEndian.Uint32(f[1:]) != frameSum(key, body) {
		return nil, "the value does not match its checksum"
	}
	return body, ""
}

func frameSum(key, body []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, body)
}
