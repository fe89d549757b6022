package main

import (
	"encoding/json"
	"fmt"
	"os"

	"stasis/proxy/composer"
)

// wanted is one thing that a lock file needs from Stasis.
type wanted struct {
	What string // for people: "monolog/monolog 3.5.0 archive"
	Path string // below the address of Stasis
}

// lockedPackage is what composer.lock says about a package, as far as fetching it goes.
type lockedPackage struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Dist    *struct {
		Type      string `json:"type"`
		URL       string `json:"url"`
		Reference string `json:"reference"`
	} `json:"dist"`
}

// readLocks lists the documents and archives of every package in some lock files, each once, in the order of the files.
func readLocks(paths []string) ([]wanted, error) {
	var list []wanted
	seen := make(map[string]bool)
	for _, path := range paths {
		packages, err := readLock(path)
		if err != nil {
			return nil, err
		}
		for _, pkg := range packages {
			needs, err := pkg.needs()
			if err != nil {
				return nil, fmt.Errorf("%s has a package that cannot be asked for: %w", path, err)
			}
			for _, w := range needs {
				if !seen[w.Path] {
					seen[w.Path] = true
					list = append(list, w)
				}
			}
		}
	}
	return list, nil
}

func readLock(path string) ([]lockedPackage, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lock struct {
		Packages    []lockedPackage `json:"packages"`
		PackagesDev []lockedPackage `json:"packages-dev"`
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		return nil, fmt.Errorf("%s is not a composer.lock: %w", path, err)
	}
	return append(lock.Packages, lock.PackagesDev...), nil
}

// needs lists what one package needs: its document, that of its development versions if it is at one, and its archive,
// wherever the lock file says it is.
func (l lockedPackage) needs() ([]wanted, error) {
	name, err := composer.ParseName(l.Name)
	if err != nil {
		return nil, err
	}
	normalized, err := composer.NormalizeVersion(l.Version)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if l.Dist != nil && l.Dist.Type == "path" {
		return nil, nil // lives in the project itself
	}
	files := []composer.File{{Name: name}}
	if composer.IsDev(normalized) {
		files = append(files, composer.File{Name: name, Dev: true})
	}
	var list []wanted
	for _, file := range files {
		list = append(list, wanted{file.String() + " metadata", "/p2/" + file.String() + ".json"})
	}
	if l.Dist == nil || l.Dist.Type == "" {
		return list, nil // a metapackage, or one that is installed from its source
	}
	path := composer.DistURL("", name, composer.Version{
		Pretty: l.Version, Normalized: normalized,
		Dist: &composer.Dist{Type: l.Dist.Type, URL: l.Dist.URL, Reference: l.Dist.Reference},
	})
	return append(list, wanted{name.String() + " " + l.Version + " archive", path}), nil
}
