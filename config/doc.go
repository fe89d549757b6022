// Package config owns the settings of Stasis: their names, defaults, meaning and what is allowed.
//
// A setting has one name everywhere. PROXY_METADATA_TTL in the environment is proxy_metadata_ttl (or metadata_ttl below
// proxy) in the YAML file and --proxy-metadata-ttl on the command line. The first of flag, environment, .env in the
// working directory, file and default that gives a value decides; an empty environment variable gives none.
// Durations are plain numbers of seconds or carry units (90s, 1h30m, 7d); sizes are plain numbers of bytes or carry
// units, decimal (64MB, 10GB) or binary (64MiB, 10GiB).
//
// Load promises that a configuration it returns without error is complete and valid, and that an error names every
// mistake at once, one sentence each. Secrets never show in what this package prints.
//
// What a setting does is left to the packages it is handed to: they have options of their own and do not know this one.
package config
