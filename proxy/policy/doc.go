// Package policy decides what may be seen: which versions of a document a
// view shows, at which reference, and which archives are handed out.
//
// It owns the operator's rules (blocks, waivers, exemptions from the minimum
// release age, holds at a version constraint), the policy about re-tagged
// versions, and the list of re-tags that were seen. Rules are never rewritten
// and never deleted: lifting one notes when, so that a dated view can ask what
// applied at its instant.
//
// It promises that an evaluation depends on nothing but the rules, the facts
// and the view it is given: the same question has the same answer. What a
// version gains by lying about its own date is nothing. Two of the rules look
// at different moments on purpose:
//
//   - what a version *is* (re-tag policy, holds) is decided as of the view's
//     instant, so that a dated view stays what it was;
//   - what is *denied* (blocks, upstream's malware list, and the waivers from
//     both) is decided as of now, in every view, so that a view of the past
//     keeps nothing alive that was found to be bad since.
//
// Freezes and instants choose the document and come before; the callers do
// that, fetch what is needed as facts, and serve. This package knows no HTTP
// and asks nobody.
package policy
