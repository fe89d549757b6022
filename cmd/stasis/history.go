package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stasis/proxy"
	"stasis/proxy/composer"
	"stasis/proxy/history"
)

func (p *program) historyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history [VENDOR/PACKAGE]",
		Short: "Show what changed in a package, day by day",
		Long: "Shows the days, in UTC, on which something about a package changed: what was recorded, and before that what its " +
			"documents and lock files tell. Without a package it shows which instants can be asked for at all.",
		Args: cobra.MaximumNArgs(1),
	}
	p.manage(cmd, func(ctx context.Context, c *client, args []string) error {
		if len(args) == 0 {
			return p.showInstants(ctx, c)
		}
		name, err := composer.ParseName(args[0])
		if err != nil {
			return usageError("%v", err)
		}
		var h proxy.PackageHistory
		data, err := c.call(ctx, http.MethodGet, "packages/"+name.String()+"/history", nil, &h)
		if err != nil {
			return err
		}
		return p.show(data, func(w io.Writer) { writeHistory(w, h) })
	})
	cmd.AddCommand(p.importLockCommand())
	return cmd
}

func (p *program) showInstants(ctx context.Context, c *client) error {
	var in proxy.Instants
	data, err := c.call(ctx, http.MethodGet, "instants", nil, &in)
	if err != nil {
		return err
	}
	return p.show(data, func(w io.Writer) {
		row(w, "files recorded", in.Files)
		row(w, "recorded since", utc(in.First)+" UTC; what was before is reconstructed")
		row(w, "settled until", utc(in.SettledUntil)+" UTC; what is later cannot be asked for yet")
		row(w, "change feed read until", utc(in.FeedUntil)+" UTC")
		for _, h := range in.Holes {
			row(w, "feed not followed", fmt.Sprintf("from %s to %s UTC", utc(h.From), utc(h.Until)))
		}
	})
}

// day is what happened on one day: by kind, in the order of the constants, and each kind's items as they came.
type day map[happening][]string

// happening is a kind of event.
type happening int

const (
	published happening = iota
	imported
	firstSeen
	appeared
	moved
	retagged
	vanished
	absent
)

var happeningText = map[happening]string{
	published: "published", imported: "in a lock file", firstSeen: "first seen", appeared: "appeared", moved: "moved",
	retagged: "re-tagged", vanished: "gone", absent: "absent upstream",
}

// calendar sorts what is known of a package by days.
func calendar(h proxy.PackageHistory) map[string]day {
	days := map[string]day{}
	note := func(at time.Time, what happening, item string) {
		if at.IsZero() {
			return
		}
		key := at.UTC().Format(time.DateOnly)
		if days[key] == nil {
			days[key] = day{}
		}
		if !slices.Contains(days[key][what], item) {
			days[key][what] = append(days[key][what], item)
		}
	}
	references := slices.Clone(h.References)
	slices.SortStableFunc(references, func(a, b history.Reference) int {
		return cmp.Or(composer.CompareVersions(a.Normalized, b.Normalized), a.FirstSeen.Compare(b.FirstSeen))
	})
	heads := map[string]int{}
	for _, r := range references {
		heads[r.Normalized]++
		switch {
		case r.Via == history.Import:
			note(r.FirstSeen, imported, r.Version)
		case r.Initial:
			at := r.Published
			if at.IsZero() {
				at = r.Time
			}
			note(at, published, r.Version)
		case composer.IsDev(r.Normalized) && heads[r.Normalized] > 1:
			note(r.FirstSeen, moved, r.Version+" to "+short(r.Reference))
		case heads[r.Normalized] == 1:
			note(r.FirstSeen, appeared, r.Version)
		}
		if replaced := slices.ContainsFunc(references, func(o history.Reference) bool {
			return o.Normalized == r.Normalized && o.Reference != r.Reference && !o.FirstSeen.Before(r.GoneAt)
		}); !replaced {
			note(r.GoneAt, vanished, r.Version)
		}
	}
	for _, r := range h.Retags {
		note(r.At, retagged, fmt.Sprintf("%s from %s to %s", r.Version, short(r.Old), short(r.New)))
	}
	for _, f := range h.Files {
		for i, r := range f.Revisions {
			switch {
			case r.Absent() && (i > 0 || !strings.HasSuffix(f.File, "~dev")):
				note(r.ValidFrom, absent, f.File)
			case i == 0 && !r.Absent():
				note(r.FirstSeen, firstSeen, f.File)
			}
		}
	}
	return days
}

func writeHistory(w io.Writer, h proxy.PackageHistory) {
	days := calendar(h)
	for _, key := range slices.Sorted(maps.Keys(days)) {
		at, _ := time.Parse(time.DateOnly, key) // written by calendar
		label := key + " " + at.Format("Mon")
		for _, what := range slices.Sorted(maps.Keys(days[key])) {
			row(w, label, happeningText[what], strings.Join(days[key][what], ", "))
			label = ""
		}
	}
	row(w)
	for _, f := range h.Files {
		for _, k := range f.Instants.Known {
			row(w, f.File, "known exactly", fmt.Sprintf("from %s to %s UTC", utc(k.From), utc(k.Until)))
		}
		if f.Imported > 0 {
			row(w, f.File, "proven by lock files", fmt.Sprintf("%d versions, from %s UTC", f.Imported, utc(f.Instants.Imported)))
		}
	}
	held := 0
	for _, a := range h.Archives {
		if a.Held {
			held++
		}
	}
	row(w, h.Package, "archives held", fmt.Sprintf("%d of %d", held, len(h.Archives)))
	if h.Freeze != nil {
		row(w, h.Package, "frozen", strings.TrimSuffix(fmt.Sprintf("at %s UTC: %s", utc(h.Freeze.At), h.Freeze.Reason), ": "))
	}
}

// utc writes an instant as people write them in addresses.
func utc(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}
