package satis

import "strings"

// settings notes what the other keys did and what becomes of it.
func (p *parser) settings() {
	for _, m := range p.config {
		set := string(m.Value) != "false" && string(m.Value) != "null" && string(m.Value) != "[]" && string(m.Value) != "{}"
		switch m.Key {
		case "repositories", "repositories-dep", "require", "require-all", "abandoned", "config":
			// they have their own places
		case "name", "description", "homepage", "_comment", "output-dir", "output-html", "twig-template", "allow-seo-indexing", "pretty-print",
			"include-filename", "includes", "providers", "providers-history-size", "available-package-patterns":
			p.note(m.Key, "It is about the files that Satis writes, and is not needed.")
		case "archive":
			p.archive()
		case "notify-batch":
			p.lost(m.Key, "Downloads are counted by Stasis and reported to nobody else.")
		case "minimum-stability":
			if s := strings.ToLower(text(m.Value)); s != "" && s != "dev" {
				p.lost(m.Key, "Versions of every stability are provided, not only %s; projects choose by their own minimum-stability.", s)
			}
		case "minimum-stability-per-package":
			for _, s := range object(m.Value) {
				p.lost(m.Key+"."+s.Key, "Versions of every stability are provided; projects choose by their own minimum-stability.")
			}
		case "blacklist":
			for _, b := range object(m.Value) {
				p.lost(m.Key+"."+b.Key, "%s %s is provided. Hide it by a rule that blocks it.", b.Key, text(b.Value))
			}
		case "include-types", "exclude-types":
			if set {
				p.lost(m.Key, "Packages are not chosen by their type; name the packages that a source may provide.")
			}
		case "require-dependencies", "require-dev-dependencies":
			if set {
				p.note(m.Key, "Dependencies need not be listed: those on Packagist come through the proxy when they are asked for.")
			}
		case "only-dependencies", "only-best-candidates":
			if set {
				p.lost(m.Key, "All versions of all packages of the sources are provided.")
			}
		case "require-dependency-filter", "strip-hosts":
			if set {
				p.note(m.Key, "It is not needed: archives are served by Stasis, and repositories are not shown unless their source says so.")
			}
		default:
			p.note(m.Key, "It is not a setting of Satis that is known, and is left out.")
		}
	}
}

// archive explains what becomes of the archives that Satis made.
func (p *parser) archive() {
	a := object(p.config.Get("archive"))
	p.note("archive", "Stasis makes an archive of every version itself. Archives that Satis has written stay where they are; lock files that name them need them until they are updated.")
	for _, m := range a {
		key := "archive." + m.Key
		switch m.Key {
		case "format":
			if f := text(m.Value); f != "" && f != "zip" {
				p.lost(key, "Archives of git repositories are zip files, not %s.", f)
			}
		case "whitelist", "blacklist":
			if len(texts(m.Value)) > 0 {
				p.note(key, "Archives are made of all packages.")
			}
		case "skip-dev":
			if string(m.Value) == "true" {
				p.note(key, "Archives are made of branches, too.")
			}
		case "checksum":
			if string(m.Value) == "false" {
				p.note(key, "Every archive has its checksum in the metadata.")
			}
		case "ignore-filters":
			if string(m.Value) == "true" {
				p.lost(key, "What export-ignore and archive.exclude name is left out of archives.")
			}
		}
	}
}
