package composer

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Rewrite returns doc with the dist.url of its versions replaced by what distURL answers; where distURL says no, and where
// a version has no archive or one that lies on the client's own disk, the dist stays as it is. Nothing else changes: the
// new address is put in place of the old one in the text of the dist.
//
// The list is not expanded. In a minified document a version that inherits the dist of the one before gets a dist of its
// own only if distURL gives it another address. With its own address, a dist loses its mirrors: clients that are led here
// are not to know of them.
func Rewrite(doc *Document, distURL func(v Version) (string, bool)) *Document {
	out := *doc
	out.Versions = make([]Object, len(doc.Versions))
	var before json.RawMessage // the rewritten dist of the previous version
	var parts scanner
	_ = doc.walk(&summary{}, func(i int, v *Version, state Object) error {
		element := doc.Versions[i]
		dist := state.Get("dist")
		after := dist
		if v.Dist != nil && remote(v.Dist) {
			if url, ok := distURL(*v); ok && url != v.Dist.URL {
				after = parts.replaceURL(withoutMirrors(dist, v.Dist), url)
			}
		}
		switch at := element.find("dist"); {
		case at >= 0 && len(dist) > 0 && !bytes.Equal(element[at].Value, after):
			element = slices.Clone(element)
			element[at].Value = after
		case at < 0 && len(dist) > 0 && !bytes.Equal(before, after):
			element = element.With("dist", after)
		}
		out.Versions[i], before = element, after
		return nil
	})
	return &out
}

// remote reports whether an archive is fetched over the network by clients.
func remote(d *Dist) bool {
	if d.Type == "path" || d.Type == "file" {
		return false
	}
	scheme, _, ok := strings.Cut(d.URL, "://")
	return ok && (strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "http") || scheme == localScheme)
}

func withoutMirrors(dist json.RawMessage, d *Dist) json.RawMessage {
	if len(d.Mirrors) == 0 {
		return dist
	}
	return parseObject(dist).Without("mirrors").append(nil)
}

// LocalScheme begins the dist URLs of archives that Stasis itself has made or been given. They are recorded with the
// documents and never shown to clients.
const LocalScheme = localScheme + "://"

const localScheme = "stasis"

// replaceURL replaces the url in the text of a dist that has one; if it has several, the last, which is the one that counts.
func (s *scanner) replaceURL(dist json.RawMessage, url string) json.RawMessage {
	var start, end int
	s.each(dist, func(key string, value json.RawMessage) {
		if key == "url" {
			start, end = s.pos-len(value), s.pos
		}
	})
	out := make([]byte, 0, len(dist)-(end-start)+len(url)+2)
	out = append(out, dist[:start]...)
	out = appendQuoted(out, url)
	return append(out, dist[end:]...)
}
