//go:build !race

package api_test

// The wrapper, the request id, and the attributes beyond the five that a slog.Record holds itself.
const allowedAllocations = 3
