package composer

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// RootOptions says what the rewritten root offers. The zero value offers whatever the original root has and the proxy
// knows how to serve.
type RootOptions struct {
	Mirror          bool      // announce archives as a preferred mirror, so that dist.url may stay as it is
	Omit            []string  // keys to leave out, because what they promise cannot be served
	World           string    // a path below the base, such as /snapshot/…, at which documents and the name list lie instead
	Lists           []string  // filter lists of ours, announced beside those of the original
	Available       bool      // keep the closed list of names; right only while nothing else is served
	Warnings, Infos []Message // to add behind those of the original
}

// Message is printed by clients whose Composer version satisfies Versions; empty means all.
type Message struct{ Text, Versions string }

// Rewrite writes the root for clients of the proxy at base, an absolute address. Every address in it lies below base;
// what is unknown stays unless it holds an address, which could only lead around the proxy. Packages and indexes inside the
// root are left out: each package is asked for by its metadata address.
func (r *Root) Rewrite(base string, o RootOptions) []byte {
	w := rootWriter{base: strings.TrimRight(base, "/"), opts: o}
	out := Object{}
	for _, m := range r.Members {
		if slices.Contains(o.Omit, m.Key) {
			continue
		}
		if value := w.member(r.Members, m); value != nil {
			out = append(out, Member{m.Key, value})
		}
	}
	if !out.Has("packages") {
		out = append(Object{{"packages", json.RawMessage("[]")}}, out...)
	}
	out = out.With("metadata-url", w.below(o.World+"/p2/%package%.json"))
	if o.Mirror {
		mirror := Object{
			{"dist-url", w.below(distPrefix + "%package%/%version%/%reference%.%type%")},
			{"preferred", json.RawMessage("true")},
		}
		out = append(out, Member{"mirrors", listOf([]json.RawMessage{mirror.append(nil)})})
	}
	out = w.messages(out, "warnings", o.Warnings)
	out = w.messages(out, "infos", o.Infos)
	return out.append(nil)
}

type rootWriter struct {
	base string
	opts RootOptions
}

func (w rootWriter) below(path string) json.RawMessage { return quoted(w.base + path) }

// offer answers path below the base if the original names an address for the same thing.
func (w rootWriter) offer(m Member, path string) json.RawMessage {
	if text, _ := textOf(m.Value); text == "" {
		return nil
	}
	return w.below(path)
}

// member returns what becomes of one member of the original, nil to leave it out.
func (w rootWriter) member(all Object, m Member) json.RawMessage {
	switch m.Key {
	case "packages":
		return json.RawMessage("[]")
	case "metadata-url":
		return w.below(w.opts.World + "/p2/%package%.json")
	case "search":
		return w.offer(m, "/search.json?q=%query%&type=%type%")
	case "list":
		return w.offer(m, w.opts.World+"/packages/list.json")
	case "providers-api":
		return w.offer(m, "/providers/%package%.json")
	case "notify-batch":
		return w.offer(m, "/downloads/")
	case "metadata-changes-url":
		return w.offer(m, "/metadata/changes.json")
	case "security-advisories":
		return w.advisories(parseObject(m.Value))
	case "filter":
		return w.filter(parseObject(m.Value))
	case "available-packages", "available-package-patterns":
		if !w.opts.Available || len(all.texts(m.Key)) == 0 {
			return nil
		}
		return m.Value
	case "warning", "info":
		if all.Text(m.Key) == "" || all.Text(m.Key+"-versions") == "" {
			return nil
		}
		return m.Value
	case "warning-versions", "info-versions":
		if all.Text(m.Key) == "" || all.Text(strings.TrimSuffix(m.Key, "-versions")) == "" {
			return nil
		}
		return m.Value
	case "warnings", "infos":
		return limitedMessages(all.list(m.Key))
	case "mirrors", "notify", "includes", "providers", "provider-includes", "providers-url", "providers-lazy-url":
		return nil
	}
	if holdsAddress(m.Value, true) {
		return nil
	}
	return m.Value
}

// advisories: without an api-url Composer 2.7 and later refuse the whole root, and up to 2.6 they want it absolute.
func (w rootWriter) advisories(o Object) json.RawMessage {
	if o.Text("api-url") == "" && !isTrue(o.Get("metadata")) {
		return nil
	}
	const path = "/api/security-advisories/"
	return w.block(o, map[string]string{"api-url": path}).With("api-url", w.below(path)).append(nil)
}

// filter: Composer ignores the block unless metadata is true and wants lists to be an object. The api-url is not served and its absence costs nothing, since
// documents carry the same entries.
func (w rootWriter) filter(o Object) json.RawMessage {
	if !isTrue(o.Get("metadata")) || !bytes.HasPrefix(o.Get("lists"), []byte("{")) {
		return nil
	}
	return w.block(o, map[string]string{"summary-url": "/lists/all/summary.json"}).append(nil)
}

// block copies an object of settings with the addresses that are served replaced and all others left out.
func (w rootWriter) block(o Object, served map[string]string) Object {
	out := Object{}
	for _, m := range o {
		if path, ok := served[m.Key]; ok {
			if text, _ := textOf(m.Value); text != "" {
				out = append(out, Member{m.Key, w.below(path)})
			}
		} else if !holdsAddress(m.Value, true) {
			out = append(out, m)
		}
	}
	return out
}

// limitedMessages keeps the messages that say for which versions of Composer they are meant.
func limitedMessages(list []json.RawMessage) json.RawMessage {
	var kept []json.RawMessage
	for _, v := range list {
		if o := parseObject(v); o.Text("message") != "" && o.Text("versions") != "" {
			kept = append(kept, v)
		}
	}
	return listOf(kept)
}

// messages adds our own messages behind those under key.
func (w rootWriter) messages(out Object, key string, add []Message) Object {
	if len(add) == 0 {
		return out
	}
	list := out.list(key)
	for _, m := range add {
		versions := m.Versions
		if versions == "" {
			versions = "*"
		}
		list = append(list, Object{{"message", quoted(m.Text)}, {"versions", quoted(versions)}}.append(nil))
	}
	return out.With(key, listOf(list))
}

// listOf writes a list, nil when it would be empty.
func listOf(values []json.RawMessage) json.RawMessage {
	if len(values) == 0 {
		return nil
	}
	dst := []byte{'['}
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, v...)
	}
	return append(dst, ']')
}

// holdsAddress reports whether a valid value is or holds, at any depth, an absolute address. At the top a path from the
// root of the host is an address too.
func holdsAddress(v json.RawMessage, top bool) bool {
	if text, ok := textOf(v); ok && top && strings.HasPrefix(text, "/") {
		return true
	}
	for i := 0; i < len(v); i++ {
		if v[i] != '"' {
			continue
		}
		end := stringEnd(v, i)
		if text := unquote(v[i:end]); schemeOf(text) != "" || strings.HasPrefix(text, "//") {
			return true
		}
		i = end - 1
	}
	return false
}
