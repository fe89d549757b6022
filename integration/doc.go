// Package integration proves, with the built program, what users are promised.
//
// It owns no code that ships: its tests build the binary once, put it in front
// of a scripted Packagist (package standin), and ask it what Composer asks,
// with a scripted HTTP client and with the real Composer. Tests named after a
// C-number prove the statement of that number in the conformance list, which
// docs/conformance.md follows. The real slice of the registry is used when it
// lies beside the repository.
//
// Environment: STASIS_RACE=1 builds the binary with the race detector,
// STASIS_BINARY names one that is built already,
// STASIS_REQUIRE_COMPOSER=1 makes a missing Composer a failure instead of a
// skipped test, and STASIS_COMPOSERS names further Composer commands, separated
// by newlines or semicolons, that the client tests run as well.
package integration
