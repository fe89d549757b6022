package store

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"
)

// mappings lists the mapped value log files of this process, in order.
func mappings() []mapping {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []mapping
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// 7f2c40000000-7f2c44000000 rw-s 00000000 fe:00 1234    /data/archives/000003.vlog
		line := lines.Text()
		if !strings.HasSuffix(line, ".vlog") {
			continue
		}
		var m mapping
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s %x", &m.from, &m.to, &mode, &m.offset); err != nil {
			continue
		}
		if i := strings.IndexByte(line, '/'); i >= 0 {
			m.path = filepath.Clean(line[i:])
			out = append(out, m)
		}
	}
	return out
}

// findMapping returns the mapping that holds all of val.
func findMapping(list []mapping, val []byte) (mapping, bool) {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(val)))
	i, found := slices.BinarySearchFunc(list, from, func(m mapping, at uintptr) int {
		switch {
		case m.to <= at:
			return -1
		case m.from > at:
			return 1
		}
		return 0
	})
	if !found || from+uintptr(len(val)) > list[i].to {
		return mapping{}, false
	}
	return list[i], true
}

func (m mapping) offsetOf(val []byte) int64 {
	return m.offset + int64(uintptr(unsafe.Pointer(unsafe.SliceData(val)))-m.from)
}
