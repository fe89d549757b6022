package git

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"stasis/proxy/composer"
)

// The rules by which Composer makes versions of tags and branches.

var (
	devSuffix = regexp.MustCompile(`(?i)[.-]?dev$`)
	devMarker = regexp.MustCompile(`(?i)^dev-|[.-]?dev$`)
	unlimited = regexp.MustCompile(`(\.9999999)+`)
)

// version is a version as its author wrote it and as it is compared.
type version struct{ pretty, normalized string }

// versionOfTag is the version that a tag stands for, given the composer.json at it. The text
// "release-" is taken out wherever it stands. A version in composer.json has to mean the same as the
// tag, and is then the one that is shown.
func versionOfTag(tag string, manifest composer.Object) (version, error) {
	if !utf8.ValidString(tag) {
		return version{}, errors.New("its name is not UTF-8 text")
	}
	tag = strings.ReplaceAll(tag, "release-", "")
	fromTag, err := composer.NormalizeVersion(tag)
	if err != nil {
		return version{}, errors.New("its name is no version")
	}
	v := version{tag, fromTag}
	if own := manifest.Get("version"); own != nil && string(own) != "null" {
		v.pretty = manifest.Text("version")
		if v.normalized, err = composer.NormalizeVersion(v.pretty); err != nil {
			return version{}, fmt.Errorf("the version in its composer.json is none: %w", err)
		}
	}
	v.pretty = devSuffix.ReplaceAllString(v.pretty, "")
	v.normalized = devMarker.ReplaceAllString(v.normalized, "")
	switch {
	case v.normalized == fromTag:
		return v, nil
	case devMarker.MatchString(fromTag):
		return version{}, errors.New("its name means a development version, which tags cannot be")
	}
	return version{}, fmt.Errorf("the version %s in its composer.json is not that of the tag", v.pretty)
}

// versionOfBranch is the development version that a branch stands for.
func versionOfBranch(branch string) (version, error) {
	if !utf8.ValidString(branch) {
		return version{}, errors.New("its name is not UTF-8 text")
	}
	normalized := composer.NormalizeBranch(branch)
	if _, err := composer.ParseConstraint(normalized); err != nil {
		return version{}, errors.New("its name holds characters that Composer takes for a constraint")
	}
	if strings.HasPrefix(normalized, "dev-") {
		return version{"dev-" + strings.ReplaceAll(branch, "#", "+"), normalized}, nil
	}
	pretty := unlimited.ReplaceAllString(normalized, ".x")
	if strings.HasPrefix(branch, "v") {
		pretty = "v" + pretty
	}
	return version{pretty, normalized}, nil
}
