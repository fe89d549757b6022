package artifact_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"stasis/private/artifact"
	"stasis/proxy/archive"
)

func TestInspectReadsEveryKindOfArchive(t *testing.T) {
	entries := []entry{file("p/composer.json", manifest), file("p/README.md", "# Lib"), file("p/src/A.php", "<?php")}
	for name, c := range map[string]struct {
		body           []byte
		typ, extension string
	}{
		"zip":     {zipped(entries...), "zip", "zip"},
		"tar":     {tarred(entries...), "tar", "tar"},
		"tar.gz":  {gzipped(tarred(entries...)), "tar", "tar.gz"},
		"tar.bz2": {bz2Tar, "tar", "tar.bz2"},
	} {
		a := inspect(t, c.body, artifact.Want{})
		if a.Package.String() != "acme/lib" || a.Pretty != "1.2.0" || a.Normalized != "1.2.0.0" || a.Type != c.typ || a.Extension != c.extension {
			t.Errorf("%s: %s %s (%s), %s, %s", name, a.Package, a.Pretty, a.Normalized, a.Type, a.Extension)
		}
		if got := strings.TrimSpace(string(a.Readme)); got != "# Lib" {
			t.Errorf("%s: the readme is %q", name, got)
		}
		one := sha1.Sum(c.body)
		if a.SHA1 != hex.EncodeToString(one[:]) || a.SHA256 != sha256.Sum256(c.body) || a.Size != int64(len(c.body)) {
			t.Errorf("%s: wrong checksums or size", name)
		}
		if rep, err := archive.Check(c.typ, bytes.NewReader(c.body), int64(len(c.body))); err != nil || rep.Content != a.Content {
			t.Errorf("%s: the content digest is %s: %v", name, a.Content, err)
		}
	}
}

func TestTheManifestSurvivesWhole(t *testing.T) {
	text := `{"name":"acme/lib","version":"1.0","extra":{"z":1.50,"a":[null,true]},"unknown":"\u00e9/é"}`
	a := inspect(t, zipped(file("composer.json", text)), artifact.Want{})
	if got, _ := a.Manifest.MarshalJSON(); string(got) != text {
		t.Errorf("got %s, want %s", got, text)
	}
}

func TestVersionsOfTheUploaderAndTheManifestMustAgree(t *testing.T) {
	for _, c := range []struct {
		name, version string // in composer.json
		want          artifact.Want
		pretty, why   string
	}{
		{"acme/lib", "1.2.0", artifact.Want{}, "1.2.0", ""},
		{"acme/lib", "", artifact.Want{Version: "v1.2"}, "v1.2", ""},
		{"acme/lib", "v1.2", artifact.Want{Version: "1.2.0.0"}, "v1.2", ""},
		{"acme/lib", "", artifact.Want{Version: "dev-main"}, "dev-main", ""},
		{"acme/lib", "", artifact.Want{Version: "dev-feature/a+b@c"}, "dev-feature/a+b@c", ""},
		{"acme/lib", "", artifact.Want{Version: "1.x-dev"}, "1.x-dev", ""},
		{"Acme/Lib", "1.0", artifact.Want{Name: "acme/lib"}, "1.0", ""},
		{"acme/lib", "1.0+build.7", artifact.Want{Version: "1.0"}, "1.0+build.7", ""},

		{"acme/lib", "", artifact.Want{}, "", "no version"},
		{"acme/lib", "1.2.0", artifact.Want{Version: "1.3.0"}, "", "says that it is version 1.2.0, not 1.3.0"},
		{"acme/lib", "1.2.0", artifact.Want{Version: "dev-main"}, "", "not dev-main"},
		{"acme/lib", "1.2.0", artifact.Want{Version: "1.2.0-RC1"}, "", "not 1.2.0-RC1"},
		{"acme/lib", "1.0", artifact.Want{Name: "acme/other"}, "", "says that it is acme/lib, not acme/other"},
		{"acme/lib", "1.0", artifact.Want{Name: "../x"}, "", "not a package name"},
		{"acme/lib", "", artifact.Want{Version: "latest"}, "", "not a version"},
		{"acme/lib", "", artifact.Want{Version: "dev-"}, "", "no name of a release or branch"},
		{"acme/lib", "", artifact.Want{Version: "dev-../../x"}, "", "no name of a release or branch"},
		{"acme/lib", "", artifact.Want{Version: "dev-a#1234567"}, "", "no name of a release or branch"},
		{"acme/lib", "", artifact.Want{Version: "dev-a\x1b[31m"}, "", "no name of a release or branch"},
		{"acme/lib", "", artifact.Want{Version: "dev-a\u202eb"}, "", "no name of a release or branch"},
		{"acme/lib", "", artifact.Want{Version: "dev-\xff"}, "", "no name of a release or branch"},
		{"acme/lib", "", artifact.Want{Version: "dev--x"}, "", "no name of a release or branch"},
		{"acme/lib", "", artifact.Want{Version: "1.0@dev"}, "", "no name of a release or branch"},
		{"acme/lib", "", artifact.Want{Version: "1.0 as 2.0"}, "", "no name of a release or branch"},
		{"acme/lib", "", artifact.Want{Version: "dev-" + strings.Repeat("x", 255)}, "", "more than the 255"},
	} {
		version := ""
		if c.version != "" {
			version = `, "version": "` + c.version + `"`
		}
		body := zipped(file("composer.json", `{"name": "`+c.name+`"`+version+`}`))
		a, err := artifact.Inspect(bytes.NewReader(body), int64(len(body)), "lib.zip", c.want)
		switch {
		case c.why == "" && (err != nil || a.Pretty != c.pretty):
			t.Errorf("%s with %q: got %q, %v", c.version, c.want, a.Pretty, err)
		case c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why) || !strings.HasPrefix(err.Error(), "lib.zip: ")):
			t.Errorf("%s with %q: got %v, want a reason with %q", c.version, c.want, err, c.why)
		}
	}
}

