//go:build race

package store_test

// raceMemory is how much more memory a process may take with the race detector,
// which remembers who touched which eight bytes.
const raceMemory = 2
