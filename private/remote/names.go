package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"stasis/proxy/composer"
)

// Names lists the packages that the repository is known to have, in order.
// complete is false when it may have others, which have to be asked for by name.
func (r *Repository) Names(ctx context.Context) (list []composer.Name, complete bool, err error) {
	cat, err := r.catalog(ctx, time.Time{}, false)
	if err != nil {
		return nil, false, err
	}
	set := map[composer.Name]bool{}
	if cat.mode != hashed {
		for n := range cat.inline {
			set[n] = true
		}
	}
	if cat.hashedURL != "" {
		for _, index := range cat.indexes {
			for n := range index {
				set[n] = true
			}
		}
	}
	for name := range cat.listed {
		if n, err := composer.ParseName(name); err == nil {
			set[n] = true
		}
	}
	switch {
	case cat.mode == inline, cat.mode == hashed, cat.mode == documents && cat.listed != nil && len(cat.patterns) == 0:
		complete = true
	case cat.root.ListURL != "":
		listed, err := r.list(ctx, composer.Resolve(r.url, cat.root.ListURL))
		if err != nil {
			return nil, false, err
		}
		for _, n := range listed {
			if cat.lists(n) {
				set[n] = true
			}
		}
		complete = true
	}
	list = slices.SortedFunc(maps.Keys(set), byName)
	return list, complete, nil
}

// list reads the repository's list of names.
func (r *Repository) list(ctx context.Context, address string) ([]composer.Name, error) {
	resp, err := r.get(ctx, address, nil, false)
	if err != nil {
		return nil, fmt.Errorf("read the names of %s: %w", r, err)
	}
	if resp.Status != http.StatusOK {
		_ = resp.Body.Close()
		return nil, badStatus(resp)
	}
	body, err := r.client.ReadAll(resp, r.max)
	if err != nil {
		return nil, failed(address, err)
	}
	var answer struct {
		Names *[]string `json:"packageNames"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Names == nil {
		return nil, bad(address, fmt.Errorf("it has no packageNames"))
	}
	var list []composer.Name
	for _, name := range *answer.Names {
		if n, err := composer.ParseName(name); err == nil {
			list = append(list, n)
		}
	}
	return list, nil
}
