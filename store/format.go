package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// formatVersion is the version of everything doc.go describes. Raising it
// takes a migration in migrate.
const formatVersion = 1

const formatName = "FORMAT"

// checkFormat compares the folder's format with ours before any database is
// opened, because opening one may already change it.
func checkFormat(path string) error {
	b, err := os.ReadFile(filepath.Join(path, formatName))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(path, "facts", "MANIFEST")); err == nil {
			// The first Open was cut short between making the databases and
			// writing FORMAT; everything in it has the first format.
			return nil
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the format of %s: %w", path, err)
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "stasis store ")
	version, err := strconv.Atoi(text)
	if !ok || err != nil || version < 1 {
		return fmt.Errorf("%s does not hold a data folder of this program: its %s file reads %.40q: %w", path, formatName, b, ErrSchema)
	}
	if version > formatVersion {
		return fmt.Errorf("%s has format %d, written by a newer version of this program; this one reads up to format %d: %w", path, version, formatVersion, ErrSchema)
	}
	return migrate(path, version)
}

// migrate brings a folder of an older format to formatVersion, or says that
// it cannot. Format 1 is the first, so there is nothing older to come from.
func migrate(path string, from int) error {
	if from == formatVersion {
		return nil
	}
	return fmt.Errorf("%s has format %d, and there is no way from it to format %d; use the version of this program that wrote it: %w", path, from, formatVersion, ErrSchema)
}

// writeFormat marks the folder once everything in it exists.
func writeFormat(path string) error {
	name := filepath.Join(path, formatName)
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	return writeFileDurably(name, fmt.Appendf(nil, "stasis store %d\n", formatVersion))
}
