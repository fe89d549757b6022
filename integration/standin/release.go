package standin

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Release describes a version to publish. Only Name and Version are needed.
type Release struct {
	Name, Version string
	Normalized    string    // computed from Version when empty
	Time          time.Time // the stand-in's clock when zero
	Type          string    // "library" when empty; "metapackage" has no archive
	Description   string
	Require       map[string]string
	Provide       map[string]string
	Conflict      map[string]string

	// Reference is the commit; made up from name, version and Salt when empty.
	Reference   string
	NoReference bool   // the dist names no commit
	Salt        string // changes the made-up commit and the content

	// Dist is how the archive is offered: "zip" (behind the API's redirect, the
	// default), "direct" (a zip without redirect), "tar", "tar.gz", "null"
	// (source only), or "none".
	Dist     string
	Shasum   bool // publish the archive's SHA-1
	NoSource bool

	Files map[string]string // further files in the archive
	Size  int64             // bytes of incompressible filler in the archive

	Default bool           // "default-branch": true
	Extra   map[string]any // further version keys, written in the order of their names
}

// Published tells what a release became.
type Published struct {
	Reference string
	DistURL   string
	Archive   []byte
}

// Publish adds a version, or replaces the one of the same name: that is a
// re-tag when it has been tagged before, a push when it is a branch.
func (s *Server) Publish(r Release) Published {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Normalized == "" {
		r.Normalized = Normalize(r.Version)
	}
	if r.Time.IsZero() {
		r.Time = s.now()
	}
	if r.Type == "" {
		r.Type = "library"
	}
	if r.Reference == "" && !r.NoReference {
		r.Reference = MadeReference(r.Name, r.Version, r.Salt)
	}
	out := s.addArchive(r)
	version := r.object(out)
	s.edit(r.Name, isDev(r.Normalized), func(d *Document) {
		for i, v := range d.Versions {
			if v.Text("version") == r.Version {
				d.Versions[i] = version
				return
			}
		}
		d.Versions = append([]Object{version}, d.Versions...)
	})
	return out
}

// MadeReference is the commit a release gets that names none.
func MadeReference(name, version, salt string) string {
	sum := sha1.Sum([]byte(name + "@" + version + "#" + salt))
	return hex.EncodeToString(sum[:])
}

// AddCommit makes the archive of a commit that no version names, as a user
// pins with dev-main#<commit>.
func (s *Server) AddCommit(r Release) Published {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addArchive(r)
}

// SetArchive serves body for a commit of a repository ("owner/repo").
func (s *Server) SetArchive(repo, reference string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(repo+"/"+reference, body)
}

// RemoveArchive makes the origin forget the archive of a commit.
func (s *Server) RemoveArchive(repo, reference string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.reg.archives, repo+"/"+reference)
}

func (s *Server) keep(key string, body []byte) {
	s.reg.archives[key] = func() ([]byte, error) { return body, nil }
}

// addArchive makes and keeps the archive of a release and says where it is.
func (s *Server) addArchive(r Release) Published {
	out := Published{Reference: r.Reference}
	if r.Type == "metapackage" {
		return out
	}
	short := r.Reference
	if len(short) > 7 {
		short = short[:7]
	}
	root := strings.ReplaceAll(r.Name, "/", "-") + "-" + strings.ReplaceAll(short, "/", "-") + "/"
	base := strings.Split(r.Name, "/")[1]
	files := map[string]string{
		root + "composer.json": string(encode(map[string]any{"name": r.Name, "type": r.Type, "autoload": map[string]any{"psr-4": map[string]string{studly(r.Name) + "\\": "src/"}}})),
		root + "README.md":     fmt.Sprintf("# %s %s\n", r.Name, r.Version),
		root + "src/Thing.php": fmt.Sprintf("<?php\n\nnamespace %s;\n\n// %s of %s %s %s\nfinal class Thing\n{\n}\n", studly(r.Name), r.Reference, base, r.Version, r.Salt),
	}
	for name, content := range r.Files {
		files[root+name] = content
	}
	if r.Size > 0 {
		files[root+"data.bin"] = noise(r.Name+r.Version+r.Salt, r.Size)
	}
	ref := url.PathEscape(r.Reference)
	if ref == "" {
		ref = "HEAD-" + url.PathEscape(strings.ReplaceAll(r.Version, "/", "-"))
	}
	key := r.Name + "/" + r.Reference
	switch r.Dist {
	case "", "zip", "direct":
		out.Archive = Zip(files)
		out.DistURL = s.url + "/repos/" + r.Name + "/zipball/" + ref
		if r.Dist == "direct" || r.Reference == "" {
			key = "dl/" + r.Name + "/" + ref + ".zip"
			out.DistURL = s.archiveURL + "/" + key
		}
	case "tar", "tar.gz":
		out.Archive = Tar(files)
		if r.Dist == "tar.gz" {
			out.Archive = Gzip(out.Archive)
		}
		key = "dl/" + r.Name + "/" + ref + "." + r.Dist
		out.DistURL = s.archiveURL + "/" + key
	case "null", "none":
		return out
	default:
		panic(fmt.Sprintf("standin: %q is no way to offer an archive", r.Dist))
	}
	s.keep(key, out.Archive)
	return out
}

