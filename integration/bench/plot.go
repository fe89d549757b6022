package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strconv"
)

// plot draws columns of a table whose rows are numbers: them along a
// logarithmic axis, the values upwards from zero.
type plot struct {
	title, file, unit string
	of                *table
	columns           []string
}

func (s *section) plot(title, file, unit string, of *table, columns ...string) {
	s.plots = append(s.plots, &plot{title, file, unit, of, columns})
}

const (
	plotWidth, plotHeight                    = 720, 360
	plotLeft, plotRight, plotTop, plotBottom = 64, 24, 56, 48
)

var plotColors = []string{"#0969da", "#bc4c00", "#1a7f37", "#8250df"}

func (p *plot) svg() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#24292f">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotWidth, plotHeight)
	text := func(x, y float64, anchor, color, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, anchor, color, html.EscapeString(s))
	}
	text(plotLeft, 20, "start", "#24292f", p.title+" ("+p.unit+")")
	top := p.top()
	const steps = 4
	for i := range steps + 1 {
		v := top * float64(i) / steps
		y := p.y(v, top)
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#d0d7de"/>`+"\n", plotLeft, y, plotWidth-plotRight, y)
		text(plotLeft-6, y+4, "end", "#57606a", strconv.FormatFloat(v, 'g', 4, 64))
	}
	for _, row := range p.of.rows {
		text(p.x(row), plotHeight-plotBottom+18, "middle", "#57606a", row)
	}
	text((plotLeft+plotWidth-plotRight)/2, plotHeight-10, "middle", "#57606a", "packages")
	for i, column := range p.columns {
		color := plotColors[i%len(plotColors)]
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, color)
		for _, row := range p.of.rows {
			fmt.Fprintf(&b, "%.1f,%.1f ", p.x(row), p.y(median(p.of.values(row, column)), top))
		}
		b.WriteString(`"/>` + "\n")
		text(plotLeft+float64(i)*160, 40, "start", color, column)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (p *plot) x(row string) float64 {
	at := func(row string) float64 {
		n, _ := strconv.ParseFloat(row, 64)
		return math.Log10(max(n, 1))
	}
	first, last := at(p.of.rows[0]), at(p.of.rows[len(p.of.rows)-1])
	return plotLeft + 20 + (plotWidth-plotLeft-plotRight-40)*(at(row)-first)/max(last-first, 1e-9)
}

func (p *plot) y(v, top float64) float64 {
	return plotHeight - plotBottom - (plotHeight-plotTop-plotBottom)*v/top
}

// top is the end of the upright axis: 1, 2 or 5 times a power of ten.
func (p *plot) top() float64 {
	largest := 0.
	for _, row := range p.of.rows {
		for _, column := range p.columns {
			largest = max(largest, median(p.of.values(row, column)))
		}
	}
	if largest <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(largest)))
	for _, n := range []float64{1, 2, 5} {
		if largest <= n*unit {
			return n * unit
		}
	}
	return 10 * unit
}
