package artifact

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"stasis/proxy/composer"
)

// read takes in the composer.json and holds it against what the uploader said.
func (a *Artifact) read(body []byte, want Want) error {
	if err := a.Manifest.UnmarshalJSON(body); err != nil {
		return fmt.Errorf("its composer.json is not valid JSON: %w", err)
	}
	if err := composer.CheckManifest(a.Manifest); err != nil {
		return fmt.Errorf("its composer.json cannot be published: %s", sentence(err))
	}
	var err error
	if a.Package, err = composer.ParseName(a.Manifest.Text("name")); err != nil {
		return err
	}
	if want.Name != "" {
		name, err := composer.ParseName(want.Name)
		if err != nil {
			return err
		}
		if name != a.Package {
			return fmt.Errorf("its composer.json says that it is %s, not %s", a.Package, name)
		}
	}
	return a.version(a.Manifest.Text("version"), want.Version)
}

// version decides which version this is. The composer.json and the uploader may both say so, in different spellings of
// one version.
func (a *Artifact) version(manifest, want string) error {
	var said string
	for _, v := range []string{want, manifest} {
		if v == "" {
			continue
		}
		normalized, err := composer.NormalizeVersion(v)
		if err == nil {
			err = checkSpelling(v, normalized)
		}
		if err != nil {
			return err
		}
		if said != "" && normalized != said {
			return fmt.Errorf("its composer.json says that it is version %s, not %s", manifest, want)
		}
		said = normalized
		a.Pretty, a.Normalized = v, normalized
	}
	if said == "" {
		return errors.New("it has no version: neither its composer.json nor the address it was sent to names one")
	}
	return nil
}

// maxVersion bounds a version in bytes, as file systems bound the name of a branch.
const maxVersion = 255

// checkSpelling refuses versions that Composer would read but no release has: with aliases and stability flags, which
// belong into constraints, and branches that no version control system would create.
func checkSpelling(pretty, normalized string) error {
	branch, named := strings.CutPrefix(normalized, "dev-")
	switch {
	case len(pretty) > maxVersion:
		return fmt.Errorf("its version has %d characters, more than the %d allowed", len(pretty), maxVersion)
	case !named && strings.ContainsAny(pretty, " \t@"), named && !isBranch(branch):
		return fmt.Errorf("%q is no name of a release or branch", pretty)
	}
	return nil
}

// isBranch applies the rules that git has for names of branches, and forbids what would end the path of an address.
func isBranch(name string) bool {
	for _, r := range name {
		if r == ' ' || !unicode.IsPrint(r) || strings.ContainsRune(`~^:?*[\#%`, r) {
			return false
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return utf8.ValidString(name) && name[0] != '-' && !strings.Contains(name, "..") && !strings.Contains(name, "@{") && !strings.HasSuffix(name, ".")
}

// sentence writes joined errors in one line.
func sentence(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
