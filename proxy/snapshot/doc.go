// Package snapshot keeps named snapshots of the package world: what was
// visible at one instant, or exactly what some lock files need, written down
// once and never changed.
//
// It owns the manifests, the records of snapshots being built and sealed, the
// channels that point at them, the pins of the archives they need, comparing
// two worlds, and the bundle in which a snapshot travels to another instance.
// How a document at an instant is found, which policies hide a version from
// it, and how an archive is fetched and checked is asked of a World; nothing
// here knows HTTP.
//
// A snapshot is building, then sealed or incomplete. A sealed one is named by
// the SHA-256 of its manifest, which lists every metadata document and every
// archive by digest together with the options that change what is served: the
// same id is the same world, on every instance. An incomplete one says what is
// missing and cannot be promoted.
//
// Promises:
//
//   - Nothing is sealed before everything it lists is held, checked and pinned.
//   - A build that was interrupted, by whatever, goes on where it was and comes
//     to the same snapshot. It leaves no pins behind when it is deleted instead.
//   - A bundle is believed whole or not at all: one changed byte anywhere in it
//     and nothing of it becomes visible.
package snapshot