func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// What only an archive can do wrong is tested with all its bytes where archives are checked.
func TestHostileUploadsAreRefused(t *testing.T) {
	big := `{"name":"acme/lib","version":"1.0","x":"` + strings.Repeat("x", 1<<20) + `"}`
	good := file("p/composer.json", manifest)
	many := []entry{}
	for i := range 2_000 {
		many = append(many, file(fmt.Sprintf("d%d/composer.json", i), manifest))
	}
	whole := zipped(good)
	list := []struct {
		name string
		body []byte
		why  string
	}{
		{"nothing", nil, "neither a zip"},
		{"an HTML page", []byte("<!DOCTYPE html>" + strings.Repeat(" ", 600)), "neither a zip"},
		{"an xz", xzTar, "neither a zip"},
		{"a gzip of something else", gzipped([]byte("hello")), "damaged"},
		{"a zip without its end", whole[:len(whole)-10], "end is missing"},
		{"a tar without its end", tarred(good)[:1024], "end is missing"},
		{"only folders", zipped(entry{name: "p/"}), "no files"},
		{"a bomb in a zip", claiming(64 << 20), "times its size"},
		{"a bomb in a tar.gz", bytes.Repeat(gzipped(make([]byte, 1<<20)), 64), "times its size"},
		{"a bomb in a tar.bz2", bz2Big, "times its size"},
		{"a bomb that is called composer.json", zipped(file("composer.json", strings.Repeat("\x00", 8<<20))), "bytes, more than"},
		{"a path upwards", zipped(good, file("p/../../x", "x")), "forbidden"},
		{"an absolute path", zipped(good, file("/etc/cron.d/x", "x")), "forbidden"},
		{"a link upwards", zipped(good, entry{name: "p/l", target: "../../etc/passwd"}), "points out"},
		{"an absolute link", tarred(good, entry{name: "p/l", target: "/etc/passwd"}), "points out"},
		{"a link out of the package's folder", tarred(good, entry{name: "p/l", target: "../x"}), "points out"},
		{"two composer.json", zipped(good, good), "two entries"},
		{"two composer.json in a tar", tarred(good, good), "two entries"},
		{"two composer.json in upper and lower case", zipped(good, file("p/Composer.json", manifest)), "exists on some systems"},
		{"a composer.json in upper case", zipped(file("p/Composer.JSON", manifest)), "must be in lower case"},
		{"no composer.json", zipped(file("p/src/A.php", "<?php")), "no composer.json"},
		{"a composer.json too deep", zipped(file("p/q/composer.json", manifest)), "no composer.json"},
		{"a folder called composer.json", zipped(file("composer.json/x", "x")), "no composer.json"},
		{"a link for a composer.json", zipped(file("p/real.json", manifest), entry{name: "p/composer.json", target: "real.json"}), "no composer.json"},
		{"a file beside the folder", zipped(good, file("NOTES.txt", "x")), `in the folder "p", where Composer does not look`},
		{"a second folder", tarred(good, file("q/a", "x")), "where Composer does not look"},
		{"an empty second folder", zipped(good, entry{name: "q/"}), "where Composer does not look"},
		{"what a Mac's archiver leaves", zipped(good, file("__MACOSX/p/._composer.json", "x")), "where Composer does not look"},
		{"2,000 folders with one each", zipped(many...), "where Composer does not look"},
		{"an empty composer.json", zipped(file("composer.json", "")), "not valid JSON"},
		{"a composer.json that is text", zipped(file("composer.json", "name: acme/lib")), "not valid JSON"},
		{"a composer.json with a comma too many", zipped(file("composer.json", `{"name":"acme/lib",}`)), "not valid JSON"},
		{"a composer.json with a byte order mark", zipped(file("composer.json", "\ufeff"+manifest)), "byte order mark"},
		{"a composer.json nested deep", zipped(file("composer.json", strings.Repeat("[", 1<<19))), "not valid JSON"},
		{"a composer.json that is large", zipped(file("composer.json", big)), "more than the 1048576"},
		{"a list for a composer.json", zipped(file("composer.json", `["acme/lib"]`)), "not valid JSON"},
		{"an empty list", zipped(file("composer.json", `[]`)), "no name"},
		{"no name", zipped(file("composer.json", `{"version":"1.0"}`)), "no name"},
		{"a name that climbs out", zipped(file("composer.json", `{"name":"../lib","version":"1.0"}`)), "not a package name"},
		{"a name of a platform package", zipped(file("composer.json", `{"name":"ext-json","version":"1.0"}`)), "not a package name"},
		{"a constraint that ends every run", zipped(file("composer.json", `{"name":"acme/lib","version":"1.0","require":{"acme/b":"huh?"}}`)), "cannot be read"},
		{"a bin outside of the package", zipped(file("composer.json", `{"name":"acme/lib","version":"1.0","bin":["../../x"]}`)), "leads out"},
		{"text that is not UTF-8", zipped(file("composer.json", "{\"name\":\"acme/lib\",\"version\":\"1.0\",\"a\":\"\xff\"}")), "UTF-8"},
	}
	if len(list) < 40 {
		t.Fatalf("only %d uploads", len(list))
	}
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) {
			runtime.GC()
			before, begun := heap(), time.Now()
			_, err := artifact.Inspect(bytes.NewReader(c.body), int64(len(c.body)), "dir/lib\x1b.zip", artifact.Want{})
			took, grew := time.Since(begun), int64(heap())-int64(before)
			var refused *artifact.Error
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.why) || !strings.HasPrefix(err.Error(), `lib\x1b.zip: `) {
				t.Errorf("got %v, want a refusal with %q", err, c.why)
			}
			if took > time.Second*raceFactor {
				t.Errorf("it took %v", took)
			}
			if grew > 64<<20 {
				t.Errorf("it took %d MiB", grew>>20)
			}
		})
	}
}

