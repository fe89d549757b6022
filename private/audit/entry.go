package audit

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"stasis/store"
)

// Entry is one act, or one try at one. Everything but the chain is filled in by whoever appends it.
type Entry struct {
	// ID counts the entries from 1.
	ID uint64 `json:"id"`
	// At is when the entry was written, UTC.
	At time.Time `json:"at"`
	// Actor is the id of the token, "admin" for the one of the configuration, "stasis" for the program itself, and
	// empty when nobody was recognised.
	Actor string `json:"actor,omitempty"`
	// From is the address of the client.
	From string `json:"from,omitempty"`
	// Action is what was done, as a word for programs: "token.create".
	Action string `json:"action"`
	// Subject is what it was done to.
	Subject string `json:"subject,omitempty"`
	// Details say more. They hold no secrets.
	Details map[string]string `json:"details,omitempty"`
	// RequestID is the request's id in the log.
	RequestID string `json:"request_id,omitempty"`
	// Result is "ok", or the error code that was answered.
	Result string `json:"result"`

	// Previous is the hash of the entry before; of the first one, it is zero.
	Previous store.Digest `json:"previous"`
	// Hash is the SHA-256 of the entry's JSON without this member.
	Hash store.Digest `json:"hash"`
}

// OK is the result of an act that was done.
const OK = "ok"

// digest computes what Hash has to be.
func (e Entry) digest() (store.Digest, error) {
	e.Hash = store.Digest{}
	// The JSON of a struct has one form: its members come in the order of the fields, those of a map sorted.
	raw, err := json.Marshal(e)
	if err != nil {
		return store.Digest{}, fmt.Errorf("encode entry %d of the audit log: %w", e.ID, err)
	}
	return sha256.Sum256(raw), nil
}
