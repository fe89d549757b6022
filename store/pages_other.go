//go:build !linux

package store

// dropPages is a hint that only Linux takes.
func dropPages([]byte) {}
