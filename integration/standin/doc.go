// Package standin is a scripted Packagist that runs inside a test.
//
// It owns a small registry in memory, served over two listeners: the first
// answers everything that packagist.org, repo.packagist.org and the GitHub API
// answer, the second is another origin that hands out archives, so that a
// download crosses a redirect as it does in the field. The registry holds made
// packages (Publish) or the real slice of the registry (LoadSlice), and can be
// moved: versions appear, are re-tagged, deleted and recovered, branches are
// pushed, packages abandoned, advisories and filter entries added. Every move
// gives the touched files a newer Last-Modified and an entry in the change feed.
//
// It promises to count every request it receives, and to misbehave on demand:
// a Fault attached to a path pattern replaces the answers of the matching
// requests with slow, wrong, partial or missing ones. Waiting is done on events
// (Hold, Await), never on the clock.
//
// It deliberately shares no code with the program under test: its reading of
// the protocol is the second opinion the tests compare against.
package standin
