package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"stasis/integration/standin"
)

// bustle is a mixed load: clients read documents, archives, views and snapshots
// while upstream publishes and an operator freezes, blocks and makes snapshots.
type bustle struct {
	d       *daemon
	s       *standin.Server
	instant string
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

func raise(d *daemon, s *standin.Server, instant string) *bustle {
	ctx, cancel := context.WithCancel(d.t.Context())
	w := &bustle{d: d, s: s, instant: instant, stop: cancel}
	for worker, work := range []func(n int){w.read, w.read, w.publish, w.operate, w.look} {
		w.wg.Go(func() {
			for n := worker; ctx.Err() == nil; n += 5 {
				work(n)
			}
		})
	}
	return w
}

// calm ends the load and waits for the last answers.
func (w *bustle) calm() {
	w.stop()
	w.wg.Wait()
}

// get asks for a path and finds fault with errors.
func (w *bustle) get(path string) *reply {
	r, err := w.d.try(http.MethodGet, path, nil, "Host", "stasis.example")
	if err != nil {
		if w.d.t.Context().Err() == nil {
			w.d.t.Errorf("during the load: %s: %v", path, err)
		}
		return nil
	}
	if r.StatusCode/100 == 5 || r.err != nil {
		w.d.t.Errorf("during the load: %s: %d %v %.200s", path, r.StatusCode, r.err, r.body)
	}
	return r
}

func (w *bustle) admin(method, path, body string) {
	r, err := w.d.try(method, "/api/v1/proxy/"+path, []byte(body), "Authorization", "Bearer "+adminToken, "Content-Type", "application/json")
	if err == nil && r.StatusCode/100 == 5 {
		w.d.t.Errorf("during the load: %s %s: %d %s", method, path, r.StatusCode, r.body)
	}
}

func (w *bustle) name(n int) string {
	all := []string{"acme/a", "acme/b", "acme/odd", "acme/meta", "storm/p1", "storm/p2", "storm/p3"}
	return all[n%len(all)]
}

func (w *bustle) read(n int) {
	for _, file := range []string{w.name(n), w.name(n) + "~dev"} {
		r := w.get("/p2/" + file + ".json")
		if r == nil || r.StatusCode != http.StatusOK {
			continue
		}
		for i, path := range archivesIn(w.name(n), r.body) {
			if (i+n)%4 == 0 {
				w.get(path)
			}
		}
	}
}

func (w *bustle) publish(n int) {
	name := fmt.Sprintf("storm/p%d", n%3+1)
	w.s.Publish(standin.Release{Name: name, Version: fmt.Sprintf("1.%d.0", n), Size: int64(1000 + n*997%300_000)})
	w.get("/p2/" + name + ".json")
}

func (w *bustle) operate(n int) {
	name := w.name(n)
	w.admin(http.MethodPost, "freeze/"+name, `{"reason":"during the load"}`)
	w.admin(http.MethodPost, "blocks", fmt.Sprintf(`{"package":"storm/p%d","constraint":"1.%d.0","reason":"x"}`, n%3+1, n))
	w.admin(http.MethodPost, "unfreeze/"+name, "")
	if n%4 == 0 {
		from := w.instant
		if n%8 == 0 {
			from = "now"
		}
		w.admin(http.MethodPost, "snapshots", fmt.Sprintf(`{"name":"storm-%d","from":%q}`, n, from))
	}
}

func (w *bustle) look(n int) {
	name := w.name(n)
	w.get("/snapshot/" + w.instant + "/p2/" + name + ".json")
	w.get("/snapshot/before/p2/" + name + ".json")
	w.get("/snapshot/2024-0" + fmt.Sprint(n%9+1) + "-01/p2/acme/a.json")
}

// archivesIn lists the paths of the archives that a document offers.
func archivesIn(name string, document []byte) []string {
	doc, err := standin.ParseDocument(document, name)
	if err != nil {
		return nil // a 404
	}
	var paths []string
	for _, v := range doc.Versions {
		var dist standin.Object
		if json.Unmarshal(v.Get("dist"), &dist) != nil || dist.Text("url") == "" {
			continue
		}
		link := expand(dist.Text("url"), name, v, dist.Text("reference"), dist.Text("type"))
		if _, path, ours := strings.Cut(link, "//stasis.example"); ours {
			paths = append(paths, path)
		}
	}
	return paths
}

// everything asks for all that can be asked for, and returns what it says:
// status, body and date.
func everything(d *daemon, s *standin.Server, worlds []string) map[string]string {
	d.t.Helper()
	all := map[string]string{}
	ask := func(path string) *reply {
		r := d.get(path, "Host", "stasis.example")
		all[path] = fmt.Sprintf("%d, %d bytes, %s", r.StatusCode, len(r.body), digest(r.body))
		if !strings.HasPrefix(path, "/dist-proxy/") {
			all[path] += ", " + r.Header.Get("Last-Modified")
		}
		return r
	}
	archives := map[string]bool{}
	for _, world := range append([]string{""}, worlds...) {
		ask(world + "/packages.json")
		ask(world + "/packages/list.json")
		for _, name := range names(s) {
			for _, file := range []string{name, name + "~dev"} {
				r := ask(world + "/p2/" + file + ".json")
				for _, path := range archivesIn(name, r.body) {
					archives[path] = true
				}
			}
		}
	}
	ask("/lists/all/summary.json")
	for path := range archives {
		ask(path)
	}
	for _, path := range []string{"snapshots", "channels", "frozen", "blocks", "alerts", "channels/prod/history", "snapshots/before/manifest", "packages/acme/a/history", "packages/storm/p1/history"} {
		r := d.manage(http.MethodGet, path, "")
		all["management: "+path] = fmt.Sprintf("%d %s", r.StatusCode, r.body)
	}
	return all
}

func sameWorld(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	wrong := 0
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			if wrong++; wrong <= 5 {
				t.Errorf("%s: %s answers\n%.1000s\nand should\n%.1000s", what, path, got[path], want[path])
			}
		}
	}
	if len(got) != len(want) || wrong > 0 {
		t.Errorf("%s: %d of %d answers differ, of %d asked for there", what, wrong, len(want), len(got))
	}
}

