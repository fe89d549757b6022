// Command bench measures the built Stasis beside what it is compared with, and
// writes docs/benchmarks.md.
//
// It owns the other side of every ratio: nginx from Debian's packages (the same
// bytes as static files, and a proxy cache before the same upstream) and a bare
// net/http handler that writes the same ready bytes. wrk, an open-loop client
// (load.go) and real Composer drive them, one after the other, in interleaved
// rounds; a figure is the median of its rounds, and a ratio the median of the
// rounds' ratios. "Per core" means that the server is pinned to one core, the
// client to another, and the work is divided by the processor time that the
// server's processes used.
//
// It promises to end by itself, to talk to nobody but this machine, and to
// leave nothing behind. Stasis is measured as it is installed: its defaults,
// with an administrator's token, metrics and the access log.
//
// Large sets are real documents and archives under other names, so the real
// slice of the registry (shared/packagist beside the repository) is needed.
// Micro-benchmarks stay beside the code they measure; "make microbench" runs
// them.
package main
