package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThePageOfReliabilityIsTrue holds docs/reliability.md against the suite: the same promises, proven by the same tests,
// all of which exist.
func TestThePageOfReliabilityIsTrue(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	known := map[string]bool{}
	for _, p := range proofs {
		known[p.promise] = true
		if !strings.Contains(page, "\n| "+p.promise+" |") {
			t.Errorf("the page does not have %s", p.promise)
		}
		files, err := filepath.Glob(filepath.Join("..", "..", p.pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var source strings.Builder
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(content)
		}
		for _, name := range p.tests {
			if !strings.Contains(source.String(), "\nfunc "+name+"(") {
				t.Errorf("%s has no test %s", p.pkg, name)
			}
			if !strings.Contains(page, name) {
				t.Errorf("the page does not name %s as a proof of %s", name, p.promise)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\| ([LFB]\d+) \|`).FindAllStringSubmatch(page, -1) {
		if !known[m[1]] {
			t.Errorf("the page promises %s, which no test of the suite proves", m[1])
		}
	}
}
