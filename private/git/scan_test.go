package git_test

import (
	"strings"
	"testing"
)

func TestEveryTagAndBranchBecomesTheVersionComposerMakesOfIt(t *testing.T) {
	o := newOrigin(t)
	c := o.commit("main", files{"composer.json": manifest(), "src/a.php": "<?php"})
	for _, tag := range []string{"v1.0.0", "1.0.0", "release-2.0.0", "3.0-beta2", "v1.2-rc.1", "4.0.0-dev", "5.x-dev", "latest", "dev-x", "1.2.3.4.5", "v6.0.0+build", "master"} {
		o.tag(tag, c)
	}
	for _, branch := range []string{"1.x", "v2.0", "2.3", "feature/x", "fix#12", "dev-x", "a,b", "master", "3"} {
		o.git("update-ref", "refs/heads/"+branch, c)
	}
	o.git("tag", "-a", "-m", "annotated", "v7.0.0", c)
	s := scan(t, mirror(t, o))
	same(t, "scan", lines(s), strings.TrimLeft(`
acme/lib 1.0.0 (1.0.0.0) tags/1.0.0
acme/lib 3.0-beta2 (3.0.0.0-beta2) tags/3.0-beta2
acme/lib 2.0.0 (2.0.0.0) tags/release-2.0.0
acme/lib v1.2-rc.1 (1.2.0.0-RC1) tags/v1.2-rc.1
acme/lib v6.0.0+build (6.0.0.0) tags/v6.0.0+build
acme/lib v7.0.0 (7.0.0.0) tags/v7.0.0
acme/lib dev-main (dev-main) heads/main default
acme/lib 1.x-dev (1.9999999.9999999.9999999-dev) heads/1.x
acme/lib 2.3.x-dev (2.3.9999999.9999999-dev) heads/2.3
acme/lib 3.x-dev (3.9999999.9999999.9999999-dev) heads/3
acme/lib dev-dev-x (dev-dev-x) heads/dev-x
acme/lib dev-feature/x (dev-feature/x) heads/feature/x
acme/lib dev-fix+12 (dev-fix+12) heads/fix#12
acme/lib dev-master (dev-master) heads/master
acme/lib v2.0.x-dev (2.0.9999999.9999999-dev) heads/v2.0
skipped tags/1.2.3.4.5: its name is no version
skipped tags/4.0.0-dev: its name means a development version, which tags cannot be
skipped tags/5.x-dev: its name means a development version, which tags cannot be
skipped tags/dev-x: its name means a development version, which tags cannot be
skipped tags/latest: its name is no version
skipped tags/master: its name means a development version, which tags cannot be
skipped tags/v1.0.0: refs/tags/1.0.0 is version 1.0.0.0 already
skipped heads/a,b: its name holds characters that Composer takes for a constraint
`, "\n"))
	if s.DefaultBranch != "main" {
		t.Errorf("the default branch is %q", s.DefaultBranch)
	}
	for _, r := range s.Releases {
		if r.Commit != c || r.Time.Unix() != when {
			t.Errorf("%s is at %s of %s", r.Pretty, r.Commit, r.Time)
		}
	}
}
