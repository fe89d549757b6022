package integration_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	statement = regexp.MustCompile(`(?m)^\| C(\d+) \| (.+?) \| (pass|–|later) \| (.+?) \|$`)
	testName  = regexp.MustCompile(`\bTest[A-Za-z0-9]+`)
	numbered  = regexp.MustCompile(`^TestC(\d\d)`)
)

// TestThePageOfConformanceIsTrue holds docs/conformance.md, and what
// docs/time-machine.md says of its proofs, against the tests.
func TestThePageOfConformanceIsTrue(t *testing.T) {
	page := string(read(t, filepath.Join("..", "docs", "conformance.md")))
	exist := map[string]bool{}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"private", "private/remote", "proxy"} {
		others, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(folder), "*_test.go"))
		if err != nil || len(others) == 0 {
			t.Fatalf("the tests in %s: %v, %v", folder, others, err)
		}
		files = append(files, others...)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && testName.MatchString(fn.Name.Name) && fn.Name.Name != "TestMain" {
				exist[fn.Name.Name] = true
			}
		}
	}
	past := string(read(t, filepath.Join("..", "docs", "time-machine.md")))
	for _, name := range testName.FindAllString(page+past, -1) {
		if !exist[name] {
			t.Errorf("the page names %s, which does not exist", name)
		}
	}
	proofs := map[int]string{}
	for _, m := range statement.FindAllStringSubmatch(page, -1) {
		n, _ := strconv.Atoi(m[1])
		if _, twice := proofs[n]; twice {
			t.Errorf("C%d is on the page twice", n)
		}
		proofs[n] = m[4]
		if m[3] == "pass" && !strings.Contains(m[4], fmt.Sprintf("TestC%02d", n)) {
			t.Errorf("C%d is said to pass without a test of its number: %s", n, m[4])
		}
		if m[3] != "pass" && testName.MatchString(m[4]) {
			t.Errorf("C%d names a test but is %q", n, m[3])
		}
	}
	for n := 1; n <= 96; n++ {
		if proofs[n] == "" {
			t.Errorf("C%d is not on the page", n)
		}
	}
	for name := range exist {
		if m := numbered.FindStringSubmatch(name); m != nil {
			n, _ := strconv.Atoi(m[1])
			if !strings.Contains(proofs[n], name) {
				t.Errorf("%s is not named as a proof of C%d", name, n)
			}
		}
	}
}