// restored starts the program on what its own restore made of backups, with
// upstream gone.
func restored(d *daemon, s *standin.Server, driver string, backups ...string) *daemon {
	d.t.Helper()
	far := prepare(d.t, s, watching...)
	far.set("STORE_PATH="+filepath.Join(d.t.TempDir(), "data"), "STORE_ARCHIVES="+driver, "PROXY_METADATA_TTL=3600")
	out, err := far.run(append([]string{"restore"}, backups...)...)
	if err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out, "; 0 missing") {
		d.t.Errorf("restore says: %s", out)
	}
	if out, err := far.run("verify"); err != nil {
		d.t.Errorf("%v\n%s", err, out)
	}
	far.start()
	return far
}

// TestABackupUnderLoadBringsEverythingBack takes a full backup and further ones
// while the load goes on, and a last one after it. The restored Stasis, without
// an upstream and with the other driver, answers everything as the first does,
// byte for byte. What was backed up in the middle of the load is whole as well.
func TestABackupUnderLoadBringsEverythingBack(t *testing.T) {
	for driver, other := range map[string]string{"badger": "files", "files": "badger"} {
		t.Run(driver, func(t *testing.T) {
			s := standin.Start(t, standin.Options{})
			past(s)
			made(s)
			for i := range 3 {
				s.Publish(standin.Release{Name: fmt.Sprintf("storm/p%d", i+1), Version: "0.1.0"})
			}
			d := start(t, s, append([]string{"STORE_ARCHIVES=" + driver}, watching...)...)
			files := []string{}
			for _, name := range names(s) {
				files = append(files, name, name+"~dev")
			}
			instant := d.observe(files...)
			d.snapshot(map[string]any{"name": "before", "from": instant})
			d.point("prod", "before")

			load := raise(d, s, instant)
			folder := t.TempDir()
			backup := func() {
				t.Helper()
				if out, err := d.run("backup", "--to", folder, "--archives", "all"); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			for i := range 3 {
				if err := s.Await(within(t), "/p2/storm/*", s.Requests("/p2/storm/*")+10*(i+1)); err != nil {
					t.Fatal(err)
				}
				backup()
			}
			load.calm()
			var all []stand
			eventually(t, "the snapshots are built", func() bool {
				all = asked[[]stand](d, http.MethodGet, "snapshots", nil)
				return !slices.ContainsFunc(all, func(s stand) bool { return s.State == "building" })
			})
			worlds := []string{"/snapshot/" + instant, "/snapshot/" + spring, "/snapshot/prod"}
			for _, snap := range all {
				worlds = append(worlds, "/s/"+snap.ID)
			}
			d.restart("PROXY_METADATA_TTL=3600")
			everything(d, s, worlds) // what is asked for the first time fetches and binds
			backup()
			s.Down()
			want := everything(d, s, worlds)
			d.stop()
			if len(want) < 200 || len(all) < 2 {
				t.Errorf("only %d answers and %d snapshots are compared", len(want), len(all))
			}

			far := restored(d, s, other, folder)
			sameWorld(t, "restored", everything(far, s, worlds), want)
			far.stop()
			t.Logf("%d answers are the same, %d snapshots among them", len(want), len(all))

			list, err := filepath.Glob(filepath.Join(folder, "*.backup"))
			if err != nil || len(list) != 4 {
				t.Fatalf("the folder holds %v: %v", list, err)
			}
			before := map[string]int{}
			for n := 1; n <= 3; n++ {
				far := restored(d, s, driver, list[:n]...)
				before = moment(t, far, s, before)
				for _, snap := range asked[[]stand](far, http.MethodGet, "snapshots", nil) {
					if snap.State != "sealed" {
						continue
					}
					if v := asked[struct{ Problems []any }](far, http.MethodPost, "snapshots/"+snap.Name+"/verify", nil); len(v.Problems) > 0 {
						t.Errorf("of %d backups: snapshot %s: %v", n, snap.Name, v.Problems)
					}
				}
				far.stop()
			}
		})
	}
}

// moment looks at what a restored Stasis knows of the packages that were being
// published, once no rule hides anything: each document is a state that
// upstream was in, and no earlier one than before. It returns how many releases
// each has.
func moment(t *testing.T, far *daemon, s *standin.Server, before map[string]int) map[string]int {
	t.Helper()
	for _, rule := range asked[[]struct{ ID string }](far, http.MethodGet, "blocks", nil) {
		asked[any](far, http.MethodDelete, "blocks/"+rule.ID, nil)
	}
	count := map[string]int{}
	for _, name := range []string{"storm/p1", "storm/p2", "storm/p3"} {
		asked[any](far, http.MethodPost, "unfreeze/"+name, nil)
		body, _ := s.Document(name)
		last, err := standin.ParseDocument(body, name)
		if err != nil {
			t.Fatal(err)
		}
		now := far.document(name)
		later := len(last.Versions) - len(now.Versions)
		for i, v := range now.Versions { // the newest is the first
			if later < 0 || v.Text("version") != last.Versions[later+i].Text("version") {
				t.Errorf("%s was never in this state: %s is release %d of %d", name, v.Text("version"), i, len(now.Versions))
				break
			}
		}
		if count[name] = len(now.Versions); count[name] < before[name] || count[name] < 2 {
			t.Errorf("%s has %d releases, and had %d in the backup before", name, count[name], before[name])
		}
	}
	return count
}

// TestDamagedBackupsAreRefused flips and cuts the files of a real backup.
func TestDamagedBackupsAreRefused(t *testing.T) {
	s, d := pair(t)
	made(s)
	d.archive("acme/a", "v1.0.0")
	folder := t.TempDir()
	full, next := filepath.Join(folder, "full"), filepath.Join(folder, "next")
	if out, err := d.run("backup", "--archives", "all", "-o", full); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d.archive("acme/b", "1.0.0")
	if out, err := d.run("backup", "--since", full, "-o", next); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if info, err := os.Stat(full); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read a backup: %v %v", info.Mode(), err)
	}
	broken := func(name string, change func([]byte) []byte) string {
		to := filepath.Join(folder, name)
		write(t, to, change(bytes.Clone(read(t, full))))
		return to
	}
	for what, c := range map[string]struct {
		files []string
		want  string
	}{
		"a flipped bit":     {[]string{broken("flipped", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), next}, "damaged at byte"},
		"a flipped first":   {[]string{broken("first", func(b []byte) []byte { b[3] ^= 1; return b }), next}, "does not begin like a backup"},
		"half a file":       {[]string{broken("half", func(b []byte) []byte { return b[:len(b)/2] }), next}, "was cut off"},
		"one byte short":    {[]string{broken("short", func(b []byte) []byte { return b[:len(b)-1] }), next}, "was cut off"},
		"one byte too much": {[]string{broken("long", func(b []byte) []byte { return append(b, 0) }), next}, "behind its end mark"},
		"the wrong order":   {[]string{next, full}, "begin with the full one"},
		"no full one":       {[]string{next}, "begin with the full one"},
	} {
		for _, check := range []bool{true, false} {
			far := prepare(t, s, "STORE_PATH="+filepath.Join(t.TempDir(), "data"))
			args := append([]string{"restore"}, c.files...)
			if check {
				args = append(args, "--check")
			}
			out, err := far.run(args...)
			if err == nil || !strings.Contains(out, c.want) {
				t.Errorf("%s (check %v): %v, %s", what, check, err, out)
			}
			if _, err := os.Stat(filepath.Join(far.env["STORE_PATH"], "facts")); err != nil {
				continue // nothing was begun
			}
			if out, err := far.run("serve"); err == nil || !strings.Contains(out, "unfinished restore") {
				t.Errorf("%s: what came of it is served: %v\n%s", what, err, out)
			}
		}
	}
	if out, err := d.run("restore", "--check", full, next); err != nil {
		t.Errorf("the backups themselves: %v\n%s", err, out)
	}
	if out, err := d.run("restore", full, next); err == nil || !strings.Contains(out, "is not empty") {
		t.Errorf("a restore into the folder in use: %v\n%s", err, out)
	}
}

