//go:build !race

package api_test

// The wrapper and the request id.
const allowedAllocations = 2
