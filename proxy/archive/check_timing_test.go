package archive_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"stasis/proxy/archive"
)

// code makes text that deflates about as well as source code does.
func code(n int) string {
	words := []string{"function ", "return ", "$this->", "array ", "public ", "null", ";\n", "{\n", "}\n", "    ", "string ", "$value", "=", "(", ")", "throw new ", "Exception"}
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		if r.IntN(4) == 0 {
			fmt.Fprintf(&b, "%x", r.Uint32())
		}
	}
	return b.String()[:n]
}

// BenchmarkCheckZip reports the speed over the bytes of the archive; a check
// reads about four times as many unpacked ones.
func BenchmarkCheckZip(b *testing.B) {
	var files []file
	for i := range 1000 {
		files = append(files, file{fmt.Sprintf("src/F%d.php", i), code(8 << 10), 0o644})
	}
	body := zipped("acme-lib-1/", time.Unix(1e9, 0), zip.Deflate, false, files...)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		check(b, "zip", body)
	}
}

func BenchmarkCheckZipStored(b *testing.B) {
	body := zipped("acme-lib-1/", time.Unix(1e9, 0), zip.Store, false, file{"data.bin", code(8 << 20), 0o644})
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		check(b, "zip", body)
	}
}

// BenchmarkCheckReal checks the largest real archive beside the repository.
func BenchmarkCheckReal(b *testing.B) {
	var largest []byte
	for _, p := range slice(b) {
		if info, err := os.Stat(p); err == nil && info.Size() > int64(len(largest)) {
			if largest, err = os.ReadFile(p); err != nil {
				b.Fatal(err)
			}
		}
	}
	if largest == nil {
		largest = zipped("acme-lib-1/", time.Unix(1e9, 0), zip.Deflate, false, sample...)
	}
	b.SetBytes(int64(len(largest)))
	for b.Loop() {
		rep, err := archive.Check("zip", bytes.NewReader(largest), int64(len(largest)))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(rep.Unpacked)/float64(len(largest)), "unpacked/byte")
	}
}