// TestAKilledRestoreIsTakenUp feeds a restore half of a backup, kills it, and
// lets the next one finish.
func TestAKilledRestoreIsTakenUp(t *testing.T) {
	s, d := pair(t)
	made(s)
	for i := range 5 {
		name := fmt.Sprintf("bulk/p%d", i)
		s.Publish(standin.Release{Name: name, Version: "1.0.0", Size: 1 << 20})
		d.archive(name, "1.0.0")
	}
	file := filepath.Join(t.TempDir(), "backup")
	if out, err := d.run("backup", "--archives", "all", "-o", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.Down()
	paths := []string{"/packages.json", "/p2/bulk/p1.json"}
	for i := range 5 {
		paths = append(paths, strings.TrimPrefix(d.distURL(fmt.Sprintf("bulk/p%d", i), "1.0.0"), d.url))
	}
	want := map[string]*reply{}
	for _, path := range paths {
		want[path] = d.get(path, "Host", "stasis.example")
	}
	d.stop()

	far := prepare(t, s, "STORE_PATH="+filepath.Join(t.TempDir(), "data"))
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	body := read(t, file)
	for _, n := range []int{len(body) / 4, len(body) * 3 / 4} {
		cmd := exec.Command(binary(t), "restore", pipe)
		cmd.Env = far.environ()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		half, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := half.Write(body[:n]); err != nil {
			t.Fatal(err)
		}
		// A pipe holds 64 KiB: the restore has read nearly all that was written.
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) {
			t.Fatal(err)
		}
		half.Close()
		for _, command := range []string{"serve", "verify"} {
			if out, err := far.run(command); err == nil || !strings.Contains(out, "unfinished restore") {
				t.Errorf("stasis %s on half a folder: %v\n%s", command, err, out)
			}
		}
	}
	if out, err := far.run("restore", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	far.start()
	for path, w := range want {
		r := far.get(path, "Host", "stasis.example")
		if r.StatusCode != w.StatusCode || !bytes.Equal(r.body, w.body) {
			t.Errorf("%s: %d with %d bytes, want %d with %d", path, r.StatusCode, len(r.body), w.StatusCode, len(w.body))
		}
	}
}
