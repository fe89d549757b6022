// Package upstream is the one way out of the daemon: every request that Stasis makes to the
// world goes through a Client.
//
// It owns what such a request may and may not do.
//
//   - Where it may connect. Addresses are judged after name resolution, in the dialer, for
//     every connection: loopback, private, link-local, shared, multicast, documentation and
//     cloud metadata addresses are refused, also when an IPv6 address hides them, unless the
//     host of the URL is one of Options.AllowedHosts.
//   - What it carries. Credentials come from one table keyed by scheme, host, port and perhaps a
//     path, and are looked up afresh for every redirect; of the caller's headers a short fixed
//     list passes. Owners may bring more while requests are made, for their own requests only.
//   - Where it may be sent on. Redirects are followed by our own loop: ten at most, http and
//     https only, and not from https down to http unless the host is allowed.
//   - How long it may take, how often it is tried, how many run at once, and how much a
//     compressed answer may grow.
//   - When a host is left alone. A host that keeps failing is not asked again before a growing
//     cool-down ends, and one that asks for patience gets it; meanwhile a request to it costs
//     microseconds.
//
// It promises that errors and log lines hold no credentials, no user information and no query
// strings, and that a cancelled caller is never held against the host.
//
// It leaves to others what answers mean: caching, validation, freshness and single-flight are
// the caller's, as are errors in the middle of a body. Retries end when a response header has
// arrived.
//
// Two limits are worth knowing. With Options.UseEnvProxy the proxy resolves names, so only
// addresses written out in a URL can be judged. And a credential that no owner brought is used
// for every URL that its key covers, whoever published that URL: give Stasis tokens that can read
// no more than its users may.
package upstream
