package store

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// Family is the first byte of a key and says what kind of record follows. All
// families are declared here, so that no two packages take the same byte.
// Several tables may share a family; their names keep them apart.
type Family byte

const (
	familyDocument     Family = 'd' // a verbatim document: codec, sizes, parts
	familyDocumentPart Family = 'D' // its compressed bytes
	familyBlob         Family = 'b' // an archive body that is held
	familyUse          Family = 'u' // when an archive body was last used
	familyPin          Family = 'p' // who keeps an archive body from eviction
	familyBackup       Family = 'K' // backups that can be continued, and the name of this folder
	familyRemoved      Family = 'z' // keys of records removed since the oldest of these

	FamilyMeta       Family = 'm' // facts about the store or the program itself
	FamilyFile       Family = 'f' // current state of one upstream file: digest, validators, fetched, checked, absent
	FamilyRevision   Family = 'h' // recorded history of one upstream file, oldest first
	FamilyReference  Family = 'r' // references a version has had, and when
	FamilyArchive    Family = 'a' // package and reference to archive digest, checksum and origin
	FamilyValidator  Family = 'v' // Last-Modified given out for a body, unique per body
	FamilyAuxiliary  Family = 'x' // last good answers of search, list, providers and the like
	FamilyAdvisory   Family = 's' // security advisories and filter lists
	FamilyFeed       Family = 'c' // position in and health of the change feed
	FamilyCounter    Family = 'n' // statistics that survive a restart
	FamilyAlert      Family = 'e' // alerts for the operator
	FamilyOverlay    Family = 'o' // freezes, blocks, waivers, exemptions
	FamilySnapshot   Family = 'S' // named snapshots and their manifests
	FamilyChannel    Family = 'C' // channels and their history
	FamilyBinding    Family = 'B' // what a dated view answered, written once
	FamilyToken      Family = 't' // access tokens, hashed
	FamilyPackage    Family = 'P' // private packages and versions
	FamilySource     Family = 'Q' // sources of private packages and their runs
	FamilyDelivery   Family = 'w' // webhook deliveries
	FamilyAudit      Family = 'A' // the append-only audit log
	FamilyCredential Family = 'k' // encrypted credentials
)

// separator stands between key parts. It sorts before every byte a part may
// hold, which makes key order the order of the parts.
const separator = 0

// key spells the key of a table's record. The error names the part that
// cannot be spelled.
func tableKey(f Family, table string, parts []string) ([]byte, error) {
	if len(parts) == 0 {
		return nil, fmt.Errorf("a key of %s needs at least one part", table)
	}
	return appendParts(tablePrefix(f, table), table, parts)
}

// tablePrefix is what all keys of a table begin with.
func tablePrefix(f Family, table string) []byte {
	k := make([]byte, 0, 96)
	k = append(k, byte(f))
	k = append(k, table...)
	return append(k, separator)
}

// scanPrefix is what all keys below the given parts begin with.
func scanPrefix(f Family, table string, parts []string) ([]byte, error) {
	k, err := appendParts(tablePrefix(f, table), table, parts)
	if err != nil || len(parts) == 0 {
		return k, err
	}
	return append(k, separator), nil
}

func appendParts(k []byte, table string, parts []string) ([]byte, error) {
	for i, p := range parts {
		if strings.IndexByte(p, separator) >= 0 {
			return nil, fmt.Errorf("key part %q of %s holds a NUL", p, table)
		}
		if i > 0 {
			k = append(k, separator)
		}
		k = append(k, p...)
	}
	if len(k) > maxKey {
		return nil, fmt.Errorf("a key of %s is %d bytes long, the limit is %d", table, len(k), maxKey)
	}
	return k, nil
}

// maxKey is well below Badger's 65,000 bytes; no honest key comes near it.
const maxKey = 8 << 10

// splitKey returns table name and parts of a key that tableKey spelled.
func splitKey(k []byte) (table string, parts []string, ok bool) {
	if len(k) < 2 {
		return "", nil, false
	}
	all := strings.Split(string(k[1:]), string(rune(separator)))
	if len(all) < 2 {
		return "", nil, false
	}
	return all[0], all[1:], true
}

// TimeKey spells an instant as a key part that sorts by time, for instants
// between 1970 and 2262.
func TimeKey(t time.Time) string { return SeqKey(uint64(t.UnixNano())) }

// ParseTimeKey reads what TimeKey wrote.
func ParseTimeKey(s string) (time.Time, error) {
	n, err := ParseSeqKey(s)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(0, int64(n)).UTC(), nil
}

// SeqKey spells a number as a key part that sorts by value: 16 hex digits.
func SeqKey(n uint64) string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[i] = digits[n>>(60-4*i)&15]
	}
	return string(b[:])
}

// ParseSeqKey reads what SeqKey wrote.
func ParseSeqKey(s string) (uint64, error) {
	if len(s) != 16 {
		return 0, fmt.Errorf("key part %.40q: want 16 hex digits", s)
	}
	var n uint64
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, fmt.Errorf("key part %q: want lower-case hex digits", s)
		}
		n = n<<4 | uint64(c)
	}
	return n, nil
}

// digestKey is a key of one of the store's own families.
func digestKey(f Family, d Digest) []byte {
	k := make([]byte, 0, 1+len(d)+4)
	k = append(k, byte(f))
	return append(k, d[:]...)
}

func partKey(d Digest, part uint32) []byte {
	return binary.BigEndian.AppendUint32(digestKey(familyDocumentPart, d), part)
}

func pinKey(d Digest, owner string) []byte {
	return append(digestKey(familyPin, d), owner...)
}

// keyDigest returns the digest a key of the store's own families begins with.
func keyDigest(k []byte) (Digest, bool) {
	var d Digest
	if len(k) < 1+len(d) {
		return d, false
	}
	copy(d[:], k[1:])
	return d, true
}
