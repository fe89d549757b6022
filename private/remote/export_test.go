package remote

import (
	"bytes"
	"log/slog"
	"time"

	"stasis/proxy/composer"
)

// Documents makes both documents of a package out of a root that holds all of
// it; none where the root has no such package.
func Documents(root []byte, n composer.Name) (list [][]byte, err error) {
	const address = "https://example.org/r"
	c, err := readContent(bytes.NewReader(root), 1<<20)
	if err != nil {
		return nil, err
	}
	cat, err := newCatalog(address, c, time.Time{})
	if err != nil {
		return nil, err
	}
	r := &Repository{url: address, log: slog.New(slog.DiscardHandler)}
	versions, err := versionsIn(c.packages[n], n)
	if err != nil || len(versions) == 0 {
		return nil, err
	}
	for _, dev := range []bool{false, true} {
		body, err := r.document(cat, composer.File{Name: n, Dev: dev}, versions)
		if err != nil {
			return nil, err
		}
		list = append(list, body)
	}
	return list, nil
}

// Own makes the document of f out of one that a repository has.
func Own(body []byte, f composer.File) ([]byte, error) {
	r := &Repository{url: "https://example.org/r", log: slog.New(slog.DiscardHandler)}
	doc, err := composer.ParseDocument(body, f.Name)
	if err != nil {
		return nil, err
	}
	return r.ownDocument(&catalog{base: r.url}, f, original{doc, body})
}

// Index reads an index of providers and returns how many it has, and how many
// others it names.
func Index(body []byte) (providers, others int, err error) {
	c, err := readContent(bytes.NewReader(body), 1<<20)
	if err != nil {
		return 0, 0, err
	}
	return len(c.providers), len(c.indexes), nil
}

// Matches tells whether a name fits a pattern of available names.
func Matches(pattern, name string) bool { return matches(pattern, name) }
