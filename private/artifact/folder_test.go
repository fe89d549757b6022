package artifact_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stasis/private/artifact"
)

// watcher remembers what a caller of Scan would.
type watcher struct {
	dir  string
	seen map[string]string
}

func (w *watcher) scan(t *testing.T) (found []string, skipped []artifact.Skipped) {
	t.Helper()
	stamp := func(size int64, mtime time.Time) string { return fmt.Sprint(size, mtime.UnixNano()) }
	skipped, err := artifact.Scan(context.Background(), w.dir,
		func(path string, size int64, mtime time.Time) bool { return w.seen[path] == stamp(size, mtime) },
		func(f artifact.Found) error {
			w.seen[f.Path] = stamp(f.Size, f.ModTime)
			found = append(found, f.Path+" "+f.Artifact.Package.String()+" "+f.Artifact.Pretty)
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range skipped {
		if !s.Again {
			w.seen[s.Path] = stamp(s.Size, s.ModTime)
		}
	}
	slices.Sort(found)
	return found, skipped
}

func write(t *testing.T, path string, body []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o644); err != nil {
		t.Fatal(err)
	}
}

func version(v string) []byte {
	return zipped(file("p/composer.json", `{"name":"acme/lib","version":"`+v+`"}`))
}

func TestScanFindsWhatIsNew(t *testing.T) {
	w := watcher{dir: t.TempDir(), seen: map[string]string{}}
	write(t, filepath.Join(w.dir, "lib-1.0.zip"), version("1.0"))
	write(t, filepath.Join(w.dir, "old", "deep", "lib-0.9.ZIP"), version("0.9"))
	write(t, filepath.Join(w.dir, "lib-1.1.tar.gz"), gzipped(tarred(file("composer.json", `{"name":"acme/lib","version":"1.1"}`))))
	write(t, filepath.Join(w.dir, "notes.txt"), []byte("not an archive"))
	found, skipped := w.scan(t)
	if want := []string{"lib-1.0.zip acme/lib 1.0", "lib-1.1.tar.gz acme/lib 1.1", "old/deep/lib-0.9.ZIP acme/lib 0.9"}; !slices.Equal(found, want) || len(skipped) != 0 {
		t.Errorf("the first scan found %q and skipped %v", found, skipped)
	}
	if found, _ := w.scan(t); len(found) != 0 {
		t.Errorf("the second scan found %q again", found)
	}
	write(t, filepath.Join(w.dir, "lib-1.0.zip"), version("1.0.1"))
	if found, _ := w.scan(t); !slices.Equal(found, []string{"lib-1.0.zip acme/lib 1.0.1"}) {
		t.Errorf("after a change it found %q", found)
	}
}

func TestScanWaitsForWhatIsHalfWritten(t *testing.T) {
	w := watcher{dir: t.TempDir(), seen: map[string]string{}}
	path, body := filepath.Join(w.dir, "lib.zip"), version("1.0")
	for _, n := range []int{0, 1, len(body) / 2, len(body) - 1} {
		write(t, path, body[:n])
		found, skipped := w.scan(t)
		if len(found) != 0 || len(skipped) != 1 || skipped[0].Reason == "" {
			t.Errorf("after %d bytes it found %q and skipped %v", n, found, skipped)
		}
	}
	write(t, path, body)
	if found, skipped := w.scan(t); len(found) != 1 || len(skipped) != 0 {
		t.Errorf("when it is whole it found %q and skipped %v", found, skipped)
	}
}

func TestAFileThatIsWrittenWhileItIsReadIsLookedAtAgain(t *testing.T) {
	w := watcher{dir: t.TempDir(), seen: map[string]string{}}
	path := filepath.Join(w.dir, "lib.zip")
	write(t, path, version("1.0"))
	_, err := artifact.Scan(context.Background(), w.dir, func(string, int64, time.Time) bool {
		write(t, path, version("1.0.1-beta")) // between the look at its size and the look inside
		return false
	}, func(f artifact.Found) error {
		t.Errorf("it found %+v", f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := w.scan(t); !slices.Equal(found, []string{"lib.zip acme/lib 1.0.1-beta"}) {
		t.Errorf("then it found %q", found)
	}
}

func TestScanStaysInItsFolder(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.zip")
	write(t, outside, version("6.6.6"))
	w := watcher{dir: t.TempDir(), seen: map[string]string{}}
	write(t, filepath.Join(w.dir, "real", "lib.zip"), version("1.0"))
	for link, target := range map[string]string{
		"out.zip": outside, "up.zip": "../" + filepath.Base(filepath.Dir(outside)) + "/secret.zip", "gone.zip": "nowhere.zip",
		"inside.zip": "real/lib.zip", "folder.zip": "real", "loop": ".",
	} {
		if err := os.Symlink(target, filepath.Join(w.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	found, skipped := w.scan(t)
	if want := []string{"inside.zip acme/lib 1.0", "real/lib.zip acme/lib 1.0"}; !slices.Equal(found, want) {
		t.Errorf("it found %q", found)
	}
	if len(skipped) != 2 {
		t.Errorf("it skipped %v", skipped)
	}
	for _, s := range skipped {
		if strings.Contains(s.Reason, w.dir) {
			t.Errorf("it says where the folder is: %s", s.Reason)
		}
	}
}

func TestScanEndsWhenItIsTold(t *testing.T) {
	w := watcher{dir: t.TempDir()}
	write(t, filepath.Join(w.dir, "lib.zip"), version("1.0"))
	no := errors.New("enough")
	if _, err := artifact.Scan(context.Background(), w.dir, func(string, int64, time.Time) bool { return false }, func(artifact.Found) error { return no }); !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := artifact.Scan(ctx, w.dir, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := artifact.Scan(context.Background(), filepath.Join(w.dir, "none"), nil, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
