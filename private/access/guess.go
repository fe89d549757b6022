package access

import (
	"net/http"

	"stasis/proxy/origin"
)

// Guess checks a secret that is not a token, such as that of a webhook, unless the client's were wrong too often: then
// the error is a *Denied. Those are counted apart from tokens, since a hook that was set up wrongly must not keep the
// builds behind the same address from installing. try says whether the secret was wrong.
func (a *Access) Guess(r *http.Request, try func() (wrong bool, err error)) error {
	client := origin.ClientAddr(r, a.o.TrustedProxies)
	if wait := a.senders.wait(client); wait > 0 {
		return a.refuse(&Denied{Status: http.StatusTooManyRequests, Reason: "limited", RetryAfter: wait,
			Message: "There were too many wrong secrets; wait before the next try."})
	}
	wrong, err := try()
	if wrong {
		a.senders.failed(client)
	}
	return err
}
