package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker in released builds (-X main.version=…).
var version string

// build says which Stasis this is.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Time    string `json:"time,omitempty"`
	Dirty   bool   `json:"dirty,omitempty"` // built from sources that differ from Commit
	Go      string `json:"go"`
	System  string `json:"system"`
}

func readBuild() build {
	b := build{Version: version, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		b.Version = cmp.Or(b.Version, "dev")
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Dirty = s.Value == "true"
		}
	}
	if b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	b.Version = cmp.Or(b.Version, "dev")
	return b
}

func (p *program) versionCommand() *cobra.Command {
	return p.addJSON(&cobra.Command{
		Use:   "version",
		Short: "Print which Stasis this is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := readBuild()
			if p.asJSON {
				return printJSON(p.stdout, b)
			}
			fmt.Fprintf(p.stdout, "stasis %s (%s, %s)\n", b.Version, b.Go, b.System)
			if b.Commit != "" {
				fmt.Fprintf(p.stdout, "commit %s of %s\n", b.Commit, b.Time)
			}
			return nil
		},
	})
}

// printJSON writes v for programs to read, and people to look at.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
