//go:build unix

package store_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"stasis/integration/promise"
	"stasis/store"
)

func init() {
	children["write"] = childWrites
	children["wait"] = childWaits
}

// childBody is the body of step n of a worker; its size runs from a few bytes
// to several chunks.
func childBody(worker, n int) []byte {
	r := rand.New(rand.NewPCG(uint64(worker), uint64(n)))
	body := make([]byte, 16+r.IntN(1<<(8+r.IntN(12))))
	for i := 0; i+8 <= len(body); i += 8 {
		binary.BigEndian.PutUint64(body[i:], r.Uint64())
	}
	return body
}

// childWrites keeps bodies, documents and records until it is killed, and
// acknowledges each record on standard output when the store has.
func childWrites(folder string) error {
	limit, err := strconv.ParseInt(os.Getenv("STORE_TEST_LIMIT"), 10, 64)
	if err != nil {
		return err
	}
	s, err := store.Open(context.Background(), store.Options{Path: folder, Archives: os.Getenv("STORE_TEST_DRIVER"), MaxCacheSize: limit})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	failed := make(chan error, 4)
	for worker := range 3 {
		wg.Go(func() {
			start := 0
			err := s.View(func(tx *store.Tx) error {
				return countedTable.ScanReverse(tx, []string{fmt.Sprint(worker)}, "", func(_ []string, v counted) error {
					start = v.N + 1
					return store.Stop
				})
			})
			for n := start; err == nil; n++ {
				body := childBody(worker, n)
				var c counted
				if c.Blob, err = keep(s, body); err != nil {
					break
				}
				err = s.Update(func(tx *store.Tx) error {
					c.N = n
					var err error
					if c.Doc, err = tx.PutDocument([]byte(strings.Repeat(fmt.Sprintf("document %d of %d. ", n, worker), n%50*100))); err != nil {
						return err
					}
					return countedTable.Put(tx, c, fmt.Sprint(worker), store.SeqKey(uint64(n)))
				})
				if err == nil {
					mu.Lock()
					_, err = fmt.Printf("%d %d\n", worker, n)
					mu.Unlock()
				}
			}
			failed <- err
		})
	}
	return <-failed
}

// TestAcknowledgedSurvivesKill kills the child again and again while it
// writes, and looks for everything it acknowledged.
func TestAcknowledgedSurvivesKill(t *testing.T) {
	rounds := promise.Rounds(t, 4, 50)
	if testing.Short() {
		rounds = 2
	}
	for _, driver := range []string{store.DriverBadger, store.DriverFiles} {
		t.Run(driver, func(t *testing.T) {
			folder := t.TempDir()
			acknowledged := map[[2]int]bool{}
			for round := range rounds {
				child := exec.Command(os.Args[0])
				child.Env = append(os.Environ(), "STORE_TEST_CHILD=write", "STORE_TEST_FOLDER="+folder, "STORE_TEST_DRIVER="+driver, "STORE_TEST_LIMIT=1000000000")
				child.Stderr = os.Stderr
				out, err := child.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := child.Start(); err != nil {
					t.Fatal(err)
				}
				lines := bufio.NewScanner(out)
				enough := 40 + round*17
				for n := 0; lines.Scan(); n++ {
					var ack [2]int
					if _, err := fmt.Sscan(lines.Text(), &ack[0], &ack[1]); err != nil {
						break // the last line may be half written
					}
					acknowledged[ack] = true
					if n == enough {
						child.Process.Kill() //nolint:errcheck // what was written before is still read
					}
				}
				if err := child.Wait(); err == nil {
					t.Fatal("the child ended by itself")
				}
				s := open(t, store.Options{Path: folder, Archives: driver, MaxCacheSize: 1e9})
				wantAcknowledged(t, s, acknowledged, false)
				if err := s.Maintain(t.Context()); err != nil {
					t.Fatal(err)
				}
				sum, err := s.Verify(t.Context(), func(p store.Problem) { t.Errorf("%s %s: %v", p.Kind, p.Subject, p.Err) })
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("round %d: %d acknowledged, %+v", round, len(acknowledged), sum)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// wantAcknowledged looks for everything that was acknowledged. With a small
// limit archives may have been evicted since, which is the only way to go.
func wantAcknowledged(t *testing.T, s *store.Store, acknowledged map[[2]int]bool, evicting bool) {
	t.Helper()
	view(t, s, func(tx *store.Tx) error {
		for ack := range acknowledged {
			c, err := countedTable.Get(tx, fmt.Sprint(ack[0]), store.SeqKey(uint64(ack[1])))
			if err != nil {
				t.Errorf("worker %d, step %d was acknowledged: %v", ack[0], ack[1], err)
				continue
			}
			if _, err := tx.Document(c.Doc); err != nil {
				t.Errorf("worker %d, step %d: its document: %v", ack[0], ack[1], err)
			}
			b, err := s.OpenBlob(c.Blob)
			if evicting && errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				t.Errorf("worker %d, step %d: its archive: %v", ack[0], ack[1], err)
				continue
			}
			got, err := io.ReadAll(b)
			if err = errors.Join(err, b.Close()); err != nil || string(got) != string(childBody(ack[0], ack[1])) {
				t.Errorf("worker %d, step %d: its archive has %d other bytes, %v", ack[0], ack[1], len(got), err)
			}
		}
		return nil
	})
}

// childWaits holds the folder until its standard input ends.
func childWaits(folder string) error {
	s, err := store.Open(context.Background(), store.Options{Path: folder})
	if err != nil {
		return err
	}
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin) //nolint:errcheck // any end is the end
	return s.Close()
}

func TestSecondProcessIsTurnedAway(t *testing.T) {
	folder := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "STORE_TEST_CHILD=wait", "STORE_TEST_FOLDER="+folder)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), store.Options{Path: folder})
	want := fmt.Sprintf("the data folder %s is used by another process (pid %d); stop it or choose another folder", folder, child.Process.Pid)
	if !errors.Is(err, store.ErrLocked) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the second process gets %q, want %q", err, want)
	}
	in.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	open(t, store.Options{Path: folder})
}
