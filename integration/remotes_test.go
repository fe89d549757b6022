package integration_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// sites is a host of other Composer repositories, one below each folder, each
// with credentials of its own.
type sites struct {
	mu     sync.Mutex
	files  map[string][]byte // by path; guarded by mu
	wrong  []string          // requests with the credentials of another site; guarded by mu
	server *httptest.Server
}

func newSites(t *testing.T) *sites {
	s := &sites{files: map[string][]byte{}}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	return s
}

func (s *sites) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	site := strings.Split(r.URL.Path, "/")[1]
	user, password, given := r.BasicAuth()
	s.mu.Lock()
	defer s.mu.Unlock()
	body, ok := s.files[r.URL.Path]
	switch {
	case given && (user != site || password != "secret of "+site):
		s.wrong = append(s.wrong, user+" at "+r.URL.Path)
		w.WriteHeader(http.StatusForbidden)
	case !given:
		w.Header().Set("WWW-Authenticate", "Basic realm="+site)
		w.WriteHeader(http.StatusUnauthorized)
	case !ok:
		http.NotFound(w, r)
	default:
		_, _ = w.Write(body)
	}
}

func (s *sites) put(path string, v any) []byte {
	body, isBytes := v.([]byte)
	if !isBytes {
		var err error
		if body, err = json.Marshal(v); err != nil {
			panic(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = body
	return body
}

type dict = map[string]any

// version is a version of a package below a site, whose archive is published.
func (s *sites) version(t *testing.T, site, name, needs string) dict {
	t.Helper()
	class := strings.ToUpper(site[:1]) + site[1:]
	zip := upload(t, "composer.json", fmt.Sprintf(`{"name":%q}`, name), "src/"+class+".php", "<?php\nnamespace Sites;\nclass "+class+" {}\n")
	sum := sha1.Sum(zip)
	path := "/" + site + "/dist/" + site + ".zip"
	s.put(path, zip)
	return dict{
		"name": name, "version": "1.0.0", "version_normalized": "1.0.0.0", "type": "library",
		"require": dict{needs: "^1.0"}, "autoload": dict{"psr-4": dict{"Sites\\": "src/"}},
		"dist": dict{"type": "zip", "url": s.server.URL + path, "reference": hex.EncodeToString(sum[:]), "shasum": hex.EncodeToString(sum[:])},
	}
}

// Composer installs from Stasis what Satis, a repository of hashed files and
// one of lazy files have, behind credentials, together with what is public: one
// repositories entry for all of it, also when those repositories are down.
func TestPackagesOfOtherRepositoriesAreInstalledTogether(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		st, d := pair(t, "ENCRYPTION_KEY="+strings.Repeat("0a", 32))
		made(st)
		s := newSites(t)

		// Satis as it writes its files now, for both generations of Composer.
		one := s.version(t, "satis", "satis-corp/one", "include-corp/two")
		s.put("/satis/p2/satis-corp/one.json", dict{"packages": dict{"satis-corp/one": []any{one}}})
		s.put("/satis/p2/satis-corp/one~dev.json", dict{"packages": dict{"satis-corp/one": []any{}}})
		all := s.put("/satis/include/all.json", dict{"packages": dict{"satis-corp/one": dict{"1.0.0": one}}})
		s.put("/satis/packages.json", dict{
			"packages": []any{}, "metadata-url": "/satis/p2/%package%.json", "available-packages": []string{"satis-corp/one"},
			"includes": dict{"include/all.json": dict{"sha1": hex.EncodeToString(sum1(all))}},
		})
		// Satis as it was, with nothing but included files.
		two := s.version(t, "includes", "include-corp/two", "hashed-corp/three")
		all = s.put("/includes/include/all.json", dict{"packages": dict{"include-corp/two": dict{"1.0.0": two}}})
		s.put("/includes/packages.json", dict{"packages": []any{}, "includes": dict{"include/all.json": dict{"sha1": hex.EncodeToString(sum1(all))}}})
		// What Packagist was for Composer 1.
		three := s.version(t, "hashed", "hashed-corp/three", "lazy-corp/four")
		document := fmt.Appendf(nil, `{"packages":{"hashed-corp/three":{"1.0.0":%s}}}`, s.put("/hashed/unused", three))
		s.put("/hashed/p/hashed-corp/three$"+sum256(document)+".json", document)
		listing := fmt.Appendf(nil, `{"providers":{"hashed-corp/three":{"sha256":%q}}}`, sum256(document))
		s.put("/hashed/p/latest$"+sum256(listing)+".json", listing)
		s.put("/hashed/packages.json", dict{
			"packages": []any{}, "providers-url": "/hashed/p/%package%$%hash%.json",
			"provider-includes": dict{"p/latest$%hash%.json": dict{"sha256": sum256(listing)}},
		})
		// Files without an index.
		four := s.version(t, "lazy", "lazy-corp/four", "acme/b")
		s.put("/lazy/p/lazy-corp/four.json", dict{"packages": dict{"lazy-corp/four": dict{"1.0.0": four}}})
		s.put("/lazy/packages.json", dict{"packages": []any{}, "providers-lazy-url": "/lazy/p/%package%.json"})

		for site, vendor := range map[string]string{"satis": "satis-corp/*", "includes": "include-corp/*", "hashed": "hashed-corp/*", "lazy": "lazy-corp/*"} {
			above[sourceAnswer](d, http.MethodPost, "sources", dict{
				"type": "composer", "name": site, "url": s.server.URL + "/" + site, "packages": []string{vendor},
				"credentials": dict{"username": site, "password": "secret of " + site},
			})
		}
		c := clientOf(t, command, d.url)
		if out, err := c.try(project(t, requiring("satis-corp/one", "^1.0")), "update", "--no-progress"); err == nil {
			t.Errorf("without a token private packages were installed:\n%s", out)
		}
		c.authorize(d, d.token(dict{"name": "ci", "role": "read"}))
		dir := c.locked(requiring("satis-corp/one", "^1.0", "acme/a", "^1.0"))
		locked := []string{"satis-corp/one 1.0.0", "include-corp/two 1.0.0", "hashed-corp/three 1.0.0", "lazy-corp/four 1.0.0", "acme/a v1.1.0", "acme/b 1.1.0"}
		expectLocked(t, "from five repositories", dir, locked...)
		lock := string(read(t, filepath.Join(dir, "composer.lock")))
		if strings.Contains(lock, s.server.URL) || strings.Contains(lock, "secret") {
			t.Errorf("the lock leads past Stasis:\n%s", lock)
		}
		for _, file := range []string{"satis-corp/one/src/Satis.php", "include-corp/two/src/Includes.php", "hashed-corp/three/src/Hashed.php", "lazy-corp/four/src/Lazy.php"} {
			if _, err := os.Stat(filepath.Join(dir, "vendor", file)); err != nil {
				t.Error(err)
			}
		}
		s.mu.Lock()
		if len(s.wrong) > 0 {
			t.Errorf("credentials went to a repository that they are not for: %q", s.wrong)
		}
		s.mu.Unlock()
		if asked := requestsAbout(st, "-corp"); len(asked) > 0 {
			t.Errorf("the public registry was asked about private packages: %v", asked)
		}

		// The repositories go down, and Stasis starts anew.
		s.server.Close()
		st.Down()
		d.restart()
		c.cool()
		if err := os.RemoveAll(filepath.Join(dir, "vendor")); err != nil {
			t.Fatal(err)
		}
		c.run(dir, "install", "--no-progress")
		expectLocked(t, "with everything down", c.locked(requiring("satis-corp/one", "^1.0", "acme/a", "^1.0")), locked...)
	})
}

func sum1(b []byte) []byte {
	sum := sha1.Sum(b)
	return sum[:]
}

func sum256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