// object writes the version in the key order Packagist uses.
func (r Release) object(p Published) Object {
	v := Object{}
	add := func(key string, value any) { v = append(v, Member{key, encode(value)}) }
	add("name", r.Name)
	add("description", r.Description)
	add("keywords", []string{})
	add("homepage", "")
	add("version", r.Version)
	add("version_normalized", r.Normalized)
	add("license", []string{"MIT"})
	add("authors", []any{})
	if r.Type != "metapackage" && !r.NoSource {
		add("source", Object{{"type", encode("git")}, {"url", encode("https://github.com/" + r.Name + ".git")}, {"reference", encode(r.Reference)}})
	}
	switch {
	case r.Type == "metapackage" || r.Dist == "none":
	case r.Dist == "null":
		add("dist", nil)
	default:
		kind := "zip"
		if strings.HasPrefix(r.Dist, "tar") {
			kind = "tar"
		}
		shasum := ""
		if r.Shasum {
			sum := sha1.Sum(p.Archive)
			shasum = hex.EncodeToString(sum[:])
		}
		add("dist", Object{{"type", encode(kind)}, {"url", encode(p.DistURL)}, {"reference", encode(r.Reference)}, {"shasum", encode(shasum)}})
	}
	add("type", r.Type)
	add("support", Object{{"source", encode("https://github.com/" + r.Name + "/tree/" + r.Version)}})
	add("funding", []any{})
	add("time", r.Time.UTC().Format(time.RFC3339))
	if r.Type != "metapackage" {
		add("autoload", Object{{"psr-4", encode(Object{{studly(r.Name) + "\\", encode("src/")}})}})
	}
	for _, links := range []struct {
		key string
		of  map[string]string
	}{{"require", r.Require}, {"provide", r.Provide}, {"conflict", r.Conflict}} {
		if len(links.of) > 0 {
			add(links.key, maps.Clone(links.of))
		}
	}
	if r.Default {
		add("default-branch", true)
	}
	for _, key := range sortedKeys(r.Extra) {
		v = v.Without(key)
		add(key, r.Extra[key])
	}
	return v
}

var (
	tagged = regexp.MustCompile(`^v?(\d+)(\.\d+)?(\.\d+)?(\.\d+)?(?:-?(alpha|beta|RC|patch)\.?(\d*))?$`)
	branch = regexp.MustCompile(`^v?(\d+)((?:\.(?:\d+|x))*)-dev$`)
)

// Normalize gives the canonical form of the version names the made packages
// use: tags, numeric branches and dev- branches.
func Normalize(version string) string {
	if m := tagged.FindStringSubmatch(version); m != nil {
		out := m[1]
		for _, part := range m[2:5] {
			if part == "" {
				part = ".0"
			}
			out += part
		}
		if m[5] != "" {
			out += "-" + m[5] + m[6]
		}
		return out
	}
	if m := branch.FindStringSubmatch(version); m != nil {
		parts := strings.Split(m[1]+m[2], ".")
		for len(parts) < 4 {
			parts = append(parts, "x")
		}
		return strings.ReplaceAll(strings.Join(parts[:4], "."), "x", "9999999") + "-dev"
	}
	return version
}

func isDev(normalized string) bool {
	return strings.HasPrefix(normalized, "dev-") || strings.HasSuffix(normalized, "-dev")
}

// studly makes a PHP namespace of a package name.
func studly(name string) string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("/-_.", r) })
	for i, p := range parts {
		parts[i] = strings.ToUpper(p[:1]) + p[1:]
	}
	return strings.Join(parts, "\\")
}
