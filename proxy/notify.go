package proxy

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"

	"stasis/proxy/composer"
	"stasis/proxy/upstream"
)

// notice is one download notification to be forwarded.
type notice struct {
	body      []byte
	userAgent string
}

const (
	noticeQueue = 256     // beyond that notifications are dropped: they are statistics
	noticeSize  = 1 << 20 // bytes
)

// serveNotify answers POST /downloads/. It blocks the client until answered,
// so it is answered at once and always with success (protocol 5.1, C63).
func (p *Proxy) serveNotify(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, noticeSize))
	if body = p.publicOf(body); err == nil && body != nil && p.o.NotifyUpstream {
		select {
		case p.notices <- notice{body, r.UserAgent()}:
		default:
		}
	}
	w.Header()["Content-Type"] = headerJSON
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"status":"success"}`)
}

// publicOf leaves the downloads in a notification that concern the registry: no
// private name is told to it. It returns nil when nothing is left.
func (p *Proxy) publicOf(body []byte) []byte {
	var told struct {
		Downloads []json.RawMessage `json:"downloads"`
	}
	if json.Unmarshal(body, &told) != nil {
		return nil
	}
	told.Downloads = slices.DeleteFunc(told.Downloads, func(raw json.RawMessage) bool {
		var d struct {
			Name string `json:"name"`
		}
		err := json.Unmarshal(raw, &d)
		n, wrong := composer.ParseName(d.Name)
		return err != nil || wrong != nil || p.o.Sources.Reserved(n)
	})
	if len(told.Downloads) == 0 {
		return nil
	}
	body, err := json.Marshal(told)
	if err != nil {
		return nil
	}
	return body
}

// notifyLoop forwards notifications. Packagist counts only those with
// Composer's own User-Agent.
func (p *Proxy) notifyLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-p.notices:
			p.forward(ctx, n)
		}
	}
}

func (p *Proxy) forward(ctx context.Context, n notice) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	target := p.endpointsFor(ctx).notify
	if target == "" {
		return
	}
	resp, err := p.up.Do(ctx, upstream.Request{
		Method: http.MethodPost, URL: target, Class: "api", Body: n.body,
		Header: http.Header{"Content-Type": headerJSON}, UserAgent: n.userAgent,
	})
	if err != nil {
		p.log.DebugContext(ctx, "a download notification was not forwarded", "error", err)
		return
	}
	_ = resp.Body.Close()
}
