package git

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"
)

// objects reads objects out of a mirror through one git process that stays (cat-file
// --batch-command). Not safe for concurrent use.
type objects struct {
	in    io.Writer
	out   *bufio.Reader
	ahead map[string]object // what was asked for in advance, by question
}

// withObjects runs read with access to the mirror's objects.
func (r *Repository) withObjects(ctx context.Context, read func(o *objects) error) error {
	c := call{dir: r.dir, args: []string{"cat-file", "--batch-command"}}
	return r.git.run(ctx, c, func(in io.WriteCloser, out io.Reader) error {
		return read(&objects{in: in, out: bufio.NewReaderSize(out, 64<<10)})
	})
}

// object is one object of a repository.
type object struct {
	id, kind string // kind is commit, tree, blob or tag
	size     int64
	data     []byte
}

// sizeError says that an object is larger than its reader wants to see.
type sizeError struct{ size, most int64 }

func (e *sizeError) Error() string {
	return fmt.Sprintf("it has %d bytes, more than the %d allowed", e.size, e.most)
}

// The two questions. A spec is an id, or an id, a colon and a path.
const (
	info     = "info "     // describes an object without its data
	contents = "contents " // has its data too
)

// get answers one question about an object, of which at most so many bytes of data are wanted. The
// error matches fs.ErrNotExist when there is no such object.
func (o *objects) get(question, spec string, most int64) (object, error) {
	if got, ok := o.ahead[question+spec]; ok && got.size <= most {
		return got, nil
	}
	if strings.ContainsAny(spec, "\n\x00") {
		return object{}, fs.ErrNotExist // nothing that is asked for by line has such a name
	}
	if _, err := io.WriteString(o.in, question+spec+"\n"); err != nil {
		return object{}, io.ErrUnexpectedEOF // git is gone, and says itself why
	}
	return o.answer(question, most)
}

// maxAhead bounds each of the objects that are held in advance, in bytes.
const maxAhead = 64 << 10

// prefetch asks the same question about many objects without waiting for each answer, which is most of
// what an answer costs, and holds the answers until the next forget. What is missing or large is left
// to be asked for again. The specs are ids.
func (o *objects) prefetch(question string, ids []string) error {
	var sent sync.WaitGroup
	sent.Go(func() {
		w := bufio.NewWriter(o.in)
		for _, id := range ids {
			_, _ = w.WriteString(question + id + "\n")
		}
		_ = w.Flush() // or the answers end early
	})
	for _, id := range ids {
		got, err := o.answer(question, maxAhead)
		var large *sizeError
		switch {
		case err == nil:
			o.ahead[question+id] = got
		case !errors.Is(err, fs.ErrNotExist) && !errors.As(err, &large):
			return err
		}
	}
	sent.Wait()
	return nil
}

// forget lets go of what was asked for in advance.
func (o *objects) forget() { o.ahead = map[string]object{} }

// answer reads git's next answer.
func (o *objects) answer(question string, most int64) (object, error) {
	line, err := o.out.ReadString('\n')
	if err != nil {
		return object{}, err
	}
	line = strings.TrimSuffix(line, "\n")
	if strings.HasSuffix(line, " missing") || strings.HasSuffix(line, " ambiguous") {
		return object{}, fs.ErrNotExist
	}
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return object{}, fmt.Errorf("git answers %.80q when asked for an object", line)
	}
	got := object{id: fields[0], kind: fields[1]}
	if got.size, err = strconv.ParseInt(fields[2], 10, 64); err != nil || got.size < 0 {
		return object{}, fmt.Errorf("git answers %.80q when asked for an object", line)
	}
	if question == info {
		return got, nil
	}
	if got.size > most {
		if _, err := io.CopyN(io.Discard, o.out, got.size+1); err != nil {
			return object{}, err
		}
		return object{}, &sizeError{got.size, most}
	}
	got.data = make([]byte, got.size+1)
	if _, err := io.ReadFull(o.out, got.data); err != nil {
		return object{}, err
	}
	got.data = got.data[:got.size] // what follows is the end of the line
	return got, nil
}

// blob reads a file's content. Its size is asked for first, because what is too large must be left
// unread.
func (o *objects) blob(spec string, most int64) (object, error) {
	got, err := o.get(info, spec, most)
	switch {
	case err != nil:
		return object{}, err
	case got.kind != "blob":
		return object{}, fs.ErrNotExist
	case got.size > most:
		return object{}, &sizeError{got.size, most}
	}
	return o.get(contents, got.id, most)
}

// Limits of what is read whole, in bytes. Commits have some hundred, and folders some forty for each
// name.
const (
	maxCommit = 1 << 20
	maxTree   = 8 << 20
)

// commit is what counts of a commit.
type commit struct {
	tree string
	time time.Time // of the committer
}

var errNoCommit = errors.New("it does not lead to a commit")

func (o *objects) commit(id string) (commit, error) {
	got, err := o.get(contents, id, maxCommit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return commit{}, errors.New("its commit is missing from the mirror")
	case err != nil:
		return commit{}, err
	case got.kind != "commit":
		return commit{}, errNoCommit
	}
	return parseCommit(got.data), nil
}

func parseCommit(data []byte) (c commit) {
	for line := range bytes.Lines(data) {
		key, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch key {
		case "":
			return c // the message begins
		case "tree":
			c.tree = value
		case "committer":
			c.time = timeOf(value)
		}
	}
	return c
}

// timeOf reads the time at the end of "Name <address> seconds zone". What is no time, as in some
// damaged histories, is the beginning of time.
func timeOf(committer string) time.Time {
	fields := strings.Fields(committer[strings.LastIndexByte(committer, '>')+1:])
	if len(fields) == 0 {
		return time.Unix(0, 0).UTC()
	}
	seconds, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil || seconds < 0 || seconds > maxSeconds {
		seconds = 0
	}
	return time.Unix(seconds, 0).UTC()
}

// maxSeconds is the end of the year 9999, the last that fits the formats times are written in.
const maxSeconds = 253402300799

// treeEntry is one name in a folder.
type treeEntry struct{ mode, name, id string }

func (e treeEntry) isFolder() bool { return e.mode == "40000" }
func (e treeEntry) isFile() bool   { return strings.HasPrefix(e.mode, "100") }

// tree is one folder, in git's order.
type tree []treeEntry

func (t tree) find(name string) (treeEntry, bool) {
	for _, e := range t {
		if e.name == name {
			return e, true
		}
	}
	return treeEntry{}, false
}

func (o *objects) tree(id string) (tree, error) {
	got, err := o.get(contents, id, maxTree)
	if err != nil {
		return nil, err
	}
	if got.kind != "tree" {
		return nil, errors.New("it has a folder that is none")
	}
	return parseTree(got.data)
}

// parseTree reads "mode name\0" and the 20 bytes of an id, again and again.
func parseTree(b []byte) (tree, error) {
	const idSize = 20
	var t tree
	for len(b) > 0 {
		head, rest, ok := bytes.Cut(b, []byte{0})
		mode, name, spaced := strings.Cut(string(head), " ")
		if !ok || !spaced || len(rest) < idSize {
			return nil, errors.New("it has a damaged folder")
		}
		t = append(t, treeEntry{mode: strings.TrimLeft(mode, "0"), name: name, id: hex.EncodeToString(rest[:idSize])})
		b = rest[idSize:]
	}
	return t, nil
}
