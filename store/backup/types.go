package backup

import "time"

// Header says what a backup is.
type Header struct {
	// StoreFormat is the format of the data folder that the records are from.
	StoreFormat int `json:"store_format"`
	// Instance names the data folder, at random.
	Instance string `json:"instance"`
	// ID names this backup, at random.
	ID string `json:"id"`
	// Since is the ID of the backup that this one continues; a full backup continues none.
	Since string `json:"since,omitempty"`
	// Archives says which archive bodies belong to it, in the words of the store.
	Archives string `json:"archives"`
	// TakenAt is the moment the records are from.
	TakenAt time.Time `json:"taken_at"`
}

// Full reports whether the backup stands for itself.
func (h Header) Full() bool { return h.Since == "" }

// Moment writes when the backup was taken.
func (h Header) Moment() string { return h.TakenAt.UTC().Format("2006-01-02T15:04:05Z") }

// Totals is what a backup ends with.
type Totals struct {
	Records      int64 `json:"records"`       // put
	Removed      int64 `json:"removed"`       // records removed since the backup it continues
	Documents    int64 `json:"documents"`     // included
	Held         int64 `json:"held"`          // archive bodies that belong to it
	Archives     int64 `json:"archives"`      // of these, included here; the others are in those it continues
	ArchiveBytes int64 `json:"archive_bytes"` // of those included
	Missing      int64 `json:"missing"`       // what should be included and is not
	Bytes        int64 `json:"bytes"`         // of the whole, without its last frame
}

// end is the body of the last frame.
type end struct {
	Totals
	SHA256 string `json:"sha256"`
}

// Digest is the SHA-256 of an archive body.
type Digest = [32]byte

// Held is an archive body that belongs to a backup, included in it or in one
// of those it continues.
type Held struct {
	Digest Digest
	Size   int64
	Used   int64 // last use, nanoseconds since 1970
}

const (
	heldSize = 32 + 8 + 8
	bodySize = 32 + 8
)

// Missing is something that could not be included.
type Missing struct {
	Kind    string `json:"kind"` // "record", "document", "archive", "database"
	Subject string `json:"subject"`
	Why     string `json:"why"`
}
