package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report is what a run found, in the order in which it was measured.
type report struct {
	options
	machine  []string
	began    time.Time
	took     time.Duration
	sections []*section
}

// section is a chapter of the report.
type section struct {
	name   string
	title  string
	about  string
	tables []*table
	goals  []*goal
	notes  []string
	plots  []*plot
	took   time.Duration
	err    error
}

func (r *report) section(name string) *section {
	s := &section{name: name, title: name}
	r.sections = append(r.sections, s)
	return s
}

// table has a cell for each row and column, and in each the value of every
// round.
type table struct {
	title, unit string
	columns     []string
	rows        []string
	cells       map[[2]string][]float64
}

func (s *section) table(title, unit string, columns ...string) *table {
	t := &table{title: title, unit: unit, columns: columns, cells: map[[2]string][]float64{}}
	s.tables = append(s.tables, t)
	return t
}

func (t *table) add(row, column string, value float64) {
	if !slices.Contains(t.rows, row) {
		t.rows = append(t.rows, row)
	}
	key := [2]string{row, column}
	t.cells[key] = append(t.cells[key], value)
}

func (t *table) values(row, column string) []float64 { return t.cells[[2]string{row, column}] }

// ratio divides two columns of a row round by round.
func (t *table) ratio(row, above, below string) []float64 {
	a, b := t.values(row, above), t.values(row, below)
	var out []float64
	for i := range min(len(a), len(b)) {
		out = append(out, a[i]/b[i])
	}
	return out
}

// goal is what a figure should be. Its values are those of the rounds; their
// median counts.
type goal struct {
	text   string
	limit  float64
	atMost bool // else at least
	unit   string
	values []float64
}

func (s *section) atLeast(text string, limit float64, unit string, values []float64) {
	s.goals = append(s.goals, &goal{text, limit, false, unit, values})
}

func (s *section) atMost(text string, limit float64, unit string, values []float64) {
	s.goals = append(s.goals, &goal{text, limit, true, unit, values})
}

func (s *section) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

func (g *goal) met() bool {
	m := median(g.values)
	if g.atMost {
		return m <= g.limit
	}
	return m >= g.limit // false for NaN
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// number writes a value with three digits or all before the point.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "not measured"
	case a >= 100:
		return group(strconv.FormatFloat(v, 'f', 0, 64))
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// group puts commas between thousands.
func group(digits string) string {
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func (r *report) markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n", r.title())
	fmt.Fprintf(&b, "Written by `%s` on %s in %s. Every figure is the median of %d rounds in which the servers took turns, every ratio the median of the rounds' ratios; the figures of each round are in [%s](%s). What is compared and how is said in `integration/bench/doc.go`.\n\n",
		r.command, r.began.UTC().Format("2006-01-02"), r.took.Round(time.Second), r.rounds, r.csvName(), r.csvName())
	for _, line := range r.machine {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	if r.hasGoals() {
		b.WriteString("\n## Goals\n\n| Goal | | Measured | Rounds | Met |\n|---|---|---|---|---|\n")
		for _, s := range r.sections {
			for _, g := range s.goals {
				g.row(&b)
			}
		}
	}
	for _, s := range r.sections {
		s.write(&b)
	}
	return b.Bytes()
}

func (r *report) title() string {
	if len(r.sections) == 1 {
		return r.sections[0].title
	}
	return "Benchmarks"
}

func (r *report) hasGoals() bool {
	return slices.ContainsFunc(r.sections, func(s *section) bool { return len(s.goals) > 0 })
}

func (g *goal) row(b *bytes.Buffer) {
	sign, met := "≥", "**no**"
	if g.atMost {
		sign = "≤"
	}
	if g.met() {
		met = "yes"
	}
	spread := "-"
	if len(g.values) > 1 {
		spread = number(slices.Min(g.values)) + " to " + number(slices.Max(g.values))
	}
	fmt.Fprintf(b, "| %s | %s %s%s | %s | %s | %s |\n", g.text, sign, number(g.limit), g.unit, number(median(g.values)), spread, met)
}

func (s *section) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n", s.title, s.about)
	for _, t := range s.tables {
		fmt.Fprintf(b, "\n%s (%s)\n\n| |", t.title, t.unit)
		for _, c := range t.columns {
			fmt.Fprintf(b, " %s |", c)
		}
		fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(t.columns)))
		for _, row := range t.rows {
			fmt.Fprintf(b, "| %s |", row)
			for _, c := range t.columns {
				cell := ""
				if v := t.values(row, c); len(v) > 0 {
					cell = number(median(v))
				}
				fmt.Fprintf(b, " %s |", cell)
			}
			b.WriteString("\n")
		}
	}
	for _, p := range s.plots {
		fmt.Fprintf(b, "\n![%s](%s)\n", p.title, p.file)
	}
	for _, n := range s.notes {
		fmt.Fprintf(b, "\n%s\n", n)
	}
	if s.err != nil {
		fmt.Fprintf(b, "\nThis was not measured to its end: %v\n", s.err)
	}
}

func (r *report) csvName() string {
	return strings.TrimSuffix(filepath.Base(r.out), filepath.Ext(r.out)) + ".csv"
}

// csv has one line for each figure of each round.
func (r *report) csv() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	lines := [][]string{{"part", "figure", "unit", "row", "column", "round", "value"}}
	for _, s := range r.sections {
		for _, t := range s.tables {
			for _, row := range t.rows {
				for _, c := range t.columns {
					for i, v := range t.values(row, c) {
						lines = append(lines, []string{s.name, t.title, t.unit, row, c, strconv.Itoa(i + 1), strconv.FormatFloat(v, 'g', 6, 64)})
					}
				}
			}
		}
	}
	_ = w.WriteAll(lines) // a bytes.Buffer does not fail
	return b.Bytes()
}

// write puts the document, its figures and its plots where they belong.
func (r *report) write(out string) error {
	if out == "" {
		_, err := os.Stdout.Write(r.markdown())
		return err
	}
	dir := filepath.Dir(out)
	files := map[string][]byte{out: r.markdown(), filepath.Join(dir, r.csvName()): r.csv()}
	for _, s := range r.sections {
		for _, p := range s.plots {
			files[filepath.Join(dir, p.file)] = p.svg()
		}
	}
	for name, body := range files {
		if err := os.WriteFile(name, body, 0o644); err != nil {
			return err
		}
	}
	return nil
}
