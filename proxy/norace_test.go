//go:build !race

package proxy_test

const raceAllocations = 0