type failing struct{ after int64 }

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off >= f.after {
		return 0, io.ErrClosedPipe
	}
	return copy(p, strings.Repeat("PK\x03\x04", len(p)/4+1)), nil
}

func TestAFailingReaderIsNoRefusal(t *testing.T) {
	for _, after := range []int64{0, 1000} {
		_, err := artifact.Inspect(failing{after}, 1<<20, "x", artifact.Want{})
		var refused *artifact.Error
		if !errors.Is(err, io.ErrClosedPipe) || errors.As(err, &refused) {
			t.Errorf("got %v", err)
		}
	}
}

func TestTheBestReadmeIsTaken(t *testing.T) {
	for _, c := range []struct {
		name, want string
		entries    []entry
	}{
		{"none", "", nil},
		{"markdown before text", "md", []entry{file("p/README.txt", "txt"), file("p/readme.MD", "md")}},
		{"that of the package, not of its folders", "", []entry{file("p/docs/README.md", "docs")}},
		{"one that is too large is left out", "txt", []entry{file("p/README.md", strings.Repeat("x", 600<<10)), file("p/README.txt", "txt")}},
	} {
		if a := inspect(t, zipped(append(c.entries, file("p/composer.json", manifest))...), artifact.Want{}); string(a.Readme) != c.want {
			t.Errorf("%s: got %q, want %q", c.name, a.Readme, c.want)
		}
	}
	a := inspect(t, zipped(file("composer.json", manifest), file("README", "top"), file("p/README.md", "below"), file("p/composer.json", `{}`)), artifact.Want{})
	if string(a.Readme) != "top" {
		t.Errorf("a package at the top: got %q", a.Readme)
	}
}

// Whatever is accepted has everything that a publication needs, and says the same when asked for just that.
func FuzzInspect(f *testing.F) {
	f.Add(zipped(file("p/composer.json", manifest), file("p/README.md", "x")), "", "")
	f.Add(tarred(file("composer.json", `{"name":"a/b"}`)), "a/b", "dev-main")
	f.Add(gzipped(tarred(file("composer.json", manifest))), "acme/lib", "1.2")
	f.Add(bz2Tar, "", "v1.2.0")
	f.Fuzz(func(t *testing.T, body []byte, name, version string) {
		a, err := artifact.Inspect(bytes.NewReader(body), int64(len(body)), "x", artifact.Want{Name: name, Version: version})
		if err != nil {
			var refused *artifact.Error
			if !errors.As(err, &refused) {
				t.Fatalf("an error that is no refusal: %v", err)
			}
			return
		}
		if a.Package.IsZero() || a.Normalized == "" || a.Content == "" || len(a.SHA1) != 40 {
			t.Fatalf("something is missing: %+v", a)
		}
		if again := inspect(t, body, artifact.Want{Name: a.Package.String(), Version: a.Pretty}); again.Normalized != a.Normalized || again.Pretty != a.Pretty {
			t.Fatalf("%q became %q", a.Pretty, again.Pretty)
		}
	})
}
