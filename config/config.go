package config

import (
	"net/netip"
	"time"
)

// Config is every setting of Stasis. The comment of a field is its manual entry: the flags' help,
// docs/configuration.md and the table in README.md are made from it, together with the tags:
// setting (the name in the environment), default, min and max (inclusive), oneof, unit.
type Config struct {
	Server  Server
	Admin   Admin
	Access  Access
	Proxy   Proxy
	Private Private
	Store   Store
	Log     Log
	Client  Client
}

// Server is how Stasis is reached.
type Server struct {
	// The address to listen on. 0.0.0.0 is every IPv4 address of the machine, :: every address of both kinds.
	Host string `setting:"HOST" default:"0.0.0.0"`

	// The TCP port to listen on. 0 lets the system choose a free one, which the log then names. HOST and PORT mean
	// nothing when the service manager passes a listening socket (systemd's socket activation).
	Port int `setting:"PORT" default:"8080" min:"0" max:"65535"`

	// The address clients use, such as https://packages.example.com, with a path if Stasis is mounted below one.
	// Every link Stasis hands out starts with it. When empty it is taken from each request, and from
	// forwarding headers if the request came through one of TRUSTED_PROXIES.
	BaseURL string `setting:"BASE_URL" default:""`

	// The reverse proxies whose Forwarded and X-Forwarded-* headers are believed, as addresses or CIDR
	// ranges (comma-separated). Empty believes nobody.
	TrustedProxies []netip.Prefix `setting:"TRUSTED_PROXIES" default:""`

	// The certificate (PEM, with its chain) for serving HTTPS and with it HTTP/2. Read again on SIGHUP.
	// Needs TLS_KEY_FILE; without both, Stasis speaks plain HTTP.
	TLSCertFile string `setting:"TLS_CERT_FILE" default:""`

	// The private key (PEM) that belongs to TLS_CERT_FILE.
	TLSKeyFile string `setting:"TLS_KEY_FILE" default:""`

	// Whether HTTP/2 is spoken without TLS to those who ask for it with prior knowledge, as reverse proxies can.
	H2C bool `setting:"H2C" default:"false"`

	// How long requests in flight may take to finish after SIGTERM or SIGINT. A second signal ends them at once.
	ShutdownTimeout time.Duration `setting:"SHUTDOWN_TIMEOUT" default:"30" min:"0"`

	// The memory the Go runtime tries to stay below. 0 takes 90 % of the container's limit, if there is one.
	MemoryLimit Size `setting:"MEMORY_LIMIT" default:"0" min:"0"`
}

// Admin is who may manage Stasis.
type Admin struct {
	// The token that opens the management API (Authorization: Bearer …), or its argon2id hash. Without a token and
	// without ADMIN_TOKEN_HASH the API answers 401 to everybody; the proxy works all the same.
	Token Secret `setting:"ADMIN_TOKEN" default:""`

	// The argon2id hash of the token in PHC form ($argon2id$v=19$m=19456,t=2,p=1$salt$hash), in place of the
	// token itself; "stasis hash-token" makes one. With both set, either token is accepted. In a .env file it needs single
	// quotes, in compose.yaml every $ doubled.
	TokenHash Secret `setting:"ADMIN_TOKEN_HASH" default:""`

	// Whether /metrics is answered without the admin token.
	MetricsPublic bool `setting:"METRICS_PUBLIC" default:"true"`

	// For how many days the audit log keeps what administrators did. 0 keeps everything.
	AuditRetention int `setting:"AUDIT_LOG_RETENTION_DAYS" default:"0" min:"0" max:"36500"`
}

// Access is who may read.
type Access struct {
	// What clients without a token get: true is everything, public-only hides private packages from them, false
	// asks everybody for a token.
	PublicRead string `setting:"PUBLIC_READ" default:"public-only" oneof:"true|false|public-only"`

	// The key that credentials of sources are encrypted with: 256 bits as 64 hex digits, which openssl rand -hex 32
	// makes. Without it none can be stored. Keep a copy elsewhere: what it encrypted is lost with it.
	EncryptionKey Secret `setting:"ENCRYPTION_KEY" default:""`

	// The key before ENCRYPTION_KEY. At a start everything that it encrypted is encrypted with the new one, after
	// which this setting can be removed.
	EncryptionKeyOld Secret `setting:"ENCRYPTION_KEY_OLD" default:""`
}

