//go:build race

package api_test

// The race detector's instrumentation keeps one value from staying on the stack.
const allowedAllocations = 3
