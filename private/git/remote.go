package git

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// remote is what a call needs to reach the repository: an address for git's command line, and the
// rest of what only the environment shows.
type remote struct {
	url    string
	call   call // env, config and secrets; arguments are added
	closed func()
}

// reach looks the host up, has its addresses judged, and holds git to them.
func (r *Repository) reach(ctx context.Context) (remote, error) {
	at := r.at
	to := remote{url: at.String(), closed: func() {}}
	to.call.env = []string{"GIT_ALLOW_PROTOCOL=" + at.scheme}
	to.call.secrets = r.credentials.secrets()
	if at.scheme == "file" {
		return to, nil
	}
	addrs, err := r.git.resolve(ctx, at.host, at.portNumber())
	if err != nil {
		return remote{}, err
	}
	switch at.scheme {
	case "ssh":
		var env []string
		if env, to.closed, err = r.git.sshEnvironment(at, r.credentials, addrs[0]); err != nil {
			return remote{}, err
		}
		to.call.env = append(to.call.env, env...)
	case "git":
		// The host that was meant goes into the request, as with virtual hosts.
		to.call.env = append(to.call.env, "GIT_OVERRIDE_VIRTUAL_HOST="+net.JoinHostPort(at.host, at.portNumber()))
		pinned := at
		pinned.host = addrs[0].String()
		to.url = pinned.String()
	default:
		to.call.config = r.webSettings(addrs)
	}
	return to, nil
}

// webSettings pin the addresses and carry the credentials, bound to the one origin.
func (r *Repository) webSettings(addrs []netip.Addr) []setting {
	at := r.at
	var list []string
	for _, addr := range addrs {
		if addr.Is6() {
			list = append(list, "["+addr.String()+"]")
		} else {
			list = append(list, addr.String())
		}
	}
	host := at.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	settings := []setting{
		{"http.curloptResolve", host + ":" + at.portNumber() + ":" + strings.Join(list, ",")},
		{"http.proxy", ""},
	}
	if r.git.o.CAFile != "" {
		settings = append(settings, setting{"http.sslCAInfo", r.git.o.CAFile})
	}
	if r.credentials.Password != "" {
		origin := fmt.Sprintf("%s://%s:%s/", at.scheme, host, cmp.Or(at.port, at.portNumber()))
		settings = append(settings, setting{"http." + origin + ".extraHeader", "Authorization: " + r.credentials.basic()})
	}
	return settings
}
