package proxy_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"stasis/integration/standin"
	"stasis/proxy/policy"
)

// smalls publishes n packages with archives of somewhat more than size bytes,
// fetches each, and returns where they are and what they hold.
func (w *rig) smalls(n int, size int64) (paths []string, bodies [][]byte) {
	w.Helper()
	for i := range n {
		r := w.release(standin.Release{Name: fmt.Sprintf("acme/small%d", i), Version: "1.0.0", Size: size})
		w.want(fmt.Sprintf("/p2/acme/small%d.json", i), 200, missed)
		path := fmt.Sprintf("/dist-proxy/acme/small%d/1.0.0.0/%s.zip", i, r.Reference)
		if a, err := w.download(path); err != nil || a.status != 200 {
			w.Fatalf("%v, %v", a, err)
		}
		paths, bodies = append(paths, path), append(bodies, r.Archive)
	}
	return paths, bodies
}

// TestSmallArchivesAreHandedOutOfMemory damages the stored bytes behind the
// program's back, which only who reads them notices.
func TestSmallArchivesAreHandedOutOfMemory(t *testing.T) {
	folder := ""
	w := newRig(t, func(s *settings) { s.store.Archives, folder = "files", s.store.Path })
	paths, bodies := w.smalls(1, 100<<10)
	w.want(paths[0], 200, hit)
	files, err := filepath.Glob(filepath.Join(folder, "blobs", "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if err := os.WriteFile(f, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if a := w.want(paths[0], 200, hit); !bytes.Equal(a.body, bodies[0]) {
		t.Error("other bytes than were stored")
	}
	w.asked("/acme/small0/legacy.zip/*", 1)
}

func TestWhatIsDeniedIsNotHandedOutOfMemory(t *testing.T) {
	w := newRig(t)
	paths, _ := w.smalls(2, 100)
	w.want(paths[0], 200, hit)
	rule, err := w.p.AddRule(t.Context(), policy.Rule{Kind: policy.Block, Package: "acme/small0", Reason: "bad", Owner: "ops"})
	if err != nil {
		t.Fatal(err)
	}
	w.want(paths[0], 451, "")
	w.want(paths[1], 200, hit)
	if _, err := w.p.LiftRule(t.Context(), policy.Block, rule.ID, "ops"); err != nil {
		t.Fatal(err)
	}
	w.want(paths[0], 200, hit)
}

// TestArchivesInMemoryAreInUse: what is asked for again and again is not what
// the store gives up for new archives.
func TestArchivesInMemoryAreInUse(t *testing.T) {
	const size = 100 << 10
	w := newRig(t, func(s *settings) { s.store.MaxCacheSize = 10 * size })
	paths, _ := w.smalls(1, size)
	for i := range 30 {
		r := w.release(standin.Release{Name: fmt.Sprintf("acme/more%d", i), Version: "1.0.0", Size: size})
		w.want(fmt.Sprintf("/p2/acme/more%d.json", i), 200, missed)
		if a, err := w.download(fmt.Sprintf("/dist-proxy/acme/more%d/1.0.0.0/%s.zip", i, r.Reference)); err != nil || a.status != 200 {
			t.Fatalf("%v, %v", a, err)
		}
		w.want(paths[0], 200, hit)
	}
	w.asked("/acme/small0/legacy.zip/*", 1)
}

func TestArchivesInMemoryAreBoundedByBytes(t *testing.T) {
	const limit = 1 << 20
	w := newRig(t, func(s *settings) { s.proxy.HotSize = limit })
	paths, bodies := w.smalls(20, 60<<10)
	for range 2 {
		for i, path := range paths {
			if a := w.want(path, 200, hit); !bytes.Equal(a.body, bodies[i]) {
				t.Fatalf("archive %d is another", i)
			}
			if n, held := w.p.HotArchives(); held > limit/4 || n == 0 {
				t.Fatalf("%d archives with %d bytes are in memory, %d bytes are allowed", n, held, limit/4)
			}
		}
	}
}

func TestHotArchivesAllocateLittle(t *testing.T) {
	w := newRig(t)
	paths, bodies := w.smalls(1, 100<<10)
	w.want(paths[0], 200, hit)
	s := &sink{h: http.Header{}}
	r := httptest.NewRequest(http.MethodGet, paths[0], nil)
	n := testing.AllocsPerRun(200, func() { w.h.ServeHTTP(s, r) })
	t.Logf("a hot archive: %.0f allocations", n)
	if s.status != 200 || s.n < 200*len(bodies[0]) {
		t.Fatalf("got %d, %d bytes", s.status, s.n)
	}
	if n > 2+raceAllocations {
		t.Errorf("a hot archive costs %.0f allocations", n)
	}
}
