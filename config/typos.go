package config

import (
	"fmt"
	"slices"
)

// misspelled returns a sentence for each variable whose name is nearly that of a setting.
func misspelled(environ map[string]string, where string) []string {
	var sentences []string
	for name := range environ {
		if _, known := settingNamed(name); known || len(name) < 8 {
			continue // among short names, near ones are chance: HOME and HOST
		}
		if near, ok := nearest(name); ok {
			sentences = append(sentences, fmt.Sprintf("%s is set in %s but is no setting; %s is one.", name, where, near))
		}
	}
	slices.Sort(sentences)
	return sentences
}

// nearest finds the setting that a name differs from by at most two edits.
func nearest(name string) (string, bool) {
	best, found := 3, ""
	for _, s := range Settings() {
		if d := distance(name, s.Name); d < best {
			best, found = d, s.Name
		}
	}
	return found, found != ""
}

// distance is the number of single-byte edits between two names.
func distance(a, b string) int {
	if len(a) > len(b)+2 || len(b) > len(a)+2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
