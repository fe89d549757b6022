package git

import (
	"os"
	"strconv"
)

// environment is all that git sees of this process: where programs are, and that it shall read no
// configuration of the machine or its user, ask nobody anything, and run nothing on the side.
func environment(home, config string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"XDG_CONFIG_HOME=" + home,
		"LC_ALL=C",
		"TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + config,
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_LITERAL_PATHSPECS=1",
	}
	for _, name := range []string{"TMPDIR", "SystemRoot"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// setting is one line of git's configuration.
type setting struct{ key, value string }

// always holds for every run. A mirror's own configuration file is git's default one; nothing that
// comes from outside is ever written to it.
var always = []setting{
	{"core.hooksPath", os.DevNull},
	{"core.fsmonitor", "false"},
	{"core.attributesFile", os.DevNull},
	{"core.excludesFile", os.DevNull},
	{"credential.helper", ""},
	{"protocol.version", "2"},
	{"advice.detachedHead", "false"},
	{"gc.auto", "0"},
	{"maintenance.auto", "false"},
	{"gpg.program", os.DevNull},
	{"gpg.ssh.program", os.DevNull},
	{"gpg.x509.program", os.DevNull},
	{"submodule.recurse", "false"},
	{"fetch.recurseSubmodules", "false"},
	{"http.followRedirects", "false"},
	{"http.lowSpeedLimit", "1000"}, // bytes a second
	{"http.lowSpeedTime", "60"},    // seconds
	// A pack is kept as it came: one file instead of thousands, until Maintain joins them.
	{"fetch.unpackLimit", "1"},
	{"transfer.unpackLimit", "1"},
	// What arrives is checked for being whole, as always, and not for what fsck minds besides: one
	// folder that was damaged years ago would cost all tags, and fsck guards checkouts, which never
	// happen here. Zip and git archive look at what they write.
	{"transfer.fsckObjects", "false"},
}

// configured hands settings to git in its environment, where neither the list of processes nor the
// disk shows them.
func configured(list ...setting) []string {
	env := make([]string, 0, 2*len(list)+1)
	for i, s := range list {
		n := strconv.Itoa(i)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+s.key, "GIT_CONFIG_VALUE_"+n+"="+s.value)
	}
	return append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(list)))
}
