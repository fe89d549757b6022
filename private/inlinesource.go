package private

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"stasis/private/artifact"
	"stasis/proxy/composer"
)

// readInline publishes what a package source defines. Its archives lie where
// the definitions say.
func (s *Service) readInline(ctx context.Context, src Source, r *Run) error {
	defined, err := artifact.ParsePackages(src.Definitions)
	if err != nil {
		return err
	}
	byPackage := map[composer.Name][]artifact.Inline{}
	for _, d := range defined.Versions {
		byPackage[d.Package] = append(byPackage[d.Package], d)
	}
	left, err := s.packagesOf(src.ID)
	if err != nil {
		return err
	}
	for _, p := range left {
		if _, ok := byPackage[p.Name]; !ok {
			byPackage[p.Name] = nil
		}
	}
	var failures []error
	for _, n := range slices.SortedFunc(maps.Keys(byPackage), compareNames) {
		failures = append(failures, s.publishInline(ctx, src, n, byPackage[n], r))
	}
	return errors.Join(failures...)
}

func (s *Service) publishInline(ctx context.Context, src Source, n composer.Name, defined []artifact.Inline, r *Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	pkg, held, err := s.claim(src, n)
	if errors.Is(err, errNotMine) {
		r.skip("", "", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	e := edition{pkg: pkg}
	for _, d := range defined {
		r.Counts.Found++
		manifest, err := json.Marshal(d.Version)
		if err != nil {
			return fmt.Errorf("write the definition of %s %s: %w", n, d.Pretty, err)
		}
		was, had := held[d.Normalized]
		delete(held, d.Normalized)
		v := was
		v.Pretty, v.Normalized, v.Manifest, v.Inline = d.Pretty, d.Normalized, manifest, true
		if had && sameVersion(v, was) {
			continue
		}
		if ref := referenceIn(d.Version); !had || ref != was.Reference {
			v.Reference, v.PublishedAt = ref, s.now().UTC()
		}
		r.note(&r.Published, &r.Counts.Published, n, v.Pretty)
		e.put = append(e.put, v)
	}
	for normalized, was := range held {
		e.remove = append(e.remove, normalized)
		r.note(&r.Removed, &r.Counts.Removed, n, was.Pretty)
	}
	slices.Sort(e.remove)
	if len(e.put)+len(e.remove) == 0 {
		return nil
	}
	return s.publish(ctx, e)
}

// referenceIn is the dist reference of a definition, or its source's.
func referenceIn(o composer.Object) string {
	for _, part := range []string{"dist", "source"} {
		var at struct {
			Reference string `json:"reference"`
		}
		if json.Unmarshal(o.Get(part), &at) == nil && at.Reference != "" {
			return at.Reference
		}
	}
	return ""
}
