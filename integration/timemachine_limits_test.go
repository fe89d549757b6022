package integration_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stasis/integration/standin"
)

// TestAStrictWorldIsExactOrNothing: a client that asks for certainty is not
// given an approximation, nor told that a package does not exist.
func TestAStrictWorldIsExactOrNothing(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		past(s)
		d := start(t, s, watching...)
		at := d.observe("acme/a", "acme/a~dev", "acme/b", "acme/b~dev")
		need := requiring("acme/a", "^1.0")
		c := clientOf(t, command, d.at(at+",strict"))
		dir := c.locked(need, "--prefer-source")
		expectLocked(t, "what was watched", dir, "acme/a 1.1.0", "acme/b 1.1.0")
		if _, err := os.Stat(filepath.Join(dir, "vendor", "acme", "a", ".git")); err == nil {
			t.Error("the strict world was left for the source")
		}
		c.use(d.at(spring + ",strict"))
		out, err := c.try(project(t, need), "update", "--no-progress", "--no-install")
		if err == nil || strings.Contains(out.String(), "could not be found") {
			t.Errorf("what can only be reconstructed: %v\n%s", err, out)
		}
		say(t, "the refusal", out.String(), "409")
	})
}

// TestAHiddenRetagIsNowhere under the policy that serves neither reference.
func TestAHiddenRetagIsNowhere(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		first := past(s)["acme/b 1.1.0"]
		d := start(t, s, append([]string{"PROXY_RETAG_POLICY=hide"}, watching...)...)
		d.observe("acme/b", "acme/b~dev")
		second := s.Publish(bad("acme/b", "1.1.0"))
		d.observe("acme/b")
		expectLocked(t, "after the tag was moved", clientOf(t, command, d.url).locked(requiring("acme/b", "^1.0"), "--no-install"), "acme/b 1.0.0")
		x := d.explain("acme/b", "1.1.0", "")
		if x.Visible || x.Rule != "retag" {
			t.Errorf("explain: %+v", x)
		}
		say(t, "explain", x.Sentence, first.Reference[:12], second.Reference[:12])
	})
}

// TestASecurityFixNeedNotWait when an advisory affects what would be shown in
// its place; another young release waits.
func TestASecurityFixNeedNotWait(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		past(s)
		d := start(t, s, append([]string{"PROXY_MIN_RELEASE_AGE=7d", "PROXY_SECURITY_GRACE=0"}, watching...)...)
		d.observe("acme/b", "acme/b~dev")
		publish(s, fresh("acme/b", "1.1.1"))
		need := requiring("acme/b", "^1.0")
		c := clientOf(t, command, d.url)
		expectLocked(t, "without an advisory", c.locked(need, "--no-install"), "acme/b 1.1.0")
		s.Advise("acme/b", "PKSA-fixed", ">=1.1.0,<1.1.1", nil)
		d.observe("acme/b")
		expectLocked(t, "with an advisory", c.locked(need), "acme/b 1.1.1")
		if x := d.explain("acme/b", "1.1.1", ""); !x.Visible {
			t.Errorf("explain: %+v", x)
		} else {
			say(t, "explain", x.Sentence, "fixes a security advisory")
		}
		// Not older than a day, which is what it takes by default.
		d.restart("PROXY_SECURITY_GRACE=1d")
		if x := d.explain("acme/b", "1.1.1", ""); x.Visible || x.Rule != "cooldown" {
			t.Errorf("within the grace: %+v", x)
		}
	})
}

// TestAMirrorCannotHoldClientsBack is a limit of PROXY_DIST_MODE=mirror, and
// why the other mode is the default: a lock file names the origin as well, and
// a client that is refused here goes there. What is resolved anew obeys.
func TestAMirrorCannotHoldClientsBack(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		archive := "/dist-proxy/acme/b/1.1.0.0/" + past(s)["acme/b 1.1.0"].Reference + ".zip"
		d := start(t, s, append([]string{"PROXY_DIST_MODE=mirror"}, watching...)...)
		need := requiring("acme/b", "^1.0")
		c := clientOf(t, command, d.url)
		dir := c.locked(need)
		asked[any](d, http.MethodPost, "blocks", map[string]string{"package": "acme/b", "versions": "1.1.0", "reason": "mines coins"})
		expectLocked(t, "resolved anew", c.locked(need, "--no-install"), "acme/b 1.0.0")
		if r := d.get(archive); r.StatusCode != http.StatusUnavailableForLegalReasons {
			t.Errorf("the archive: %d", r.StatusCode)
		}
		c.cool()
		if err := os.RemoveAll(filepath.Join(dir, "vendor")); err != nil {
			t.Fatal(err)
		}
		out, err := c.try(dir, "install", "--no-progress")
		if lists := atLeast(t, release(t, command), "2.10.0"); lists == (err == nil) {
			t.Errorf("filter lists known: %t; the old lock: %v\n%s", lists, err, out)
		}
	})
}

// TestAnInstantAsAUserName, in the form that has colons and the one without.
func TestAnInstantAsAUserName(t *testing.T) {
	everyComposer(t, func(t *testing.T, command string) {
		s := standin.Start(t, standin.Options{})
		past(s)
		d := start(t, s, watching...)
		at, err := time.Parse(time.RFC3339, summer)
		if err != nil {
			t.Fatal(err)
		}
		c := clientOf(t, command, d.url)
		for _, user := range []string{summer, at.Format("20060102T150405Z"), "2024-07-01T02:00:00+02:00"} {
			c.signedIn(d, "snapshot="+user)
			out := c.run(project(t, requiring("acme/a", "*")), "update", "--no-progress", "--no-install")
			say(t, user, out.String(), "Stasis: packages as of "+summer)
		}
	})
}
