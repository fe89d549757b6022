package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
)

// What a caller may want to tell apart. A snapshot or channel that is not
// there matches fs.ErrNotExist; what does not fit into the space for pinned
// archives matches store.ErrNoSpace.
var (
	ErrInvalid   = errors.New("the request is not valid")
	ErrExists    = errors.New("the name is taken")
	ErrInUse     = errors.New("the snapshot is in use")
	ErrNotSealed = errors.New("the snapshot is not sealed")
	ErrDamaged   = errors.New("the bundle is damaged")
)

// problem is an error whose text is a whole sentence for people and whose kind
// is one of the errors above.
type problem struct {
	kind error
	text string
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.kind }

func problemf(kind error, format string, args ...any) error {
	return &problem{kind, fmt.Sprintf(format, args...)}
}

func noSnapshot(ref string) error {
	return problemf(fs.ErrNotExist, "there is no snapshot %q", ref)
}

func noChannel(name string) error {
	return problemf(fs.ErrNotExist, "there is no channel %q", name)
}
