package composer

import "bytes"

var defaultBranchOfComposer1 = []byte(`"9999999-dev"`)

// FillNormalized returns doc with a version_normalized in every version: a missing one is computed, and Composer 1's
// "9999999-dev" for the default branch is replaced by what Composer 2 makes of the version. A version that cannot be
// normalized stays as it is. Documents of Packagist have nothing to fill and are returned as they are.
func FillNormalized(doc *Document) *Document {
	complete := true
	for _, v := range doc.Versions {
		normalized := v.Get("version_normalized")
		if v.Has("version") && normalized == nil || bytes.Equal(normalized, defaultBranchOfComposer1) {
			complete = false
			break
		}
	}
	if complete {
		return doc
	}
	expanded := doc.Expanded()
	for i, v := range expanded {
		normalized := v.Get("version_normalized")
		if normalized != nil && !bytes.Equal(normalized, defaultBranchOfComposer1) {
			continue
		}
		if n, err := NormalizeVersion(v.Text("version")); err == nil {
			expanded[i] = v.With("version_normalized", quoted(n))
		}
	}
	return doc.With(expanded)
}
