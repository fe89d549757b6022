package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// nginxConfig is Debian's nginx.conf, access log included, with the two servers
// of the comparison. Connections are not closed after 1,000 requests, which
// would be measured with them.
var nginxConfig = template.Must(template.New("").Parse(`daemon off;
worker_processes {{.Workers}};
pid {{.Dir}}/nginx.pid;
error_log stderr;
{{if .Root}}user root;{{end}}
events { worker_connections 4096; }
http {
	include /etc/nginx/mime.types;
	default_type application/octet-stream;
	sendfile on;
	tcp_nopush on;
	types_hash_max_size 2048;
	gzip on;
	access_log {{.Dir}}/access.log;
	keepalive_requests 100000000;
	client_body_temp_path {{.Dir}}/body;
	fastcgi_temp_path {{.Dir}}/fastcgi;
	uwsgi_temp_path {{.Dir}}/uwsgi;
	scgi_temp_path {{.Dir}}/scgi;
	proxy_temp_path {{.Dir}}/proxy;
	proxy_cache_path {{.Dir}}/cache levels=1:2 keys_zone=cache:10m max_size=10g inactive=1d;
	server {
		listen 127.0.0.1:{{.Static}};
		root {{.Mirror}};
		gzip_static on;
		location = /downloads/ { return 201; }
	}
{{if .Upstream}}	server {
		listen 127.0.0.1:{{.Cache}};
		location / {
			proxy_pass {{.Upstream}};
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_cache cache;
			proxy_cache_valid 200 1h;
			proxy_cache_lock on;
		}
	}
{{end}}}
`))

// nginx is one running nginx: a static mirror, and a proxy cache before the
// same upstream.
type nginx struct {
	*process
	mirror string // folder of the static files
	static string // URL of the static mirror
	cache  string // URL of the proxy cache
	access string
}

// nginx starts it with one worker when it is pinned to a core, and else with as
// many as there are cores, which is Debian's default. static is the port of the
// mirror, whose files name it.
func (b *bench) nginx(ctx context.Context, core int, upstream, mirror, static string) (*nginx, error) {
	cache, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := b.folder("nginx")
	if err != nil {
		return nil, err
	}
	workers := "1"
	if core == anyCore {
		workers = "auto"
	}
	var config bytes.Buffer
	err = nginxConfig.Execute(&config, map[string]any{
		"Workers": workers, "Dir": dir, "Root": os.Geteuid() == 0, "Mirror": mirror, "Upstream": upstream, "Static": static, "Cache": cache,
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, config.Bytes(), 0o644); err != nil {
		return nil, err
	}
	program, err := findNginx()
	if err != nil {
		return nil, err
	}
	p, err := b.spawn("nginx", core, nil, program, "-c", file, "-p", dir)
	if err != nil {
		return nil, err
	}
	p.url = "http://127.0.0.1:" + static
	n := &nginx{process: p, mirror: mirror, static: p.url, cache: "http://127.0.0.1:" + cache, access: filepath.Join(dir, "access.log")}
	return n, p.await(ctx, "/")
}

// findNginx looks where Debian puts it, too, which is in root's path alone.
func findNginx() (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/nginx")
}

func (n *nginx) quiet() error { return os.Truncate(n.access, 0) }

// mirrorOf writes what Stasis answers at paths as static files, with their
// dates, plain and compressed. Stasis is asked under the name of the mirror, so
// that the addresses in its documents lead there.
func mirrorOf(ctx context.Context, s *stasis, host, dir string, paths []string) error {
	for _, path := range paths {
		file := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		encodings := []string{"identity"}
		if strings.HasSuffix(path, ".json") {
			encodings = append(encodings, "gzip")
		}
		for _, encoding := range encodings {
			a, err := get(ctx, s.url+path, "Host", host, "Accept-Encoding", encoding)
			if err != nil {
				return err
			}
			if a.status != http.StatusOK {
				return fmt.Errorf("GET %s for the mirror: status %d", path, a.status)
			}
			name := file
			if encoding == "gzip" {
				name += ".gz"
			}
			if err := os.WriteFile(name, a.body, 0o644); err != nil {
				return err
			}
			if at, err := http.ParseTime(a.header.Get("Last-Modified")); err == nil {
				if err := os.Chtimes(name, time.Time{}, at); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// answer is what a server answered, as it came.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// asking sends requests of this program. It unpacks nothing.
var asking = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64}

// get asks for url with header pairs (name, value, …).
func get(ctx context.Context, url string, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := asking.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("GET %s: %w", url, err)
	}
	return answer{resp.StatusCode, resp.Header, body}, nil
}
