package api

import (
	"encoding/json"
	"fmt"
	"strings"

	"stasis/private"
)

// maxDefinitions bounds a request about a source, which may carry package definitions, in bytes.
const maxDefinitions = 8 << 20

func (m *management) listSources(c *call) (any, error) {
	p, _, err := m.ofPackages(c)
	if err != nil {
		return nil, err
	}
	all, err := p.Sources(c.r.Context())
	for i := range all {
		all[i].Packages = list(all[i].Packages)
	}
	return list(all), err
}

func (m *management) showSource(c *call) (any, error) {
	p, _, err := m.ofPackages(c)
	if err != nil {
		return nil, err
	}
	src, err := p.Source(c.r.Context(), c.param("source"))
	src.Packages = list(src.Packages)
	return src, missing(err, noSource)
}

func (m *management) addSource(c *call) (any, error) {
	p, _, err := m.ofPackages(c)
	if err != nil {
		return nil, err
	}
	req, err := sourceFrom(c, private.Source{})
	if err != nil {
		return nil, err
	}
	src, err := p.AddSource(c.r.Context(), req)
	if err != nil {
		return nil, err
	}
	c.subject, c.details = src.Name, aboutSource(src)
	src.Packages = list(src.Packages)
	return src, nil
}

// updateSource changes what is given of a source and leaves the rest.
func (m *management) updateSource(c *call) (any, error) {
	p, _, err := m.ofPackages(c)
	if err != nil {
		return nil, err
	}
	old, err := p.Source(c.r.Context(), c.param("source"))
	if err != nil {
		return nil, missing(err, noSource)
	}
	req, err := sourceFrom(c, old)
	if err != nil {
		return nil, err
	}
	src, err := p.UpdateSource(c.r.Context(), old.ID, req)
	if err != nil {
		return nil, missing(err, noSource)
	}
	c.subject, c.details = src.Name, aboutSource(src)
	src.Packages = list(src.Packages)
	return src, nil
}

func (m *management) deleteSource(c *call) (any, error) {
	p, _, err := m.ofPackages(c)
	if err != nil {
		return nil, err
	}
	src, err := p.DeleteSource(c.r.Context(), c.param("source"))
	if err != nil {
		return nil, missing(err, noSource)
	}
	c.subject = src.Name
	src.Packages = list(src.Packages)
	return src, nil
}

// syncSource reads a source and answers with what came of it.
func (m *management) syncSource(c *call) (any, error) {
	p, _, err := m.ofPackages(c)
	if err != nil {
		return nil, err
	}
	run, err := p.SyncNow(c.r.Context(), c.param("source"), "manual")
	return run, missing(err, noSource)
}

func (m *management) listRuns(c *call) (any, error) {
	p, _, err := m.ofPackages(c, "page", "per_page")
	if err != nil {
		return nil, err
	}
	all, err := p.Runs(c.r.Context(), c.param("source"))
	if err != nil {
		return nil, missing(err, noSource)
	}
	return paged(c, all)
}

// sourceFrom reads what a source is to be, beginning with what it is.
func sourceFrom(c *call, src private.Source) (req private.SourceRequest, err error) {
	members, err := c.object(maxDefinitions, "name", "type", "url", "folder", "definitions", "packages", "paths", "priority",
		"interval", "include_source", "overwrite", "credentials")
	if err != nil {
		return req, err
	}
	for name, raw := range members {
		var into any
		switch name {
		case "name":
			into = &src.Name
		case "type":
			into = &src.Type
		case "url":
			into = &src.URL
		case "folder":
			into = &src.Folder
		case "definitions":
			src.Definitions = raw
			continue
		case "packages":
			into = &src.Packages
		case "paths":
			into = &src.Paths
		case "priority":
			into = &src.Priority
		case "interval":
			into = &src.Interval
		case "include_source":
			into = &src.IncludeSource
		case "overwrite":
			into = &src.Overwrite
		case "credentials":
			if req.Credentials, err = credentialsFrom(raw); err != nil {
				return req, err
			}
			continue
		}
		if string(raw) == "null" || json.Unmarshal(raw, into) != nil {
			return req, invalid(fmt.Sprintf("The field %q has a value of the wrong kind.", name))
		}
	}
	req.Source = src
	return req, nil
}

// credentialsFrom reads the credentials of a source; an empty object takes them away.
func credentialsFrom(raw json.RawMessage) (*private.Credentials, error) {
	var fields map[string]*string
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		return nil, invalid("The field credentials must be an object with strings.")
	}
	var out private.Credentials
	for name, value := range fields {
		into := map[string]*string{"username": &out.Username, "password": &out.Password, "ssh_key": &out.SSHKey, "known_hosts": &out.KnownHosts}[name]
		if into == nil || value == nil {
			return nil, invalid("The field credentials may have username, password, ssh_key and known_hosts, all of them strings.")
		}
		*into = *value
	}
	return &out, nil
}

// aboutSource is what the audit log says of a source.
func aboutSource(src private.Source) map[string]string {
	details := map[string]string{"id": src.ID, "type": string(src.Type)}
	if src.URL != "" {
		details["url"] = loggable(src.URL, maxLoggedPath)
	}
	if len(src.Packages) > 0 {
		details["packages"] = loggable(strings.Join(src.Packages, ","), maxLoggedPath)
	}
	return details
}
