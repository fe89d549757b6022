package git

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// sshEnvironment is how git runs ssh: with no configuration but this, to the address that was
// judged, and believing only the key that belongs to the host's name. close removes the key from
// the disk.
func (g *Git) sshEnvironment(at address, c Credentials, to netip.Addr) (env []string, closed func(), err error) {
	folder, err := os.MkdirTemp("", "stasis-ssh-")
	if err != nil {
		return nil, nil, fmt.Errorf("make a folder for the ssh key: %w", err)
	}
	closed = func() { _ = os.RemoveAll(folder) }
	defer func() {
		if err != nil {
			closed()
		}
	}()
	hosts, strict := g.hostKeys, "accept-new"
	if len(c.KnownHosts) > 0 {
		hosts, strict = filepath.Join(folder, "known_hosts"), "yes"
		if err := os.WriteFile(hosts, append(c.KnownHosts[:len(c.KnownHosts):len(c.KnownHosts)], '\n'), 0o600); err != nil {
			return nil, nil, fmt.Errorf("write the known hosts: %w", err)
		}
	}
	identity, only, agent := "none", "yes", "none"
	switch {
	case len(c.SSHKey) > 0:
		identity = filepath.Join(folder, "key")
		if err := os.WriteFile(identity, c.SSHKey, 0o600); err != nil {
			return nil, nil, fmt.Errorf("write the ssh key: %w", err)
		}
	case g.o.SSHAgent != "":
		only, agent = "no", g.o.SSHAgent
	}
	alias := at.host
	if at.port != "" {
		alias = "[" + at.host + "]:" + at.port
	}
	command := "ssh -F none"
	for _, option := range []string{
		"BatchMode=yes",
		"HostName=" + to.String(),
		"HostKeyAlias=" + alias,
		"CheckHostIP=no",
		"StrictHostKeyChecking=" + strict,
		"UpdateHostKeys=no",
		"VerifyHostKeyDNS=no",
		"HashKnownHosts=no",
		"UserKnownHostsFile=" + quoteOption(hosts),
		"GlobalKnownHostsFile=none",
		"IdentityFile=" + quoteOption(identity),
		"IdentitiesOnly=" + only,
		"IdentityAgent=" + quoteOption(agent),
		"PreferredAuthentications=publickey",
		"ForwardAgent=no",
		"ForwardX11=no",
		"ClearAllForwardings=yes",
		"PermitLocalCommand=no",
		"ProxyCommand=none",
		"ControlPath=none",
		"ConnectTimeout=30",
		"ServerAliveInterval=15",
		"ServerAliveCountMax=4",
		"LogLevel=ERROR",
	} {
		command += " -o " + quoteShell(option)
	}
	return []string{"GIT_SSH_COMMAND=" + command, "GIT_SSH_VARIANT=ssh"}, closed, nil
}

// quoteOption protects a path in a value that ssh takes apart at spaces and in which it replaces
// what follows a percent sign.
func quoteOption(path string) string {
	if path == "none" {
		return path
	}
	return `"` + strings.ReplaceAll(path, "%", "%%") + `"`
}

// quoteShell protects an argument from the shell that git gives its ssh command to.
func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
