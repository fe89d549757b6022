//go:build !linux

package store

import "os"

// stateOf knows only the time of writing here.
func stateOf(info os.FileInfo) fileState {
	return fileState{size: info.Size(), changed: info.ModTime().UnixNano()}
}
