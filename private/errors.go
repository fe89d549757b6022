package private

import (
	"fmt"
	"io/fs"
)

// invalid is a request that makes no sense; its text says what to do instead.
type invalid struct{ message string }

func (e *invalid) Error() string    { return e.message }
func (e *invalid) Validation() bool { return true }

func invalidf(format string, args ...any) error { return &invalid{fmt.Sprintf(format, args...)} }

// conflict is a request that contradicts what there is.
type conflict struct{ message string }

func (e *conflict) Error() string  { return e.message }
func (e *conflict) Conflict() bool { return true }

func conflictf(format string, args ...any) error { return &conflict{fmt.Sprintf(format, args...)} }

// missing is a certain "does not exist"; it matches fs.ErrNotExist.
type missing struct{ message string }

func (e *missing) Error() string        { return e.message }
func (e *missing) Is(target error) bool { return target == fs.ErrNotExist }

func missingf(format string, args ...any) error { return &missing{fmt.Sprintf(format, args...)} }

// tooLarge is an archive beyond the limit.
type tooLarge struct{}

func (tooLarge) Error() string  { return "it is larger than PROXY_MAX_ARCHIVE_SIZE allows" }
func (tooLarge) TooLarge() bool { return true }

var errTooLarge error = tooLarge{}
