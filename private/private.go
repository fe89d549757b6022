// Package private is about packages that are ours alone: at present, which names those are.
//
// It owns the question which names those are. It promises that the answer
// depends on the configuration only, never on whether a package exists or a
// source answers, so that a private name is never asked of a public registry
// (dependency confusion).
package private
