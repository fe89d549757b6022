package git_test

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"stasis/private/git"
)

// FuzzTree holds what is read of a folder against the form it has in git (gitformat-pack, "tree objects").
func FuzzTree(f *testing.F) {
	id := strings.Repeat("\x01", 20)
	f.Add([]byte("100644 composer.json\x00" + id + "40000 src\x00" + id + "120000 link\x00" + id + "160000 module\x00" + id))
	f.Add([]byte("040000 old\x00" + id))
	f.Add([]byte("100644 \x00" + id))
	f.Add([]byte("100644 cut\x00short"))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, modes, ids, err := git.FolderOf(data)
		if err != nil {
			return
		}
		var again bytes.Buffer
		for i, name := range names {
			raw, err := hex.DecodeString(ids[i])
			if err != nil || len(raw) != 20 || strings.Contains(name, "\x00") {
				t.Fatalf("%q with the id %q", name, ids[i])
			}
			again.WriteString(modes[i] + " " + name + "\x00" + string(raw))
		}
		if without := strings.TrimLeft(string(data), "0"); len(names) == 1 && again.String() != without {
			t.Errorf("%q was read as %q", data, again.Bytes())
		}
		if again.Len() > len(data) {
			t.Errorf("%d bytes became %d", len(data), again.Len())
		}
	})
}

func FuzzCommit(f *testing.F) {
	f.Add([]byte("tree 0123456789012345678901234567890123456789\nauthor A <a@example.org> 1700000000 +0100\ncommitter B <b@example.org> 1700000001 -0500\n\nmessage\ntree x\n"))
	f.Add([]byte("committer > 99999999999999999999 +0000"))
	f.Add([]byte("committer <>>> -1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, at := git.CommitOf(data)
		if strings.ContainsAny(tree, "\n") || at.Year() > 9999 || !at.IsZero() && at.Unix() < 0 {
			t.Errorf("%q: tree %q at %s", data, tree, at)
		}
		header, _, _ := bytes.Cut(data, []byte("\n\n"))
		if tree != "" && !bytes.Contains(header, []byte("tree "+tree)) {
			t.Errorf("%q: the tree %q is not of its header", data, tree)
		}
	})
}

func FuzzListing(f *testing.F) {
	id, other := strings.Repeat("a", 40), strings.Repeat("b", 40)
	f.Add("ref: refs/heads/main\tHEAD\n" + id + "\tHEAD\n" + id + "\trefs/heads/main\n" + other + "\trefs/tags/v1\n" + id + "\trefs/tags/v1^{}\n")
	f.Add(id + " refs/heads/feature/x\n" + id + " refs/pull/1/head\n")
	f.Add(strings.Repeat("c", 64) + "\trefs/heads/main\n")
	f.Add(id + "\trefs/tags/^{}\n" + id + "\trefs/tags/\n")
	f.Fuzz(func(t *testing.T, data string) {
		const most = 3
		names, commits, branch, err := git.ListingOf(data, most)
		if err != nil {
			return
		}
		if len(names) > most || !slices.IsSorted(names) {
			t.Errorf("%q: %q", data, names)
		}
		if branch != "" && !slices.Contains(names, branch) {
			t.Errorf("%q: the default branch %q is not among %q", data, branch, names)
		}
		for i, name := range names {
			if !strings.HasPrefix(name, "refs/heads/") && !strings.HasPrefix(name, "refs/tags/") || len(commits[i]) != 40 {
				t.Errorf("%q: %q at %q", data, name, commits[i])
			}
		}
	})
}
