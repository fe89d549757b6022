package main

import (
	"net"
	"strings"
)

// notifier tells systemd how far the service is (sd_notify). Its zero value tells nobody.
type notifier struct{ socket string }

func newNotifier(environ []string) notifier {
	for _, entry := range environ {
		if socket, ok := strings.CutPrefix(entry, "NOTIFY_SOCKET="); ok {
			return notifier{socket}
		}
	}
	return notifier{}
}

// tell sends a state such as "READY=1". That it does not arrive is no reason to stop.
func (n notifier) tell(state string) {
	if n.socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}
