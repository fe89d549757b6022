package standin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// state is one version of one p2 file as it was served.
type state struct {
	body     []byte
	modified time.Time
	gz       []byte // made on first use
	first    Object // the first version, likewise
}

// action is one entry of the change feed; stamp counts 100 µs since 1970.
type action struct {
	stamp int64
	Type  string `json:"type"`
	Name  string `json:"package"`
	Time  int64  `json:"time"`
}

// registry is what the stand-in knows. The server's mutex guards it.
type registry struct {
	files    map[string]*state   // "v/n" and "v/n~dev"; other documents by their path
	past     map[string][]*state // earlier states of a file, oldest first
	real     map[string][]byte   // the slice as loaded, the truth AsOf filters
	archives map[string]func() ([]byte, error)
	feed     []action
	stamp    int64 // newest stamp given out
	horizon  int64 // the feed remembers nothing before this stamp

	advisories map[string][]Object
	filter     map[string]map[string][]Object // list, package, entries
	deleted    map[string][2]*state
	notified   []json.RawMessage
}

func newRegistry() registry {
	return registry{
		files: map[string]*state{}, past: map[string][]*state{}, real: map[string][]byte{},
		archives:   map[string]func() ([]byte, error){},
		advisories: map[string][]Object{}, filter: map[string]map[string][]Object{},
		deleted: map[string][2]*state{},
		horizon: oldestSince,
	}
}

// put replaces a file by body and moves its Last-Modified forward by at least
// one second. An equal body changes nothing. It reports whether it moved.
func (s *Server) put(file string, body []byte, at time.Time) bool {
	old := s.reg.files[file]
	if old != nil && string(old.body) == string(body) {
		return false
	}
	at = at.UTC().Truncate(time.Second)
	history := s.reg.past[file]
	if old != nil {
		history = append(history, old)
	}
	if n := len(history); n > 0 && !at.After(history[n-1].modified) {
		at = history[n-1].modified.Add(time.Second)
	}
	s.reg.past[file] = history
	s.reg.files[file] = &state{body: body, modified: at}
	return true
}

// drop forgets a file but keeps its past, so that a recovery gets a newer date.
func (s *Server) drop(file string) {
	if old := s.reg.files[file]; old != nil {
		s.reg.past[file] = append(s.reg.past[file], old)
		delete(s.reg.files, file)
	}
}

// announce appends to the change feed. Stamps are unique and increase.
func (s *Server) announce(kind, name string, at time.Time) {
	stamp := s.now().UnixNano() / 1e5
	if stamp <= s.reg.stamp {
		stamp = s.reg.stamp + 1
	}
	s.reg.stamp = stamp
	if !s.mute {
		s.reg.feed = append(s.reg.feed, action{stamp: stamp, Type: kind, Name: name, Time: at.Unix()})
	}
}

// set puts a file and announces it when it changed.
func (s *Server) set(file string, body []byte) {
	if s.put(file, body, s.now()) {
		s.announce("update", file, s.reg.files[file].modified)
	}
}

// document returns one file taken apart, or an empty one.
func (s *Server) document(name string, dev bool) *Document {
	file := name
	if dev {
		file += "~dev"
	}
	if st := s.reg.files[file]; st != nil {
		if doc, err := ParseDocument(st.body, name); err == nil {
			return doc
		}
	}
	top := Object{{"minified", json.RawMessage(`"composer/2.0"`)}}
	if !dev {
		top = append(top, Member{"security-advisories", json.RawMessage(`[]`)})
	}
	return &Document{Top: top, Name: name}
}

// edit applies fn to the tagged or the dev file of a package and makes sure
// that both files exist, as they do on Packagist.
func (s *Server) edit(name string, dev bool, fn func(*Document)) {
	doc := s.document(name, dev)
	fn(doc)
	file, other := name, name+"~dev"
	if dev {
		file, other = other, file
	}
	s.set(file, doc.Encode())
	if s.reg.files[other] == nil {
		s.set(other, s.document(name, !dev).Encode())
	}
}

// DeleteVersion takes one version out of its file.
func (s *Server) DeleteVersion(name, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.edit(name, isDev(Normalize(version)), func(d *Document) {
		var kept []Object
		for _, v := range d.Versions {
			if v.Text("version") != version {
				kept = append(kept, v)
			}
		}
		d.Versions = kept
	})
}

// Delete removes a package: both files answer 404 from now on.
func (s *Server) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg.deleted[name] = [2]*state{s.reg.files[name], s.reg.files[name+"~dev"]}
	s.drop(name)
	s.drop(name + "~dev")
	s.announce("delete", name, s.now())
}

// Recover brings a deleted package back as it was, under newer dates.
func (s *Server) Recover(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, file := range []string{name, name + "~dev"} {
		if old := s.reg.deleted[name][i]; old != nil {
			s.set(file, old.body)
		}
	}
	delete(s.reg.deleted, name)
}

// Abandon marks every version of a package; replacement may be empty.
func (s *Server) Abandon(name, replacement string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var value any = true
	if replacement != "" {
		value = replacement
	}
	for _, dev := range []bool{false, true} {
		s.edit(name, dev, func(d *Document) {
			for i, v := range d.Versions {
				d.Versions[i] = v.With("abandoned", value)
			}
		})
	}
}

// SetDocument replaces one p2 file ("v/n" or "v/n~dev") by body as it is.
func (s *Server) SetDocument(file string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(file, body)
}

// Rollback serves the file's previous state again, with its previous, older
// Last-Modified, and announces it.
func (s *Server) Rollback(file string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	past := s.reg.past[file]
	if len(past) == 0 {
		return fmt.Errorf("the stand-in has no earlier state of %s", file)
	}
	s.reg.files[file], s.reg.past[file] = past[len(past)-1], past[:len(past)-1]
	s.announce("update", file, s.now())
	return nil
}

// Document returns the body of a p2 file now and its Last-Modified as sent, or
// nil when the stand-in does not know it.
func (s *Server) Document(file string) (body []byte, lastModified string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.reg.files[file]
	if st == nil {
		return nil, ""
	}
	return append([]byte(nil), st.body...), st.modified.Format(http.TimeFormat)
}

// Names lists the packages, sorted.
func (s *Server) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names()
}

func (s *Server) names() []string {
	var out []string
	for _, file := range sortedKeys(s.reg.files) {
		if !strings.HasPrefix(file, "/") && !strings.HasSuffix(file, "~dev") {
			out = append(out, file)
		}
	}
	return out
}

// Mute keeps the changes made from now on out of the feed, as an edge does that
// publishes before it announces, until it is called with false.
func (s *Server) Mute(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = on
}

// ForgetFeed drops the change feed's history, so that an older since is
// answered with a single resync.
func (s *Server) ForgetFeed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announce("forget", "", s.now())
	s.reg.feed = nil
	s.reg.horizon = s.reg.stamp
}
