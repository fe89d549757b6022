package standin

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"sort"
	"time"
)

// entryTime is the time of every entry, so that the same content always makes
// the same bytes.
var entryTime = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// Zip makes a deterministic zip archive of files (path to content).
func Zip(files map[string]string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range sortedKeys(files) {
		method := zip.Deflate
		if len(files[name]) > 64<<10 {
			method = zip.Store // large made files are noise; compressing them only costs time
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: entryTime})
		if err == nil {
			_, err = f.Write([]byte(files[name]))
		}
		if err != nil {
			panic(fmt.Sprintf("standin: zip entry %s: %v", name, err))
		}
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("standin: closing a zip: %v", err))
	}
	return b.Bytes()
}

// Tar makes a deterministic tar archive of files.
func Tar(files map[string]string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range sortedKeys(files) {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), ModTime: entryTime, Typeflag: tar.TypeReg})
		if err == nil {
			_, err = w.Write([]byte(files[name]))
		}
		if err != nil {
			panic(fmt.Sprintf("standin: tar entry %s: %v", name, err))
		}
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("standin: closing a tar: %v", err))
	}
	return b.Bytes()
}

// Gzip compresses body deterministically.
func Gzip(body []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = w.Write(body)
	_ = w.Close()
	return b.Bytes()
}

// noise returns size bytes that no compressor shrinks, the same for each seed.
func noise(seed string, size int64) string {
	key := sha256.Sum256([]byte(seed))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has a length that AES takes
	}
	b := make([]byte, size)
	cipher.NewCTR(block, key[:aes.BlockSize]).XORKeyStream(b, b)
	return string(b)
}

// Noise is text of a size that compresses badly, the same for each seed.
func Noise(seed string, size int) string {
	return base64.StdEncoding.EncodeToString([]byte(noise(seed, int64(size))))[:size]
}

// withoutCentralDirectory drops the end of a zip: all entries are there, but
// nothing says where.
func withoutCentralDirectory(body []byte) []byte {
	if i := bytes.Index(body, []byte("PK\x01\x02")); i > 0 {
		return slices.Clone(body[:i])
	}
	return slices.Clone(body[:len(body)/2])
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
