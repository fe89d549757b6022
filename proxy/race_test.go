//go:build race

package proxy_test

// raceAllocations is what the race detector adds to an answer.
const raceAllocations = 20
