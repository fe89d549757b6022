package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stasis/store"
)

func init() {
	children["fill"] = childFills
	children["read"] = childReads
}

// childFills writes archives, documents and records until the store has
// refused a hundred times, reading all the while. It acknowledges what it
// wrote.
func childFills(folder string) error {
	s, err := store.Open(context.Background(), store.Options{Path: folder, Archives: os.Getenv("STORE_TEST_DRIVER")})
	if err != nil {
		return err
	}
	var kept []store.Digest
	refused := 0
	for n := 0; refused < 100; n++ {
		body := noise(10_000 + rand.IntN(2_000_000))
		copy(body, fmt.Sprint(n, " "))
		d, err := keep(s, body)
		if err == nil {
			err = s.Update(func(tx *store.Tx) error {
				doc, err := tx.PutDocument(noise(2000 + n%7*30_000))
				if err != nil {
					return err
				}
				return countedTable.Put(tx, counted{N: n, Blob: d, Doc: doc}, "filled", store.SeqKey(uint64(n)))
			})
		}
		switch {
		case err == nil:
			kept = append(kept, d)
			fmt.Printf("kept %d %s\n", n, d)
		case errors.Is(err, store.ErrNoSpace):
			refused++
		default:
			return err
		}
		if len(kept) > 0 {
			if got, err := read(s, kept[rand.IntN(len(kept))]); err != nil || got.IsZero() {
				return fmt.Errorf("read: %w", err)
			}
		}
		if n%200 == 0 {
			if err := s.Maintain(context.Background()); err != nil {
				return err
			}
		}
	}
	u := s.Usage()
	fmt.Printf("refused: %d held of %d bytes, %d free, floor %d\n", u.Blobs, u.Bytes, u.FreeBytes, u.Floor)
	return s.Close()
}

// childReads opens a folder on a full disk and reads everything.
func childReads(folder string) error {
	began := time.Now()
	s, err := store.Open(context.Background(), store.Options{Path: folder, Archives: os.Getenv("STORE_TEST_DRIVER")})
	if err != nil {
		return err
	}
	fmt.Printf("opened in %v\n", time.Since(began))
	sum, err := s.Verify(context.Background(), func(p store.Problem) { fmt.Printf("problem %s %s: %v\n", p.Kind, p.Subject, p.Err) })
	if err != nil {
		return err
	}
	err = s.View(func(tx *store.Tx) error {
		return countedTable.Scan(tx, nil, func(_ []string, v counted) error {
			if !s.HasBlob(v.Blob) {
				return fmt.Errorf("archive %s is not held", v.Blob)
			}
			fmt.Printf("have %d %s\n", v.N, v.Blob)
			return nil
		})
	})
	fmt.Printf("verified %+v\n", sum)
	return errors.Join(err, s.Close())
}

// TestSmallDisk needs a small file system of its own, 300 MiB to 1 GiB, named
// by STORE_TEST_SMALL_DISK: it is filled to the last block, which a shared
// disk must not be. On a loop device:
//
//	truncate -s 400M disk.img && mkfs.ext4 disk.img && mount -o loop disk.img /mnt
func TestSmallDisk(t *testing.T) {
	disk := os.Getenv("STORE_TEST_SMALL_DISK")
	if disk == "" {
		t.Skip("STORE_TEST_SMALL_DISK names no small file system to be filled")
	}
	for _, driver := range []string{store.DriverBadger, store.DriverFiles} {
		t.Run("filled by us with "+driver, func(t *testing.T) {
			folder := filepath.Join(disk, "us-"+driver)
			defer os.RemoveAll(folder)
			out, err := runChild("fill", folder, driver, nil)
			if err != nil {
				t.Fatalf("the store did not survive a disk it filled itself: %v\n%s", err, last(out))
			}
			t.Log(last(out))
			wantAllRead(t, folder, driver, out)
		})
		for round := range 5 {
			t.Run(fmt.Sprintf("filled by others with %s, %d", driver, round), func(t *testing.T) {
				folder := filepath.Join(disk, "others-"+driver)
				defer os.RemoveAll(folder)
				filler := filepath.Join(disk, "filler")
				defer os.Remove(filler)
				out, err := runChild("fill", folder, driver, func(line string) {
					if strings.HasPrefix(line, fmt.Sprintf("kept %d ", 30+round*7)) {
						fillDisk(t, filler)
					}
				})
				t.Logf("the writer ended with %v: %.200s", err, last(out))
				wantAllRead(t, folder, driver, out)
				if err := os.Remove(filler); err != nil {
					t.Fatal(err)
				}
				if out, err := runChild("fill", folder, driver, nil); err != nil || !strings.Contains(out, "kept") {
					t.Errorf("after space came back: %v\n%s", err, last(out))
				}
			})
		}
	}
}

func runChild(job, folder, driver string, each func(line string)) (string, error) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "STORE_TEST_CHILD="+job, "STORE_TEST_FOLDER="+folder, "STORE_TEST_DRIVER="+driver)
	out, err := child.StdoutPipe()
	if err != nil {
		return "", err
	}
	child.Stderr = child.Stdout
	if err := child.Start(); err != nil {
		return "", err
	}
	var all strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(&all, lines.Text())
		if each != nil {
			each(lines.Text())
		}
	}
	return all.String(), child.Wait()
}

func last(out string) string { return out[max(0, len(out)-1500):] }

// wantAllRead opens the folder as it is, disk full or not, and looks for
// everything that was acknowledged.
func wantAllRead(t *testing.T, folder, driver, acknowledged string) {
	t.Helper()
	out, err := runChild("read", folder, driver, nil)
	if err != nil || strings.Contains(out, "problem") {
		t.Fatalf("open and read: %v\n%s", err, last(out))
	}
	n := 0
	for line := range strings.Lines(acknowledged) {
		if what, ok := strings.CutPrefix(line, "kept "); ok {
			if n++; !strings.Contains(out, "have "+what) {
				t.Errorf("acknowledged and lost: %s", line)
			}
		}
	}
	opened, _, _ := strings.Cut(out, "\n")
	t.Logf("%d acknowledged, all there; %s", n, opened)
}

// fillDisk writes until there is not one block left.
func fillDisk(t *testing.T, name string) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096, 512} {
		for {
			_, err := f.Write(make([]byte, size))
			if errors.Is(err, syscall.ENOSPC) {
				break
			}
			if err != nil && !errors.Is(err, io.ErrShortWrite) && !errors.Is(err, fs.ErrClosed) {
				t.Error(err)
				return
			}
		}
	}
}
