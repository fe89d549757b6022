// Package git reads Composer packages out of git repositories: which releases a repository holds, by
// Composer's own rules, and an archive of each.
//
// It owns mirrors, one bare repository for every address, in a folder of its own, and everything
// that is known about running git safely. Sync brings a mirror up to date, Scan says what it holds,
// Zip and File read from it. It promises:
//
//   - One commit, folder and package name always give the same archive bytes, on every machine and
//     whatever else the repository holds by then.
//   - What was once fetched stays: a tag that was moved or deleted remains readable by its commit.
//   - Something wrong with one tag is a sentence in the scan, and costs the other tags nothing.
//   - git runs without a configuration of the machine or of the repository, without hooks, prompts,
//     submodules and LFS, in its own process group that is killed when time, size or the caller's
//     patience end. Of an address it sees only what a strict grammar let through. It is held to the
//     addresses that proxy/upstream judged, and secrets reach it by its environment alone, or as a
//     key in a private file for as long as it runs.
//
// It leaves to others when to sync, what becomes of a moved tag, where archives are kept, and which
// names a repository may give its packages.
//
// Why the git binary and not go-git: the binary speaks every transport and every odd server, honours
// export-ignore and export-subst the way hosts do, checks what it receives, and is patched by the
// distribution when there is a hole in it. What is asked of it often is asked of one process that
// stays (cat-file --batch), so that 10,000 tags are a matter of a second or two; see
// BenchmarkScanOfTenThousandTags. Only what changes nothing and needs no process at all, which is
// the packing of zips and the patterns of archive.exclude, is done here.
package git
