package api

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"stasis/private/audit"
)

// AuditPage is a part of the audit log, the newest entry first.
type AuditPage struct {
	Entries []audit.Entry `json:"entries"`
	// Next is what to give as before to get the entries that follow; absent when there are none.
	Next uint64 `json:"next,omitempty"`
}

func (m *management) auditLog(c *call) (any, error) {
	q, err := c.query("actor", "action", "subject", "result", "since", "until", "before", "limit")
	if err != nil {
		return nil, err
	}
	f := audit.Filter{Actor: q.Get("actor"), Action: q.Get("action"), Subject: q.Get("subject"), Result: q.Get("result")}
	if f.Since, err = moment(q, "since"); err != nil {
		return nil, err
	}
	if f.Until, err = moment(q, "until"); err != nil {
		return nil, err
	}
	before, err := number(q, "before", 0, 1<<62)
	if err != nil {
		return nil, err
	}
	f.Before = uint64(before)
	if f.Limit, err = number(q, "limit", audit.DefaultLimit, audit.MaxLimit); err != nil {
		return nil, err
	}
	if m.audit.log == nil {
		return AuditPage{Entries: []audit.Entry{}}, nil
	}
	entries, more, err := m.audit.log.List(c.r.Context(), f)
	if err != nil {
		return nil, err
	}
	p := AuditPage{Entries: list(entries)}
	if more {
		p.Next = entries[len(entries)-1].ID
	}
	return p, nil
}

func (m *management) verifyAudit(c *call) (any, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	if m.audit.log == nil {
		return audit.Verdict{Whole: true}, nil
	}
	return m.audit.log.Verify(c.r.Context())
}

// moment reads a query parameter that is an instant.
func moment(q url.Values, name string) (time.Time, error) {
	at, err := instant(map[string]string{name: q.Get(name)}, name)
	switch {
	case !q.Has(name):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, invalid("The parameter " + name + " must be an RFC 3339 instant such as 2026-01-31T00:00:00Z.")
	}
	return *at, nil
}

// number reads a query parameter that counts something, from 1 on.
func number(q url.Values, name string, otherwise, most int) (int, error) {
	if !q.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < 1 || n > most {
		return 0, invalid(fmt.Sprintf("The parameter %s must be a number from 1 to %d.", name, most))
	}
	return n, nil
}
