package proxy

import (
	"errors"
	"io/fs"
	"sync"
	"time"

	"stasis/proxy/upstream"
)

// health remembers how the registry has been answering.
type health struct {
	mu          sync.Mutex
	lastSuccess time.Time // guarded by mu
	lastErrorAt time.Time // guarded by mu
	lastError   string    // guarded by mu
}

func (p *Proxy) upstreamAnswered() {
	p.health.mu.Lock()
	p.health.lastSuccess = p.now().UTC()
	p.health.mu.Unlock()
}

// upstreamFailed notes that what could not be had, and alerts the operator. A
// breaker that is open was alerted when it opened.
func (p *Proxy) upstreamFailed(what string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		return // an answer
	}
	p.health.mu.Lock()
	p.health.lastErrorAt, p.health.lastError = p.now().UTC(), err.Error()
	p.health.mu.Unlock()
	var up *upstream.Error
	switch {
	case errors.As(err, &up) && (up.Kind == upstream.Open || up.Kind == upstream.Canceled):
	case errors.As(err, &up):
		p.alerts.raise(AlertUpstreamFailure, up.Host, "upstream failed, copies are being served where there are any: "+err.Error())
	default:
		p.alerts.raise(AlertUpstreamFailure, what, "upstream gave an unusable answer: "+err.Error())
	}
}
