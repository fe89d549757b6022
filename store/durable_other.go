//go:build !unix

package store

import "os"

// syncDir does nothing: folders cannot be synced here, and the file system
// journals its entries.
func syncDir(*os.File) error { return nil }
