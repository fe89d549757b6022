package audit

// How many entries one view of the store looks at, and one update removes.
const (
	Scanned          = scanned
	TrimmedPerUpdate = trimmedPerUpdate
)
