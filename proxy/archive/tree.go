package archive

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
)

// The modes that Git knows, and so the content digest.
const (
	modeFile = "100644"
	modeExec = "100755"
	modeLink = "120000"
)

// entry is one file or link of an archive.
type entry struct {
	mode string
	sum  [sha256.Size]byte
	path string
	// floor is how far up a link's target reaches: the number of folders of
	// the archive that it stays below at its highest point.
	floor int
}

// tree collects what an archive unpacks to.
type tree struct {
	entries  []entry
	unpacked int64
	limit    int64
	hash     hash.Hash
	buf, sum []byte
	summit   summit
	picker   *picker
}

func newTree(size int64) *tree {
	limit := int64(maxUnpacked)
	if size < maxUnpacked/maxRatio {
		limit = max(size*maxRatio, ratioFloor)
	}
	return &tree{limit: limit, hash: sha256.New(), buf: make([]byte, 32<<10)}
}

// claim refuses an entry that would unpack to too much, before it is unpacked.
func (t *tree) claim(size int64) error {
	if size < 0 || size > t.limit-t.unpacked {
		return refuse("it unpacks to more than %d times its size", maxRatio)
	}
	return nil
}

// add reads one file, which must be size bytes long.
func (t *tree) add(path, mode string, r io.Reader, size int64) error {
	if err := t.claim(size); err != nil {
		return err
	}
	r, keep := t.picker.watch(path, r, size)
	t.hash.Reset()
	n, err := io.CopyBuffer(t.hash, io.LimitReader(r, size+1), t.buf)
	t.unpacked += n
	if err != nil {
		return refuse("its entry %q is damaged: %v", path, err)
	}
	if n != size {
		return refuse("its entry %q does not have the %d bytes it claims", path, size)
	}
	keep()
	t.sum = t.hash.Sum(t.sum[:0])
	return t.append(entry{mode: mode, sum: [sha256.Size]byte(t.sum), path: path})
}

// addLink adds a symbolic link.
func (t *tree) addLink(path, target string) error {
	floor, ok := reach(path, target)
	if !ok {
		return refuse("its link %q points out of it, to %.80q", path, target)
	}
	t.unpacked += int64(len(target))
	return t.append(entry{mode: modeLink, sum: sha256.Sum256([]byte(target)), path: path, floor: floor})
}

func (t *tree) append(e entry) error {
	if len(t.entries) >= maxFiles {
		return refuse("it has more than the %d entries allowed", maxFiles)
	}
	t.summit.see(e.path, false)
	t.entries = append(t.entries, e)
	return nil
}

// maxTarget bounds the target of a link, as file systems do.
const maxTarget = 4096

