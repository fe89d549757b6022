package main

import (
	"context"
	"fmt"
	"strings"
)

// Where Composer is sent.
const (
	far     = "directly"
	unheld  = "Stasis, cold"
	keeping = ", cache kept"
)

// shop is where applications are installed from, and the lock files that name
// it.
type shop struct {
	name   string
	url    string
	client *user
	locks  map[string]string // by application
}

// applications measures what people feel: real Composer with real projects.
func applications(ctx context.Context, b *bench, s *section) (err error) {
	s.title = "Real applications"
	s.about = fmt.Sprintf("`composer update` without a lock file and `composer install` with one, of three real applications and with an empty Composer cache. "+
		"Warm Stasis and nginx's static mirror of the same files are on this machine; \"directly\" and through an empty Stasis every request to the registry and to the archives' origin takes %s. "+
		"Where the cache is kept, Composer has seen everything before. Composer's files are on a disk in memory.", b.scale.delay)
	up, err := b.registry()
	if err != nil {
		return err
	}
	defer up.Close()
	warm, err := b.stasis(ctx, anyCore, up.URL(), "")
	if warm != nil {
		defer join(&err, warm.stop)
	}
	if err != nil {
		return err
	}
	held, err := b.shop(ours, warm.url)
	if err != nil {
		return err
	}
	// The first run fills Stasis, and what it answered is what the mirror has.
	for _, app := range b.scale.applications {
		if _, held.locks[app], err = b.timed(ctx, held.client, app, "update", ""); err != nil {
			return err
		}
		if _, _, err = b.timed(ctx, held.client, app, "install", held.locks[app]); err != nil {
			return err
		}
	}
	ngx, err := b.mirrored(ctx, warm)
	if ngx != nil {
		defer join(&err, ngx.stop)
	}
	if err != nil {
		return err
	}
	static, err := b.shop(mirror, ngx.static)
	if err != nil {
		return err
	}
	direct, err := b.shop(far, up.URL())
	if err != nil {
		return err
	}
	for _, app := range b.scale.applications {
		if err := b.sameLock(ctx, app, held, static, direct); err != nil {
			return err
		}
	}
	return b.errands(ctx, s, up, held, static, direct)
}

func (b *bench) shop(name, url string) (*shop, error) {
	c, err := b.user(url)
	return &shop{name, url, c, map[string]string{}}, err
}

// mirrored is nginx with a static mirror of all that Stasis answered.
func (b *bench) mirrored(ctx context.Context, s *stasis) (*nginx, error) {
	paths, err := s.answered()
	if err != nil {
		return nil, err
	}
	dir, err := b.folder("mirror")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if err := mirrorOf(ctx, s, "127.0.0.1:"+port, dir, paths); err != nil {
		return nil, err
	}
	return b.nginx(ctx, anyCore, "", dir, port)
}

// sameLock lets every shop make its lock file, which must be the first one's
// but for the addresses of the archives.
func (b *bench) sameLock(ctx context.Context, app string, first *shop, others ...*shop) error {
	for _, other := range others {
		_, lock, err := b.timed(ctx, other.client, app, "update", "")
		if err != nil {
			return err
		}
		other.locks[app] = lock
		if ours, theirs := withoutAddresses(first.locks[app]), withoutAddresses(lock); ours != theirs {
			return fmt.Errorf("%s: the lock file made through %s differs from the one made through %s", app, other.name, first.name)
		}
	}
	return nil
}

// withoutAddresses drops the lines that say where archives come from and where
// their installation is notified.
func withoutAddresses(lock string) string {
	var out strings.Builder
	for line := range strings.Lines(lock) {
		if !strings.Contains(line, `url": "http`) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// errands sends Composer everywhere, in rounds.
func (b *bench) errands(ctx context.Context, s *section, up *registry, held, static, direct *shop) error {
	columns := []string{ours, mirror, far, unheld, ours + keeping, far + keeping}
	tables := map[string]*table{
		"update":  s.table("`composer update` without a lock file", "s", columns...),
		"install": s.table("`composer install` with a lock file", "s", columns...),
	}
	for round := range b.rounds {
		for _, app := range b.scale.applications {
			for _, command := range []string{"update", "install"} {
				t := tables[command]
				near := []*shop{held, static}
				for i := range near {
					if err := b.errand(ctx, t, near[(i+round)%2], app, command, false); err != nil {
						return err
					}
				}
				if err := b.errand(ctx, t, held, app, command, true); err != nil {
					return err
				}
				if err := b.distant(ctx, t, up, direct, held, app, command, round); err != nil {
					return err
				}
			}
		}
	}
	b.gains(s, tables)
	for _, command := range []string{"update", "install"} {
		t := tables[command]
		for _, app := range b.scale.applications {
			s.atMost(fmt.Sprintf("composer %s of %s, warm Stasis over nginx static", command, app), 1.05, "×", t.ratio(app, ours, mirror))
		}
		for _, app := range b.scale.applications {
			s.atMost(fmt.Sprintf("composer %s of %s, cold Stasis over directly, %s away", command, app, b.scale.delay), 1.05, "×", t.ratio(app, unheld, far))
		}
	}
	return nil
}

// gains says how much faster each arrangement is than going to a registry that
// is far away with an empty cache, for docs/ci.md.
func (b *bench) gains(s *section, tables map[string]*table) {
	gain := s.table("Gain over an empty cache and no Stasis (see ci.md)", "times as fast", far+keeping, unheld, ours, ours+keeping)
	for _, command := range []string{"update", "install"} {
		for _, app := range b.scale.applications {
			for _, column := range gain.columns {
				for _, ratio := range tables[command].ratio(app, far, column) {
					gain.add(command+" of "+app, column, ratio)
				}
			}
		}
	}
}

// distant is what happens while the registry is far away.
func (b *bench) distant(ctx context.Context, t *table, up *registry, direct, held *shop, app, command string, round int) (err error) {
	cold, err := b.stasis(ctx, anyCore, up.URL(), "")
	if cold != nil {
		defer join(&err, cold.discard)
	}
	if err != nil {
		return err
	}
	empty, err := b.shop(unheld, cold.url)
	if err != nil {
		return err
	}
	empty.locks[app] = strings.ReplaceAll(held.locks[app], held.url, cold.url)
	slow := up.slow(b.scale.delay)
	defer slow.Remove()
	both := []*shop{direct, empty}
	for i := range both {
		if err := b.errand(ctx, t, both[(i+round)%2], app, command, false); err != nil {
			return err
		}
	}
	return b.errand(ctx, t, direct, app, command, true)
}

// errand is one run of Composer. Without a kept cache it begins with an empty
// one; the cache that is kept is what such a run leaves behind.
func (b *bench) errand(ctx context.Context, t *table, from *shop, app, command string, kept bool) error {
	lock, column := "", from.name
	if command == "install" {
		lock = from.locks[app]
	}
	if kept {
		column += keeping
	} else if err := from.client.cool(); err != nil {
		return err
	}
	took, _, err := b.timed(ctx, from.client, app, command, lock)
	if err != nil {
		return err
	}
	t.add(app, column, took.Seconds())
	return nil
}
