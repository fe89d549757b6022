package config_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"stasis/config"
)

var update = flag.Bool("update", false, "rewrite the settings tables of the documentation")

// The tables stand between these lines.
const begin, end = "<!-- settings: made by `go test ./config -update` -->", "<!-- end of settings -->"

func TestDocumentationAgreesWithTheStruct(t *testing.T) {
	for path, table := range map[string]string{
		"../docs/configuration.md": manual(),
		"../README.md":             summary(),
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, ok := strings.Cut(string(text), begin+"\n")
		_, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("%s has no lines %q and %q", path, begin, end)
		}
		want := before + begin + "\n" + table + end + after
		switch {
		case string(text) == want:
		case *update:
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s is not what config.go says; run go test ./config -update", path)
		}
	}
}

// manual is a section with a table for each group of settings.
func manual() string {
	var b strings.Builder
	group := ""
	for _, s := range config.Settings() {
		if s.Group != group {
			group = s.Group
			doc := config.GroupDoc(group)
			fmt.Fprintf(&b, "\n### %s: %s\n\n", group, strings.TrimSuffix(doc, "."))
			b.WriteString("| Setting | Default | Value | Meaning |\n|---|---|---|---|\n")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.Name, code(s.Default), s.Allowed(), cell(s.Doc))
	}
	b.WriteString("\n")
	return b.String()
}

// summary is one table with a sentence for each setting.
func summary() string {
	var b strings.Builder
	b.WriteString("\n| Setting | Default | Meaning |\n|---|---|---|\n")
	for _, s := range config.Settings() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, code(s.Default), cell(s.Summary()))
	}
	b.WriteString("\n")
	return b.String()
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func TestEverySettingIsDocumentedAndAFlag(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(flags)
	for _, s := range config.Settings() {
		if s.Name == "" || !strings.HasSuffix(s.Doc, ".") {
			t.Errorf("%s.%s has no name or no sentence: %q", s.Group, s.Name, s.Doc)
		}
		f := flags.Lookup(s.Flag())
		if f == nil || f.Usage != s.Summary() {
			t.Errorf("%s has no flag with its first sentence as help", s.Name)
		}
	}
	if f := flags.Lookup("proxy-metadata-ttl"); f == nil || f.DefValue != "3600" {
		t.Errorf("--proxy-metadata-ttl is %+v", f)
	}
}

func TestAddFlagsCanBeLimitedToSomeSettings(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(flags, "PORT", "H2C")
	if err := flags.Parse([]string{"--h2c", "--port", "9"}); err != nil {
		t.Fatal(err)
	}
	if flags.Lookup("host") != nil {
		t.Error("--host exists although it was not asked for")
	}
	loaded, err := config.Load(config.Options{Flags: flags})
	if err != nil || !loaded.Config.Server.H2C || loaded.Config.Server.Port != 9 {
		t.Errorf("got %+v, %v", loaded.Config.Server, err)
	}
}
