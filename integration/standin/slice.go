package standin

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// SliceDir finds the real slice of the registry: shared/packagist beside the
// repository. It reports false when it is not there.
func SliceDir() (string, bool) {
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			slice := filepath.Join(filepath.Dir(dir), "shared", "packagist")
			info, err := os.Stat(filepath.Join(slice, "p2"))
			return slice, err == nil && info.IsDir()
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}

// LoadSlice fills the registry with the slice at dir: its documents, with the
// GitHub API's origin replaced by the stand-in's, its archives, read from disk
// when asked for, and its advisories, which the documents carry as well. Every
// document's Last-Modified is the newest time in it. Nothing is announced.
func (s *Server) LoadSlice(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if body, err := os.ReadFile(filepath.Join(dir, "security-advisories.json")); err == nil {
		if err := s.loadAdvisories(body); err != nil {
			return fmt.Errorf("the slice's advisories cannot be read: %w", err)
		}
	}
	documents := filepath.Join(dir, "p2")
	err := filepath.WalkDir(documents, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(documents, path)
		if err != nil {
			return err
		}
		file := strings.TrimSuffix(filepath.ToSlash(rel), ".json")
		body = bytes.ReplaceAll(body, []byte("https://api.github.com/"), []byte(s.url+"/"))
		if !strings.HasSuffix(file, "~dev") {
			body = append(bytes.TrimSuffix(body, []byte("}")), `,"security-advisories":`+string(encode(s.short(file)))+"}"...)
		}
		s.reg.real[file] = body
		s.reg.files[file] = &state{body: body, modified: newestTime(body)}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the slice's documents cannot be read: %w", err)
	}
	archives := filepath.Join(dir, "zipball")
	err = filepath.WalkDir(archives, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(archives, path)
		if err != nil {
			return err
		}
		s.reg.archives[strings.TrimSuffix(filepath.ToSlash(rel), ".zip")] = func() ([]byte, error) { return os.ReadFile(path) }
		return nil
	})
	if err != nil {
		return fmt.Errorf("the slice's archives cannot be read: %w", err)
	}
	return nil
}

// AsOf turns every document of the slice into what it was at a moment: the
// versions whose time is not later. Files that change are announced. The zero
// time brings the whole slice back.
func (s *Server) AsOf(at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.reg.real) == 0 {
		return errors.New("the stand-in has no slice to look back in")
	}
	for _, file := range sortedKeys(s.reg.real) {
		body := s.reg.real[file]
		if !at.IsZero() {
			doc, err := ParseDocument(body, strings.TrimSuffix(file, "~dev"))
			if err != nil {
				return err
			}
			var kept []Object
			for _, v := range doc.Versions {
				if t, err := time.Parse(time.RFC3339, v.Text("time")); err == nil && !t.After(at) {
					kept = append(kept, v)
				}
			}
			doc.Versions = kept
			body = doc.Encode()
		}
		s.set(file, body)
	}
	return nil
}

// newestTime finds the largest "time" in a document without taking it apart.
func newestTime(body []byte) time.Time {
	key := []byte(`"time":"`)
	newest := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for {
		i := bytes.Index(body, key)
		if i < 0 {
			return newest
		}
		body = body[i+len(key):]
		end := bytes.IndexByte(body, '"')
		if end < 0 {
			return newest
		}
		if t, err := time.Parse(time.RFC3339, string(body[:end])); err == nil && t.After(newest) {
			newest = t.UTC()
		}
	}
}

// Modified returns a file's Last-Modified, or the zero time.
func (s *Server) Modified(file string) time.Time {
	_, text := s.Document(file)
	t, _ := http.ParseTime(text)
	return t
}
