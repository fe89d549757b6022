package private_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stasis/private"
)

func zipOf(t *testing.T, files ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		f, err := z.Create(files[i])
		if err == nil {
			_, err = f.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (w *world) upload(up private.Upload, body []byte) (private.Version, error) {
	w.t.Helper()
	up.Body = bytes.NewReader(body)
	v, _, err := w.service.Upload(w.t.Context(), up)
	return v, err
}

func TestAnUploadIsPublishedOnceAndForAll(t *testing.T) {
	w := newWorld(t)
	one := zipOf(t, "tool-1/composer.json", manifest("acme/tool", `,"version":"1.0.0"`), "tool-1/a.php", "<?php")
	if _, err := w.upload(private.Upload{Filename: "tool.zip"}, one); err != nil {
		t.Fatal(err)
	}
	v := w.versions("acme/tool")["1.0.0"]
	if status, body := w.download("acme/tool", v); status != http.StatusOK || !bytes.Equal(body, one) {
		t.Errorf("the archive: status %d, %d bytes, want the %d that were uploaded", status, len(body), len(one))
	}
	if _, err := w.upload(private.Upload{}, one); err != nil {
		t.Errorf("the same again: %v", err)
	}
	other := zipOf(t, "composer.json", manifest("acme/tool", `,"version":"1.0.0"`), "a.php", "<?php evil();")
	var conflict interface{ Conflict() bool }
	if _, err := w.upload(private.Upload{}, other); !errors.As(err, &conflict) {
		t.Errorf("other content under the same version: %v", err)
	}
	if status, body := w.download("acme/tool", w.versions("acme/tool")["1.0.0"]); status != http.StatusOK || !bytes.Equal(body, one) {
		t.Errorf("afterwards: status %d, %d bytes", status, len(body))
	}
	for what, up := range map[string]private.Upload{
		"another name":    {Name: "acme/other"},
		"another version": {Version: "2.0.0"},
	} {
		var invalid interface{ Validation() bool }
		if _, err := w.upload(up, one); !errors.As(err, &invalid) {
			t.Errorf("%s in the address than in composer.json: %v", what, err)
		}
	}
	if asked := w.registry.about("acme/tool"); asked != nil {
		t.Errorf("the registry was asked for %v", asked)
	}
}

func TestAYankedVersionIsHiddenAndItsArchiveStays(t *testing.T) {
	w := newWorld(t)
	for _, version := range []string{"1.0.0", "1.1.0"} {
		if _, err := w.upload(private.Upload{Version: version}, zipOf(t, "composer.json", manifest("acme/tool", ""), "v", version)); err != nil {
			t.Fatal(err)
		}
	}
	yanked := w.versions("acme/tool")["1.1.0"]
	tool := name(t, "acme/tool")
	if _, err := w.service.Yank(t.Context(), tool, "1.1.0", "broken"); err != nil {
		t.Fatal(err)
	}
	if got := keys(w.versions("acme/tool")); !slices.Equal(got, []string{"1.0.0"}) {
		t.Errorf("versions %v", got)
	}
	if status, _ := w.download("acme/tool", yanked); status != http.StatusOK {
		t.Errorf("the archive that lock files name: status %d", status)
	}
	if _, err := w.service.Deprecate(t.Context(), tool, "1.0.0", "acme/new-tool", false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.service.Unyank(t.Context(), tool, "1.1.0"); err != nil {
		t.Fatal(err)
	}
	got := w.versions("acme/tool")
	if got["1.0.0"].Abandoned != "acme/new-tool" || got["1.1.0"].Abandoned != nil {
		t.Errorf("abandoned: %v and %v", got["1.0.0"].Abandoned, got["1.1.0"].Abandoned)
	}
	if got["1.1.0"] = yanked; !strings.Contains(got["1.1.0"].Published, "T") {
		t.Errorf("published-time %q", got["1.1.0"].Published)
	}
}

func TestAFolderOfArchivesIsFollowed(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(w.folder, "drop", "deeper")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(file string, body []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, file), body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("a-1.zip", zipOf(t, "composer.json", manifest("acme/a", `,"version":"1.0"`)))
	put("broken.zip", []byte("PK\x03\x04 and no more"))
	src, run := w.add(private.Source{Type: private.Artifact, Folder: "drop"})
	if run.Counts.Published != 1 || run.Counts.Skipped != 1 {
		t.Errorf("the run is %+v", run)
	}
	put("a-2.zip", zipOf(t, "composer.json", manifest("acme/a", `,"version":"2.0"`)))
	w.sync(src.ID)
	if got := keys(w.versions("acme/a")); !slices.Equal(got, []string{"1.0", "2.0"}) {
		t.Errorf("versions %v", got)
	}
	if err := os.Remove(filepath.Join(dir, "a-1.zip")); err != nil {
		t.Fatal(err)
	}
	w.sync(src.ID)
	if got := keys(w.versions("acme/a")); !slices.Equal(got, []string{"2.0"}) {
		t.Errorf("after a file was removed: %v", got)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if run := w.sync(src.ID); run.Result != "failed" {
		t.Errorf("an empty folder: %+v", run)
	}
	if got := keys(w.versions("acme/a")); !slices.Equal(got, []string{"2.0"}) {
		t.Errorf("after the disk went away: %v", got)
	}
}

func TestInlineDefinitionsArePublished(t *testing.T) {
	w := newWorld(t)
	_, run := w.add(private.Source{Type: private.Inline, Definitions: []byte(`[
		{"name":"acme/font","version":"1.0.0","type":"font","dist":{"type":"zip","url":"https://example.org/font.zip","reference":"abc"},"require":{"php":">=8"}},
		{"name":"acme/font","version":"dev-main","source":{"type":"git","url":"https://example.org/font.git","reference":"main"}}]`)})
	if run.Result != "ok" {
		t.Fatalf("the run is %+v", run)
	}
	v := w.versions("acme/font")["1.0.0"]
	if v.Dist.Reference != "abc" || v.Require["php"] != ">=8" || !strings.HasPrefix(v.Dist.URL, w.url) {
		t.Errorf("1.0.0 is %+v", v)
	}
	if dev := w.versions("acme/font~dev")["dev-main"]; dev.Source["url"] != "https://example.org/font.git" {
		t.Errorf("dev-main is %+v", dev)
	}
}