// Proxy is how Packagist is asked, recorded and served.
type Proxy struct {
	// Whether public packages are proxied at all.
	Enabled bool `setting:"PROXY_ENABLED" default:"true"`

	// How long a metadata document counts as fresh. A document is revalidated when it is older, never deleted.
	MetadataTTL time.Duration `setting:"PROXY_METADATA_TTL" default:"3600" min:"0"`

	// How long a stored archive whose reference can move, such as a branch, is trusted. No archive is deleted for its
	// age, only for want of room.
	ArchiveTTL time.Duration `setting:"PROXY_ARCHIVE_TTL" default:"86400" min:"0"`

	// How much room archives may take. The least recently used ones go first; pinned ones and all metadata stay.
	MaxCacheSize Size `setting:"PROXY_MAX_CACHE_SIZE" default:"10737418240" min:"1MiB"`

	// How much room pinned archives may take, which eviction does not touch. 0 sets no limit.
	MaxPinnedSize Size `setting:"PROXY_MAX_PINNED_SIZE" default:"0" min:"0"`

	// The largest archive that is accepted from its origin.
	MaxArchiveSize Size `setting:"PROXY_MAX_ARCHIVE_SIZE" default:"2GiB" min:"1KiB"`

	// How much memory ready-made answers may take. A quarter of it is for small archives. 0 keeps none.
	HotSize Size `setting:"PROXY_HOT_SIZE" default:"128MiB" min:"0"`

	// The Composer repository that is proxied.
	PackagistURL string `setting:"PROXY_PACKAGIST_URL" default:"https://repo.packagist.org"`

	// The User-Agent of every request to the outside. Packagist asks for one that names a contact address: please
	// set your own. {version} stands for the version of Stasis.
	UserAgent string `setting:"PROXY_USER_AGENT" default:"Stasis/{version} (caching Composer proxy; contact: set PROXY_USER_AGENT)"`

	// How long one metadata or API request to the outside may take, and how long an archive download may stand still.
	UpstreamTimeout time.Duration `setting:"PROXY_UPSTREAM_TIMEOUT" default:"60" min:"1ms"`

	// How many requests to the outside may run at the same time; archives have as many again.
	UpstreamConcurrency int `setting:"PROXY_UPSTREAM_CONCURRENCY" default:"10" min:"1" max:"1000"`

	// How often use is written down, leftovers are swept and space is given back to the disk.
	CleanupInterval time.Duration `setting:"PROXY_CLEANUP_INTERVAL" default:"3600" min:"1s"`

	// How long after PROXY_METADATA_TTL a document is still answered at once while it is revalidated behind.
	// One that is older is revalidated first.
	StaleWhileRevalidate time.Duration `setting:"PROXY_STALE_WHILE_REVALIDATE" default:"3600" min:"0"`

	// How long a client waits for a revalidation before it gets the copy that is held.
	RevalidateWait time.Duration `setting:"PROXY_REVALIDATE_WAIT" default:"3" min:"0"`

	// How long the answer that a name does not exist counts as fresh.
	NegativeTTL time.Duration `setting:"PROXY_NEGATIVE_TTL" default:"300" min:"0"`

	// How often the change feed is asked for documents that changed, so that those in use are fresh before their time
	// is over. 0 turns the feed off.
	FeedInterval time.Duration `setting:"PROXY_FEED_INTERVAL" default:"60" min:"0"`

	// How old a release must be before the plain addresses show it. 0 shows every release at once.
	MinReleaseAge time.Duration `setting:"PROXY_MIN_RELEASE_AGE" default:"0" min:"0"`

	// Whether the archive of a release that is too young is refused as well, so that a lock file made elsewhere does
	// not bring it in.
	EnforceOnDownload bool `setting:"PROXY_ENFORCE_ON_DOWNLOAD" default:"true"`

	// How old a security fix must be to be shown before PROXY_MIN_RELEASE_AGE is over. It is shown early only when an
	// advisory says that it is one.
	SecurityGrace time.Duration `setting:"PROXY_SECURITY_GRACE" default:"1d" min:"0"`

	// What becomes of a stable version whose reference upstream changes: keep-first goes on serving what was first
	// seen, follow serves the new one, hide serves neither.
	RetagPolicy string `setting:"PROXY_RETAG_POLICY" default:"keep-first" oneof:"keep-first|follow|hide"`

	// How old an instant must be before a dated view of it is given, because until then upstream's own caches may
	// still answer with what was before.
	SnapshotSettle time.Duration `setting:"PROXY_SNAPSHOT_SETTLE" default:"900" min:"0"`

	// Whether Composer's download notifications are passed on to Packagist for its statistics.
	NotifyUpstream bool `setting:"PROXY_NOTIFY_UPSTREAM" default:"false"`

	// How Composer is led to our archives: rewrite replaces each dist URL, and lock files name this server; mirror
	// announces a mirror in packages.json, and lock files keep the original URLs beside it.
	DistMode string `setting:"PROXY_DIST_MODE" default:"rewrite" oneof:"rewrite|mirror"`

	// Hosts that may be fetched from although their address is private or otherwise special: names, *.domain or addresses
	// as URLs spell them, with a port if only that one is meant, or CIDR ranges of such addresses (comma-separated).
	AllowedHosts []string `setting:"PROXY_ALLOWED_HOSTS" default:""`

	// Credentials for the origins of archives and for the upstream repository: the path of a file in Composer's
	// auth.json format, or its JSON text.
	AuthJSON Secret `setting:"PROXY_AUTH_JSON" default:""`
}

