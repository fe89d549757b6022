package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"stasis/proxy/archive"
)

var good = item{name: "acme-lib-1/src/A.php", content: "<?php class A {}\n", deflate: true}

const zeros64M = 64 << 20

func same(e, s, o uint64) (uint64, uint64, uint64) { return e, s, o }

// overlapping is Fifield's bomb: many records share one body.
func overlapping(n int) []byte {
	items := []item{{name: "p/kernel", content: strings.Repeat("\x00", 1<<20), deflate: true}}
	for i := range n {
		items = append(items, item{name: fmt.Sprintf("p/f%d", i), content: strings.Repeat("\x00", 1<<20), deflate: true, offset: 1})
	}
	return raw(layout{}, items...)
}

type hostile struct {
	name, typ string
	body      []byte
	why       string // part of the reason
}

func hostileZips() []hostile {
	z := func(name, why string, l layout, items ...item) hostile {
		return hostile{name, "zip", raw(l, items...), why}
	}
	whole := raw(layout{}, good)
	many := make([]item, 70_000)
	for i := range many {
		many[i] = item{name: fmt.Sprintf("p/%d", i)}
	}
	return []hostile{
		{"nothing at all", "zip", nil, "not a zip"},
		{"an HTML page", "zip", []byte("<!DOCTYPE html><html><body>sign in</body></html>"), "not a zip"},
		{"a JSON message", "zip", []byte(`{"message":"API rate limit exceeded"}`), "not a zip"},
		z("no central directory and no end", "end is missing", layout{noFolder: true}, good),
		z("a central directory without an end", "end is missing", layout{noEnd: true}, good),
		{"the last byte is missing", "zip", whole[:len(whole)-1], "end is missing"},
		z("an end inside the comment of nothing", "bytes too many", layout{behind: "x"}, good),
		z("garbage behind the end", "bytes too many", layout{behind: strings.Repeat("x", 70)}, good),
		z("a script in front", "not a zip", layout{prefix: "#!/bin/sh\n"}, good),
		z("a comment that hides a second end", "hides a second", layout{comment: "PK\x05\x06" + strings.Repeat("\x00", 18)}, good),
		z("more entries claimed than there are", "claims 2", layout{entries: 1}, good),
		z("fewer entries claimed than there are", "more than the 1", layout{entries: -1}, good, item{name: "acme-lib-1/b"}),
		z("no entries claimed", "more than the 0", layout{entries: -1}, good),
		z("a directory larger than it is", "does not lie", layout{size: 1}, good),
		z("a directory that begins elsewhere", "does not lie", layout{offset: -3}, good),
		z("a directory beyond the end", "does not lie", layout{offset: 1 << 20}, good),
		z("one part of several", "several", layout{disk: 2}, good),
		z("zip64: entries that are not there", "more than the", layout{zip64: func(_, s, o uint64) (uint64, uint64, uint64) { return 1 << 40, s, o }}, good),
		z("zip64: a directory of 2^62 bytes", "does not lie", layout{zip64: func(e, _, o uint64) (uint64, uint64, uint64) { return e, 1 << 62, o }}, good),
		z("zip64: a negative offset", "contradict", layout{zip64: func(e, s, _ uint64) (uint64, uint64, uint64) { return e, s, 1<<64 - 9 }}, good),
		z("zip64: an entry of 8 EiB", "times its size", layout{}, item{name: "p/a", content: "x", unpacked: 1<<32 - 1, extra: zip64Field(1<<63 - 1)}),
		z("zip64: a negative size", "impossible", layout{}, item{name: "p/a", content: "x", unpacked: 1<<32 - 1, extra: zip64Field(1 << 63)}),
		z("zip64: a field without its numbers", "zip64", layout{}, item{name: "p/a", content: "x", unpacked: 1<<32 - 1, extra: zip64Field()}),
		z("zip64: data beyond the archive", "longer than", layout{}, item{name: "p/a", content: "x", packed: 1<<32 - 1, extra: zip64Field(1 << 40)}),
		z("a size that is too small", "does not have", layout{}, item{name: "p/a", content: "hello", unpacked: 4, deflate: true}),
		z("a size that is too large", "does not have", layout{}, item{name: "p/a", content: "hello", unpacked: 6, deflate: true}),
		z("a stored size that is too small", "does not have", layout{}, item{name: "p/a", content: "hello", unpacked: 4}),
		z("data behind a deflated entry", "more data", layout{}, item{name: "p/a", content: "hello", deflate: true, tail: "hidden"}),
		z("a wrong checksum", "checksum", layout{}, item{name: "p/a", content: "hello", crc: 1}),
		z("damaged deflate data", "damaged", layout{}, item{name: "p/a", content: "\xff\xff\xff\xff", method: 8}),
		z("an unknown way of packing", "packed in a way", layout{}, item{name: "p/a", content: "x", method: 97}),
		z("encryption", "encrypted", layout{}, item{name: "p/a", content: "x", flags: 1}),
		z("a bomb of one file", "times its size", layout{}, item{name: "p/a", content: strings.Repeat("\x00", zeros64M), deflate: true}),
		{"a bomb of overlapping files", "zip", overlapping(60), "times its size"},
		{"files that overlap", "zip", overlapping(3), "shares bytes"},
		z("one body under two names", "shares bytes", layout{}, good, item{name: "acme-lib-1/b", local: good.name, content: good.content, deflate: true, offset: 1}),
		z("an entry inside the directory", "contradict", layout{}, item{name: "p/a", content: "x", offset: 40}),
		z("another name in front of the data", "contradict", layout{}, item{name: "p/a.txt", local: "p/a.php", content: "x"}),
		z("another method in front of the data", "contradict", layout{}, item{name: "p/a", content: "x", localMethod: 8}),
		z("a second name elsewhere", "second name", layout{}, item{name: "p/a", content: "x", extra: secondName("p/a", "../../a")}),
		z("a second name that is damaged", "second name", layout{}, item{name: "p/a", content: "x", extra: []byte{0x75, 0x70, 1, 0, 1}}),
		z("a name that climbs out", "forbidden", layout{}, item{name: "p/../../etc/cron.d/x", content: "x"}),
		z("a name that climbs out by backslashes", "forbidden", layout{}, item{name: `p\..\..\x`, content: "x"}),
		z("an absolute name", "forbidden", layout{}, item{name: "/etc/passwd", content: "x"}),
		z("an absolute name with a backslash", "forbidden", layout{}, item{name: `\etc\passwd`, content: "x"}),
		z("a drive", "forbidden", layout{}, item{name: "C:/x", content: "x"}),
		z("a NUL in the name", "forbidden", layout{}, item{name: "p/a.php\x00.txt", content: "x"}),
		z("an empty name", "forbidden", layout{}, item{name: "", content: "x"}),
		z("a file named dot", "forbidden", layout{}, item{name: "./", mode: 0o120777}, good),
		z("a very long name", "forbidden", layout{}, item{name: "p/" + strings.Repeat("n", 2000), content: "x"}),
		z("a very deep name", "forbidden", layout{}, item{name: strings.Repeat("d/", 400) + "f", content: "x"}),
		z("two entries of one name", "two entries", layout{}, good, good),
		z("two entries of one name, written differently", "two entries", layout{}, item{name: "p/a", content: "x"}, item{name: "p/./a", content: "y"}),
		z("three names in two cases", "two entries", layout{}, item{name: "p/a"}, item{name: "p/A"}, item{name: "p/A"}),
		z("a link and a file in two cases", "upper and lower", layout{}, item{name: "p/link", mode: 0o120777, content: "src"}, item{name: "p/LINK", content: "x"}),
		z("a file below a link", "no folder", layout{}, item{name: "p/d", mode: 0o120777, content: "src"}, item{name: "p/d/x", content: "x"}),
		z("a file below a link in another case", "no folder", layout{}, item{name: "p/d", mode: 0o120777, content: "src"}, item{name: "p/D/x", content: "x"}),
		z("a file below a file", "no folder", layout{}, item{name: "p/d", content: "x"}, item{name: "p/d/x", content: "x"}),
		z("a file below a file of two cases", "no folder", layout{}, item{name: "p/D", content: "x"}, item{name: "p/d", content: "x"}, item{name: "p/d/x", content: "x"}),
		z("a link out of the archive", "points out", layout{}, item{name: "p/l", mode: 0o120777, content: "../../x"}),
		z("a link out of the top folder", "points out", layout{}, good, item{name: "acme-lib-1/l", mode: 0o120777, content: "../other"}),
		z("an absolute link", "points out", layout{}, item{name: "p/l", mode: 0o120777, content: "/etc/passwd"}),
		z("a link that climbs behind another link", "points out", layout{}, item{name: "p/here", mode: 0o120777, content: "."}, item{name: "p/l", mode: 0o120777, content: "here/../.."}),
		z("a link without a target", "points out", layout{}, item{name: "p/l", mode: 0o120777}),
		z("a link with an endless target", "target", layout{}, item{name: "p/l", mode: 0o120777, content: strings.Repeat("a/", 4000)}),
		z("a link that says it comes from DOS", "points out", layout{}, item{name: "p/l", mode: 0o120777, system: 255, content: "/etc/passwd"}),
		z("a device", "special file", layout{}, item{name: "p/null", mode: 0o020666}),
		z("a pipe", "special file", layout{}, item{name: "p/pipe", mode: 0o010666}),
		z("a folder with content", "has content", layout{}, item{name: "p/d/", content: "x"}),
		z("only folders", "no files", layout{}, item{name: "p/"}),
		z("no entries", "no files", layout{}),
		z("70,000 entries behind a count of 4,464", "more than the 4464", layout{}, many...),
	}
}