// reach follows a link from its place and returns how few folders it is ever
// below the top of the archive. It refuses what leaves the archive. Steps up
// are only understood at the beginning: behind a name, which may be another
// link, nobody can tell from the text where they lead.
func reach(path, target string) (floor int, ok bool) {
	target = strings.ReplaceAll(target, `\`, "/")
	if target == "" || len(target) > maxTarget || target[0] == '/' || hasDrive(target) || strings.IndexByte(target, 0) >= 0 {
		return 0, false
	}
	floor = strings.Count(path, "/")
	named := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if floor--; floor < 0 || named {
				return 0, false
			}
		default:
			named = true
		}
	}
	return floor, true
}

// cleanName makes a path of an entry's name, and refuses names that would
// leave the folder they are unpacked to, or that tools read differently.
func cleanName(name string) (string, error) {
	bad := refuse("it has an entry with the forbidden name %.80q", name)
	name = strings.ReplaceAll(name, `\`, "/")
	if name == "" || len(name) > maxName || name[0] == '/' || hasDrive(name) || strings.IndexByte(name, 0) >= 0 {
		return "", bad
	}
	clean := make([]byte, 0, len(name))
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			return "", bad
		}
		if depth++; depth > maxDepth {
			return "", bad
		}
		if len(clean) > 0 {
			clean = append(clean, '/')
		}
		clean = append(clean, part...)
	}
	if len(clean) == len(name) {
		return name, nil
	}
	return string(clean), nil // empty: the folder itself
}

// hasDrive reports whether a path begins as one of Windows does: C:…
func hasDrive(p string) bool {
	return len(p) > 1 && p[1] == ':' && (p[0]|0x20 >= 'a' && p[0]|0x20 <= 'z')
}

// check looks at all entries together: no two of one name, nothing below a
// file or a link, and no link that another entry reaches on a file system that
// does not tell upper case from lower. Two plain files may differ in case
// only: such packages exist, and work where that counts.
func (t *tree) check() error {
	first := make(map[string]int, len(t.entries)) // by folded name
	others := map[string]bool{}                   // names that fold to one of those
	for i, e := range t.entries {
		folded := strings.ToLower(e.path)
		j, taken := first[folded]
		if !taken {
			first[folded] = i
			continue
		}
		other := t.entries[j]
		if e.path == other.path || others[e.path] {
			return refuse("it has two entries named %q", e.path)
		}
		if e.mode == modeLink || other.mode == modeLink {
			return refuse("its entries %q and %q, one of them a link, differ in upper and lower case only", other.path, e.path)
		}
		others[e.path] = true
	}
	for _, e := range t.entries {
		folded := strings.ToLower(e.path)
		for k := range len(folded) {
			if folded[k] != '/' {
				continue
			}
			j, taken := first[folded[:k]]
			if !taken {
				continue
			}
			if above := t.entries[j]; above.mode == modeLink || strings.HasPrefix(e.path, above.path+"/") {
				return refuse("its entry %q lies below %q, which is no folder", e.path, above.path)
			}
		}
		for k := range len(e.path) {
			if e.path[k] == '/' && others[e.path[:k]] {
				return refuse("its entry %q lies below %q, which is no folder", e.path, e.path[:k])
			}
		}
	}
	return nil
}

// top returns the single folder that everything lies in, with its slash, or "".
func (t *tree) top() string {
	top := ""
	for i, e := range t.entries {
		k := strings.IndexByte(e.path, '/')
		if k < 0 || i > 0 && e.path[:k+1] != top {
			return ""
		}
		top = e.path[:k+1]
	}
	return top
}

// report closes the tree: it is checked as a whole and its content digest c1
// made.
func (t *tree) report() (Report, error) {
	if len(t.entries) == 0 {
		return Report{}, refuse("it holds no files")
	}
	if err := t.check(); err != nil {
		return Report{}, err
	}
	top := t.top()
	for i, e := range t.entries {
		if e.mode == modeLink && top != "" && e.floor < 1 {
			return Report{}, refuse("its link %q points out of its folder", e.path)
		}
		t.entries[i].path = line(e.path[len(top):])
	}
	slices.SortFunc(t.entries, func(a, b entry) int {
		return cmp.Or(strings.Compare(a.mode, b.mode), bytes.Compare(a.sum[:], b.sum[:]), strings.Compare(a.path, b.path))
	})
	h := sha256.New()
	var buf []byte
	for _, e := range t.entries {
		buf = append(append(buf[:0], e.mode...), ' ')
		buf = append(hex.AppendEncode(buf, e.sum[:]), ' ')
		buf = append(append(buf, e.path...), '\n')
		h.Write(buf)
	}
	return Report{Content: hex.EncodeToString(h.Sum(nil)), Top: t.summit.folder(), Files: len(t.entries), Unpacked: t.unpacked}, nil
}

// line is how a path stands in the content digest: as it is, unless that could
// be taken for the end of the line.
func line(path string) string {
	if strings.IndexByte(path, '\n') >= 0 || path[0] == '"' {
		return strconv.Quote(path)
	}
	return path
}
