package proxy

import (
	"sync"
	"sync/atomic"

	"stasis/proxy/composer"
)

// packageState counts the changes of what may be seen of a package: its live
// documents, because denials come with them, and the rules. Views made before
// a change are made again.
type packageState struct{ gen atomic.Uint64 }

// packageStates has one for every package that was looked at in some world.
type packageStates struct {
	mu sync.RWMutex
	m  map[composer.Name]*packageState // guarded by mu
}

func (p *Proxy) packageState(n composer.Name) *packageState {
	s := &p.packages
	s.mu.RLock()
	ps := s.m[n]
	s.mu.RUnlock()
	if ps != nil {
		return ps
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ps = s.m[n]; ps == nil {
		ps = &packageState{}
		s.m[n] = ps
	}
	return ps
}

// touched makes the views of a package be made again.
func (p *Proxy) touched(n composer.Name) {
	p.packages.mu.RLock()
	defer p.packages.mu.RUnlock()
	if ps := p.packages.m[n]; ps != nil {
		ps.gen.Add(1)
	}
}

// rulesChanged makes everything be made again, after an operator changed what
// may be seen.
func (p *Proxy) rulesChanged() {
	p.packages.mu.RLock()
	for _, ps := range p.packages.m {
		ps.gen.Add(1)
	}
	p.packages.mu.RUnlock()
	p.hot.clear()
}
