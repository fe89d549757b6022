package api

import (
	"stasis/private"
	"stasis/private/hooks"
)

// What belongs to a package beside its versions: deliveries of webhooks that were about its source, customers who may
// have it, and the other packages of its repository.

func (m *management) packageDeliveries(c *call) (any, error) {
	h, err := m.hooksOr()
	if err != nil {
		return nil, err
	}
	p, n, q, err := m.packageNamed(c, "limit")
	if err != nil {
		return nil, err
	}
	pkg, _, err := p.Package(c.r.Context(), n)
	if err != nil {
		return nil, missing(err, noPackage)
	}
	return deliveries(h, q, hooks.Filter{Source: pkg.Source})
}

func (m *management) packageCustomers(c *call) (any, error) {
	p, n, _, err := m.packageNamed(c, "page", "per_page")
	if err != nil {
		return nil, err
	}
	if _, _, err := p.Package(c.r.Context(), n); err != nil {
		return nil, missing(err, noPackage)
	}
	return paged(c, m.access.OwnersOf(n))
}

// monorepoOf finds the source of a package that is one of several in a repository.
func (m *management) monorepoOf(c *call, parameters ...string) (Packages, private.Source, error) {
	const none = "This package does not come from a repository with several packages."
	p, n, _, err := m.packageNamed(c, parameters...)
	if err != nil {
		return nil, private.Source{}, err
	}
	pkg, _, err := p.Package(c.r.Context(), n)
	if err != nil {
		return nil, private.Source{}, missing(err, noPackage)
	}
	src, err := p.Source(c.r.Context(), pkg.Source)
	if err == nil && len(src.Paths) == 0 {
		err = notFound(none)
	}
	src.Packages = list(src.Packages)
	return p, src, missing(err, none)
}

func (m *management) monorepo(c *call) (any, error) {
	_, src, err := m.monorepoOf(c)
	return src, err
}

func (m *management) syncMonorepo(c *call) (any, error) {
	p, src, err := m.monorepoOf(c)
	if err != nil {
		return nil, err
	}
	return p.SyncNow(c.r.Context(), src.ID, "manual")
}

func (m *management) monorepoPackages(c *call) (any, error) {
	p, src, err := m.monorepoOf(c, "page", "per_page")
	if err != nil {
		return nil, err
	}
	all, err := p.List(c.r.Context(), src.ID, false)
	if err != nil {
		return nil, err
	}
	return paged(c, all)
}