// Private is which packages are ours, and who may read what.
type Private struct {
	// Vendor names that belong to us, or patterns such as acme/* and acme/tool-* (comma-separated). They are never asked
	// for at Packagist, so that no stranger can publish a package there that takes the place of ours.
	Vendors []string `setting:"PRIVATE_VENDORS" default:""`

	// The folder below which watched folders of archives lie. Empty allows none.
	ArtifactFolder string `setting:"PRIVATE_ARTIFACT_FOLDER" default:""`

	// How long one reading of a source of private packages may take.
	SyncTimeout time.Duration `setting:"PRIVATE_SYNC_TIMEOUT" default:"1800" min:"1s"`

	// The largest mirror of a git repository.
	GitMaxSize Size `setting:"GIT_MAX_SIZE" default:"2GiB" min:"1MiB"`

	// Whether repositories may be fetched over http:// and git://, on whose way anybody can change them.
	GitAllowPlain bool `setting:"GIT_ALLOW_PLAIN" default:"false"`

	// Whether repositories on the disk of this machine may be sources. Whoever may add a source can then read every
	// repository that Stasis can.
	GitAllowLocal bool `setting:"GIT_ALLOW_LOCAL" default:"false"`

	// A file with the certificate authorities (PEM) that git trusts in place of the system's.
	GitCAFile string `setting:"GIT_CA_FILE" default:""`

	// The socket of an SSH agent for repositories without a key of their own.
	GitSSHAgent string `setting:"GIT_SSH_AGENT" default:""`

	// The secret with which GitHub signs what it sends to /api/webhooks/github. While one secret replaces another there may
	// be two, with a space between them. Without a secret nothing is taken from the provider.
	GitHubSecret Secret `setting:"GITHUB_WEBHOOK_SECRET" default:""`

	// The secret of GitLab's webhooks. A signing token, which begins with whsec_, is preferred to the older secret token:
	// once there is one, deliveries must be signed.
	GitLabSecret Secret `setting:"GITLAB_WEBHOOK_SECRET" default:""`

	// The secret of Gitea's webhooks.
	GiteaSecret Secret `setting:"GITEA_WEBHOOK_SECRET" default:""`

	// The secret of Forgejo's webhooks.
	ForgejoSecret Secret `setting:"FORGEJO_WEBHOOK_SECRET" default:""`

	// The secret of Bitbucket's webhooks, in the cloud and in a data center.
	BitbucketSecret Secret `setting:"BITBUCKET_WEBHOOK_SECRET" default:""`
}

// Store is where things are kept.
type Store struct {
	// The folder that holds all data. One Stasis at a time.
	Path string `setting:"STORE_PATH" default:"./data"`

	// What keeps the bodies of archives: badger, the embedded database, or files, one file each.
	Archives string `setting:"STORE_ARCHIVES" default:"badger" oneof:"badger|files"`

	// The free space on the disk that Stasis leaves alone: below it, archives are passed on without being kept. 0 takes
	// 256 MiB or 5 % of the disk, whichever is smaller.
	MinFreeSpace Size `setting:"STORE_MIN_FREE_SPACE" default:"0" min:"0"`
}

// Log is what Stasis says about its work, on standard error.
type Log struct {
	// How a log line looks: auto is text on a terminal and json elsewhere.
	Format string `setting:"LOG_FORMAT" default:"auto" oneof:"auto|json|text"`

	// The least severe level that is logged.
	Level string `setting:"LOG_LEVEL" default:"info" oneof:"debug|info|warn|error"`
}

// Client is what the commands that talk to a running Stasis need, together with ADMIN_TOKEN.
type Client struct {
	// Where the running Stasis is. When empty it is on this machine, at HOST and PORT.
	URL string `setting:"STASIS_URL" default:""`
}
