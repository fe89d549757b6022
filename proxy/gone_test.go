package proxy_test

import (
	"testing"
	"time"

	"stasis/integration/standin"
)

// TestAnUpstreamThatRecoversMeanwhileDeletesNothing: a registry that denies everything recovers just before its root is
// looked at, which is well then.
func TestAnUpstreamThatRecoversMeanwhileDeletesNothing(t *testing.T) {
	w := newRig(t, func(s *settings) { s.proxy.MetadataTTL, s.proxy.StaleWhileRevalidate = time.Hour, 0 })
	w.publish("1.0.0", "")
	before := w.want(lib, 200, missed)
	w.Advance(2 * time.Hour)
	rule := w.up.FaultTimes(lib+"*", 2, standin.Status(404))
	if a := w.want(lib, 200, ""); string(a.body) != string(before.body) {
		t.Errorf("another document: %s", a.body)
	}
	if rule.Hits() != 2 {
		t.Errorf("%d denials", rule.Hits())
	}
	w.Advance(2 * time.Hour)
	w.up.Fault(lib+"*", standin.Status(404)) // this time it is gone, and the root is well
	w.want(lib, 404, "")
}
