//go:build !race

package store_test

const raceMemory = 1
