package integration_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// metric is the sum of a metric's samples on /metrics whose labels include all of the given ones (name="value").
func (d *daemon) metric(name string, labels ...string) float64 {
	d.t.Helper()
	r := d.get("/metrics")
	if r.StatusCode != http.StatusOK {
		d.t.Fatalf("/metrics: %d %.200s", r.StatusCode, r.body)
	}
	sum, found := 0.0, false
	for line := range strings.Lines(string(r.body)) {
		sample, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		family, set, _ := strings.Cut(sample, "{")
		if !ok || family != name {
			continue
		}
		has := true
		for _, label := range labels {
			has = has && strings.Contains(set, label)
		}
		if has {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				d.t.Fatalf("/metrics: %s", line)
			}
			sum, found = sum+v, true
		}
	}
	if !found && len(labels) == 0 {
		d.t.Fatalf("there is no metric %s", name)
	}
	return sum
}

// alerts counts the events behind the alerts of a kind.
func (d *daemon) alerts(kind string) (events int) {
	d.t.Helper()
	list := into[struct {
		Data []struct {
			Kind  string `json:"kind"`
			Count int    `json:"count"`
		} `json:"data"`
	}](d.t, d.manage(http.MethodGet, "alerts", ""))
	for _, a := range list.Data {
		if a.Kind == kind {
			events += a.Count
		}
	}
	return events
}

// told checks that an operator hears of a fault: an alert of the kind was raised, and a metric of the program counts it.
// It returns the metric's name and what it says, for the report.
func (d *daemon) told(t testing.TB, kind, name string, labels ...string) string {
	t.Helper()
	if d.alerts(kind) == 0 {
		t.Errorf("no alert of the kind %s", kind)
	}
	return d.counted(t, name, labels...)
}

// counted is told for faults that are everyday and raise no alert.
func (d *daemon) counted(t testing.TB, name string, labels ...string) string {
	t.Helper()
	value := d.metric(name, labels...)
	if value <= 0 {
		t.Errorf("%s%v is %g", name, labels, value)
	}
	if len(labels) > 0 {
		name += "{" + strings.Join(labels, ",") + "}"
	}
	return name + " = " + strconv.FormatFloat(value, 'f', -1, 64)
}
