package composer

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// distPrefix is where archives lie below the base of the proxy.
const distPrefix = "/dist-proxy/"

// ReferenceKey is what Composer puts for %reference%: the reference when it is lower-case hexadecimal or empty, else its MD5.
func ReferenceKey(ref string) string {
	if isHex(ref) || ref == "%reference%" {
		return ref
	}
	return md5Hex(ref)
}

// VersionKey is what Composer puts for %version%: the normalized version, or its MD5 when it holds a slash.
func VersionKey(normalized string) string {
	if strings.Contains(normalized, "/") {
		return md5Hex(normalized)
	}
	return normalized
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func isHex(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) && (s[i] < 'a' || 'f' < s[i]) {
			return false
		}
	}
	return true
}

// ExpandTemplate fills the placeholders of a mirror's dist-url, or of a dist.url, exactly as Composer does: one after the
// other and without escaping. Reference and type are those of v.Dist.
func ExpandTemplate(tmpl string, n Name, v Version) string {
	if !strings.Contains(tmpl, "%") {
		return tmpl
	}
	var dist Dist
	if v.Dist != nil {
		dist = *v.Dist
	}
	for _, p := range [...][2]string{
		{"%package%", n.full},
		{"%version%", VersionKey(v.Normalized)},
		{"%reference%", ReferenceKey(dist.Reference)},
		{"%type%", dist.Type},
		{"%prettyVersion%", v.Pretty},
	} {
		tmpl = strings.ReplaceAll(tmpl, p[0], p[1])
	}
	return tmpl
}

// Origins lists the addresses of the archive of v in the order in which Composer tries them: its own, then one mirror after
// the other, a preferred one in front of all so far and any other behind. Placeholders are filled in.
func Origins(n Name, v Version) []string {
	if v.Dist == nil || v.Dist.URL == "" {
		return nil
	}
	urls := []string{ExpandTemplate(v.Dist.URL, n, v)}
	for _, m := range v.Dist.Mirrors {
		switch url := ExpandTemplate(m.DistURL, n, v); {
		case slices.Contains(urls, url):
		case m.Preferred:
			urls = slices.Insert(urls, 0, url)
		default:
			urls = append(urls, url)
		}
	}
	return urls
}

// DistTemplate is the address of archives of one kind below base, with placeholders that Composer 2.1 and later fill in.
// Composer names the downloaded file after the extension that it finds before filling them in. For zip archives any will
// do; a tar or phar archive is only opened under an extension that PHP recognises, so that one is spelt out, taken from
// the original address where it says which.
func DistTemplate(base string, typ, originalURL string) string {
	ext := "%type%"
	if typ == "tar" || typ == "phar" {
		ext = extension(typ, originalURL)
	}
	return strings.TrimRight(base, "/") + distPrefix + "%package%/%version%/%reference%." + ext
}

// VersionTemplate is DistTemplate for one version. A version in which Composer would put characters into the address that
// end its path stands in the template already, escaped.
func VersionTemplate(base string, v Version) string {
	if v.Dist == nil {
		return ""
	}
	tmpl := DistTemplate(base, v.Dist.Type, v.Dist.URL)
	if version := VersionKey(v.Normalized); strings.ContainsAny(version, "#?% ") {
		head, tail, _ := strings.Cut(tmpl[len(base):], "%version%")
		tmpl = tmpl[:len(base)] + head + url.PathEscape(version) + tail
	}
	return tmpl
}

// DistURL is the address of the archive of one version, with nothing left to fill in, as Composer 2.0 needs it.
// A version without an archive has none.
func DistURL(base string, n Name, v Version) string {
	if v.Dist == nil {
		return ""
	}
	version := v.Normalized
	if version == "" {
		version = v.Pretty
	}
	return strings.TrimRight(base, "/") + distPrefix + n.full + "/" + url.PathEscape(VersionKey(version)) + "/" +
		ReferenceKey(v.Dist.Reference) + "." + extension(v.Dist.Type, v.Dist.URL)
}

// tarExtensions are those under which PHP opens a tar archive, longest first where one ends in another.
var tarExtensions = [...]string{"tar.gz", "tgz", "tar.bz2", "tbz2", "tar.xz", "txz", "tar"}

func extension(typ, originalURL string) string {
	if typ != "tar" {
		return typ
	}
	path, _, _ := strings.Cut(originalURL, "#")
	path, _, _ = strings.Cut(path, "?")
	path = lowerASCII(path)
	for _, ext := range tarExtensions {
		if strings.HasSuffix(path, "."+ext) {
			return ext
		}
	}
	return "tar"
}

// DistRequest says which archive a client asks for. Version and Reference are as they stand in the address: Version may be
// normalized, as the author wrote it, or a VersionKey; Reference is a ReferenceKey and may be empty.
// Type is the extension: the type of the dist, or for tar archives which kind of tar.
type DistRequest struct {
	Name                     Name
	Version, Reference, Type string
}

// Bounds on what ParseDistPath believes: a branch name is a path in the .git folder, a reference a hash.
const (
	maxVersion   = 255
	maxReference = 128
)

// ParseDistPath reads what follows "/dist-proxy/" in the path of an address, percent-decoded once:
// "vendor/package/version/reference.type", in which the version may hold slashes.
func ParseDistPath(rest string) (DistRequest, error) {
	r, err := parseDistPath(rest)
	if err != nil {
		return DistRequest{}, fmt.Errorf("not the path of an archive: %w", err)
	}
	return r, nil
}

func parseDistPath(rest string) (r DistRequest, err error) {
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 3 {
		return r, errors.New("it has too few parts")
	}
	if r.Name, err = ParseName(parts[0] + "/" + parts[1]); err != nil {
		return r, err
	}
	slash := strings.LastIndexByte(parts[2], '/')
	if slash < 0 {
		return r, errors.New("it has too few parts")
	}
	r.Version = parts[2][:slash]
	if err := checkVersionPath(r.Version); err != nil {
		return r, err
	}
	var ok bool
	if r.Reference, r.Type, ok = strings.Cut(parts[2][slash+1:], "."); !ok {
		return r, errors.New("it has no type")
	}
	if !isHex(r.Reference) || len(r.Reference) > maxReference {
		return r, errors.New("its reference is not lower-case hexadecimal")
	}
	if !distType(r.Type) {
		return r, fmt.Errorf("there are no archives of type %q", r.Type)
	}
	return r, nil
}

func checkVersionPath(version string) error {
	if len(version) > maxVersion {
		return errors.New("its version is too long")
	}
	if !utf8.ValidString(version) {
		return errors.New("its version is not UTF-8")
	}
	for part := range strings.SplitSeq(version, "/") {
		// Git allows no such component in a branch name, and a file system gives some of them a meaning.
		if part == "" || part[0] == '.' {
			return fmt.Errorf("its version has a part %q", part)
		}
	}
	for i := range len(version) {
		if c := version[i]; c < 0x20 || c == 0x7f || c == '\\' {
			return fmt.Errorf("its version holds %q", c)
		}
	}
	return nil
}

func distType(typ string) bool {
	switch typ {
	case "zip", "gzip", "xz", "rar", "phar":
		return true
	}
	for _, ext := range tarExtensions {
		if typ == ext {
			return true
		}
	}
	return false
}