type tarItem struct {
	h    tar.Header
	body string
}

func rawTar(items ...tarItem) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, it := range items {
		h := it.h
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		h.Size = int64(len(it.body))
		if err := w.WriteHeader(&h); err != nil {
			panic(err)
		}
		_, _ = io.WriteString(w, it.body)
	}
	_ = w.Close()
	return b.Bytes()
}

func packed(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// renamed overwrites the name of the first header, which the writer would not
// write, and mends its checksum.
func renamed(b []byte, from, to string) []byte {
	b = bytes.Clone(b)
	i := bytes.Index(b, []byte(from))
	copy(b[i:i+len(from)], make([]byte, len(from)))
	copy(b[i:], to)
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func hostileTars() (list []hostile) {
	file := func(name, body string) tarItem { return tarItem{tar.Header{Name: name}, body} }
	link := func(name, target string) tarItem {
		return tarItem{tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}, ""}
	}
	whole := rawTar(file("p/a", strings.Repeat("a", 700)), file("p/b", "b"))
	sparse := rawTar(file("p/a", "x"))
	copy(sparse[124:136], "77777777777\x00")
	for _, c := range []struct {
		name string
		body []byte
		why  string
	}{
		{"a name that climbs out", rawTar(file("p/../../x", "x")), "forbidden"},
		{"an absolute name", rawTar(file("/etc/passwd", "x")), "forbidden"},
		{"a drive", rawTar(file(`c:\x`, "x")), "forbidden"},
		{"two entries of one name", rawTar(file("p/a", "x"), file("p/a", "y")), "two entries"},
		{"a link and a file in two cases", rawTar(link("p/l", "src"), file("p/L", "x")), "upper and lower"},
		{"a file below a link", rawTar(link("p/l", "src"), file("p/l/x", "x")), "no folder"},
		{"an absolute link", rawTar(link("p/l", "/etc")), "points out"},
		{"a link out of the top folder", rawTar(file("p/a", "x"), link("p/l", "../y")), "points out"},
		{"a hard link to nothing", rawTar(tarItem{tar.Header{Name: "p/h", Linkname: "p/none", Typeflag: tar.TypeLink}, ""}), "no file in front"},
		{"a hard link out of it", rawTar(tarItem{tar.Header{Name: "p/h", Linkname: "../x", Typeflag: tar.TypeLink}, ""}), "forbidden"},
		{"a device", rawTar(tarItem{tar.Header{Name: "p/null", Typeflag: tar.TypeChar}, ""}), "special file"},
		{"a pipe", rawTar(tarItem{tar.Header{Name: "p/pipe", Typeflag: tar.TypeFifo}, ""}), "special file"},
		{"a bomb", rawTar(file("p/a", strings.Repeat("\x00", zeros64M))), "times its size"},
		{"a file that claims 8 GiB", renamed(sparse, "p/a", "p/a"), "times its size"},
		{"a cut between two entries", whole[:1536], "end is missing"},
		{"no end mark", whole[:2560], "end is missing"},
		{"a cut within an entry", whole[:600], "damaged"},
		{"a damaged header", append([]byte("q"), whole[1:]...), "damaged"},
		{"data behind the end", append(bytes.Clone(whole), "hidden"...), "behind its end"},
		{"endless zeros behind the end", append(bytes.Clone(whole), make([]byte, 8<<20)...), "times its size"},
		{"only folders", rawTar(tarItem{tar.Header{Name: "p/", Typeflag: tar.TypeDir, Mode: 0o755}, ""}), "no files"},
	} {
		switch c.name {
		case "a bomb": // an honest size when it is not packed
		default:
			list = append(list, hostile{"tar: " + c.name, "tar", c.body, c.why})
		}
		list = append(list, hostile{"tar.gz: " + c.name, "tar", packed(c.body), c.why})
	}
	gz := packed(whole)
	return append(list,
		hostile{"tar: an HTML page", "tar", []byte("<html>" + strings.Repeat(" ", 600)), "not a tar"},
		hostile{"tar.gz: cut", "tar", gz[:len(gz)-4], "damaged"},
		hostile{"tar.gz: garbage behind it", "tar", append(bytes.Clone(gz), "garbage"...), "damaged"},
		hostile{"tar.gz: only a header", "tar", []byte("\x1f\x8b"), "damaged"},
		hostile{"tar.gz: zeros without end", "tar", packed(make([]byte, zeros64M)), "times its size"},
		hostile{"tar.bz2: cut", "tar", bz2Tar[:len(bz2Tar)-8], "damaged"},
		hostile{"tar.xz: cut", "tar", []byte("\xfd7zXZ\x00\x00\x04" + strings.Repeat("x", 56)), "end is missing"},
		hostile{"gzip: cut", "gzip", gz[:len(gz)-4], "damaged"},
		hostile{"gzip: a bomb", "gzip", packed(make([]byte, zeros64M)), "times its size"},
		hostile{"xz: cut", "xz", []byte("\xfd7zXZ\x00\x00\x04" + strings.Repeat("x", 55)), "end is missing"},
		hostile{"rar: a page", "rar", []byte("<html>"), "not a rar"},
		hostile{"file: a page", "file", []byte("\ufeff <!DOCTYPE html>"), "not a file"},
	)
}

// heap is the memory in use and not yet collected.
func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func TestHostileArchivesAreRefused(t *testing.T) {
	list := append(hostileZips(), hostileTars()...)
	if len(list) < 40 {
		t.Fatalf("only %d archives", len(list))
	}
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) {
			runtime.GC()
			before, begun := heap(), time.Now()
			_, err := archive.Check(c.typ, bytes.NewReader(c.body), int64(len(c.body)))
			took, grew := time.Since(begun), int64(heap())-int64(before)
			var bad *archive.Error
			if !errors.As(err, &bad) {
				t.Fatalf("got %v, want an *archive.Error", err)
			}
			if !strings.Contains(bad.Reason, c.why) {
				t.Errorf("refused for %q, want a reason with %q", bad.Reason, c.why)
			}
			if took > time.Second {
				t.Errorf("it took %v", took)
			}
			if grew > 64<<20 {
				t.Errorf("it took %d MiB", grew>>20)
			}
		})
	}
}
