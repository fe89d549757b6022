package git

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"stasis/proxy/upstream"
)

// Options configure Git. Zero values mean the defaults given here.
type Options struct {
	// Dir is the folder for mirrors. It belongs to this program alone.
	Dir string
	// Timeout (10m) bounds one Sync, Scan, Zip or Maintain.
	Timeout time.Duration
	// MaxSize (2 GiB) bounds a mirror in bytes while it is fetched into.
	MaxSize int64
	// MaxRefs (50,000) bounds the tags and branches of a repository.
	MaxRefs int
	// MaxUnpacked (2 GiB) bounds the files of one archive together, in bytes.
	MaxUnpacked int64
	// Concurrency (4) bounds the operations that run git at the same time.
	Concurrency int
	// AllowPlain allows http:// and git://, on whose way anybody can change what is fetched.
	AllowPlain bool
	// AllowLocal allows repositories on this machine's disk. Whoever may add one can read every
	// repository that this program can.
	AllowLocal bool
	// AllowedHosts may have special addresses, such as private ones, as in proxy/upstream.
	AllowedHosts []string
	// CAFile holds the certificate authorities (PEM) that replace the system's; "" for the system's.
	CAFile string
	// SSHAgent is the socket of an agent for repositories without a key of their own; "" for none.
	SSHAgent string
	// Logger is told what was done to mirrors; nil discards.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Minute
	}
	if o.MaxSize <= 0 {
		o.MaxSize = 2 << 30
	}
	if o.MaxRefs <= 0 {
		o.MaxRefs = 50_000
	}
	if o.MaxUnpacked <= 0 {
		o.MaxUnpacked = 2 << 30
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 4
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Credentials open a repository. The zero Credentials are none.
type Credentials struct {
	// Username and Password are for https and http. A token goes where the password goes; hosts then
	// do not mind the user's name, and "token" is sent when it is empty.
	Username, Password string
	// SSHKey is a private key without a passphrase, as OpenSSH writes it.
	SSHKey []byte
	// KnownHosts are lines of OpenSSH's known_hosts, and only a host that is in them is believed.
	// Without them the first key that a host shows is remembered and believed from then on.
	KnownHosts []byte
}

// Git makes and reads mirrors. It is safe for concurrent use. Only one may use a folder at a time.
type Git struct {
	o        Options
	binary   string
	environ  []string // what every git sees
	resolve  func(ctx context.Context, host, port string) ([]netip.Addr, error)
	slots    *semaphore.Weighted
	blank    string // a repository without refs and objects, see Zip
	hostKeys string // known_hosts of those whose keys were not given
	packed   *packedCache

	mu    sync.Mutex // guards locks
	locks map[string]*semaphore.Weighted
}

// minMinor is the least git 2.x: 2.37 (June 2022) is the first that can be held to an address while
// it speaks https, and that keeps what nothing refers to in one pack.
const minMinor = 37

var versionNumber = regexp.MustCompile(`^git version (\d+)\.(\d+)`)

// New finds git, makes sure of its version, and prepares the folder for mirrors.
func New(o Options) (*Git, error) {
	o = o.withDefaults()
	if o.Dir == "" {
		return nil, errors.New("git needs a folder for its mirrors")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	resolver, err := upstream.NewResolver(o.AllowedHosts)
	if err != nil {
		return nil, err
	}
	binary, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("packages from git repositories need git 2.%d or newer, which is not installed: %w", minMinor, err)
	}
	g := &Git{
		o: o, binary: binary, resolve: resolver.Resolve,
		slots: semaphore.NewWeighted(int64(o.Concurrency)),
		blank: filepath.Join(dir, "blank.git"), hostKeys: filepath.Join(dir, "known_hosts"),
		packed: newPackedCache(), locks: map[string]*semaphore.Weighted{},
	}
	if err := g.prepare(); err != nil {
		return nil, err
	}
	return g, nil
}

// prepare makes the folder what the methods expect, and clears away what a crash left.
func (g *Git) prepare() error {
	home, config := filepath.Join(g.o.Dir, "home"), filepath.Join(g.o.Dir, "config")
	if err := os.RemoveAll(home); err != nil {
		return err
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return fmt.Errorf("make the folder for git mirrors: %w", err)
	}
	text := ""
	if g.o.AllowLocal {
		// git refuses to read repositories of other users, which local ones usually are. What could
		// run commands in their configuration is not looked at by the side that only sends.
		text = "[safe]\n\tdirectory = *\n"
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the configuration of git: %w", err)
	}
	g.environ = environment(home, config)
	leftovers, err := filepath.Glob(filepath.Join(g.o.Dir, "*"+incoming+"*"))
	if err != nil {
		return err
	}
	for _, dir := range leftovers {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := g.checkVersion(ctx); err != nil {
		return err
	}
	if _, err := g.output(ctx, call{args: []string{"init", "--quiet", "--bare", "--template=", g.blank}}); err != nil {
		return fmt.Errorf("make an empty repository: %w", err)
	}
	return nil
}

func (g *Git) checkVersion(ctx context.Context) error {
	out, err := g.output(ctx, call{args: []string{"version"}})
	if err != nil {
		return fmt.Errorf("ask git for its version: %w", err)
	}
	m := versionNumber.FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("%s does not answer like git: %.80q", g.binary, out)
	}
	major, _ := strconv.Atoi(m[1]) // digits; one that is too large is large
	minor, _ := strconv.Atoi(m[2])
	if major < 2 || major == 2 && minor < minMinor {
		return fmt.Errorf("%s is %s, and packages from git repositories need 2.%d or newer", g.binary, strings.TrimSpace(out), minMinor)
	}
	return nil
}

// lock returns the lock of one mirror, which all who change it hold.
func (g *Git) lock(dir string) *semaphore.Weighted {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.locks[dir]
	if l == nil {
		l = semaphore.NewWeighted(1)
		g.locks[dir] = l
	}
	return l
}
