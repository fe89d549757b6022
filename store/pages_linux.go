package store

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dropPages takes the pages of a value out of our resident memory. Badger maps
// its value log; without this every archive that was ever read or written
// would count as memory of the process until its file goes away.
//
// The mapping is shared, so nothing is lost: the bytes stay in the page cache
// and are mapped again on the next touch. The value must lie in the value log,
// as every chunk does, and must be locked there,
// which it is inside item.Value.
func dropPages(val []byte) {
	page := uintptr(os.Getpagesize())
	if uintptr(len(val)) < 4*page {
		return // not worth the call
	}
	first := unsafe.Pointer(unsafe.SliceData(val))
	before := uintptr(first) & (page - 1)
	unix.Madvise(unsafe.Slice((*byte)(unsafe.Add(first, -int(before))), len(val)+int(before)), unix.MADV_DONTNEED) //nolint:errcheck // only a hint
}
