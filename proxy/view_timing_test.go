package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stasis/integration/standin"
)

// BenchmarkFirstView asks for instants of a document of 3,000 versions for the
// first time: the view is decided, written down, made and compressed. The
// versions are real ones where the slice is at hand.
func BenchmarkFirstView(b *testing.B) {
	w := newRig(b, func(s *settings) {
		s.proxy.Now, s.store.Now, s.upstream.Now, s.standin.Now = time.Now, time.Now, time.Now, time.Now
	})
	name, base := "acme/lib", []standin.Object{standin.Object{}.With("name", "acme/lib")}
	if dir, ok := standin.SliceDir(); ok {
		name = "laravel/framework"
		body, err := os.ReadFile(filepath.Join(dir, "p2", name+".json"))
		if err != nil {
			b.Fatal(err)
		}
		real, err := standin.ParseDocument(body, name)
		if err != nil {
			b.Fatal(err)
		}
		base = real.Versions
	}
	doc := &standin.Document{Name: name, Top: standin.Object{}.With("minified", "composer/2.0")}
	first := time.Now().UTC().Truncate(time.Second).Add(-4000 * time.Hour)
	for i := 2999; i >= 0; i-- {
		v := base[(2999-i)%len(base)].With("version", fmt.Sprintf("v%d.%d.%d", i/100, i/10%10, i%10))
		v = v.With("version_normalized", fmt.Sprintf("%d.%d.%d.0", i/100, i/10%10, i%10))
		at := first.Add(time.Duration(i) * time.Hour).Format(time.RFC3339)
		doc.Versions = append(doc.Versions, v.With("time", at).With("published-time", at))
	}
	w.up.SetDocument(name, doc.Encode())
	w.want("/p2/"+name+".json", http.StatusOK, missed)
	n := 0
	for b.Loop() {
		n++
		at := first.Add(1500*time.Hour + time.Duration(n)*time.Second).Format(time.RFC3339)
		r := httptest.NewRequest(http.MethodGet, "/snapshot/"+at+"/p2/"+name+".json", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		s := &sink{h: http.Header{}}
		if w.h.ServeHTTP(s, r); s.status != 0 && s.status != http.StatusOK {
			b.Fatalf("%d %v", s.status, s.h)
		}
	}
}
