// Package composer is the Composer repository protocol as data: package names, versions, metadata documents and
// the repository root, and the addresses by which archives are asked for.
//
// It owns the reading and writing of these texts and promises that what it does not understand survives: members of
// an object keep their order, values keep their exact text, and a number is never turned into a float. Every text that
// comes from outside is parsed once, strictly and with bounded depth, into a type that cannot be wrong afterwards.
// A document that Composer itself would refuse as JSON is refused here too, with a sentence that says why.
//
// It does no I/O, knows no clock and writes no log. When a document is fetched, how long it is believed, and where an
// archive lies are decided by its callers.
package composer
