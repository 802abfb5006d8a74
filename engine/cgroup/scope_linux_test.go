package cgroup

import (
	"strings"
	"testing"
)

// TestWhoIsAskedForAGroup says which manager is asked about whose group, and which gives one: nobody's service is taken out of its own, and nobody who came from afar is taken
// along when they leave.
func TestWhoIsAskedForAGroup(t *testing.T) {
	const home, alices = "/user.slice/user-1000.slice/user@1000.service/", "unix:path=/run/user/1000/bus"
	env := map[string]string{}
	get := func(name string) string { return env[name] }
	for _, row := range []struct {
		name, own    string
		user         int
		maker, giver string
	}{
		{"a window of alice's", "0::" + home + "app.slice/vte-spawn-1.scope", 1000, alices, alices},
		{"one that was begun there before", "5:pids:/x\n0::" + home + "app.slice/hpips-7.scope/hpips-node", 1000, alices, alices},
		{"a service of hers", "0::" + home + "app.slice/hpips.service", 1000, alices, ""},
		{"alice from afar", "0::/user.slice/user-1000.slice/session-3.scope", 1000, system, ""},
		{"bob, by sudo in her window", "0::" + home + "app.slice/vte-spawn-1.scope", 1001, system, ""},
		{"root from afar", "0::/user.slice/user-0.slice/session-4.scope", 0, system, system},
		{"a service of the system's", "0::/system.slice/hpips.service", 0, system, ""},
		{"a container", "0::/", 0, "", ""},
		{"no systemd", "0::/box/7", 1000, "", ""},
		{"no version 2", "4:memory:/x.scope", 0, "", ""},
	} {
		group := unified([]byte(row.own + "\n"))
		if maker, giver := maker(group, row.user, get), giver(group, row.user, get); maker != row.maker || giver != row.giver {
			t.Errorf("%s: %q and %q, want %q and %q", row.name, maker, giver, row.maker, row.giver)
		}
	}
	env["XDG_RUNTIME_DIR"] = "/run/alice"
	if got := giver(home+"a.scope", 1000, get); got != "unix:path=/run/alice/bus" {
		t.Error(got)
	}
	env["DBUS_SESSION_BUS_ADDRESS"] = "unix:abstract=/tmp/bus"
	if got := giver(home+"a.scope", 1000, get); got != "unix:abstract=/tmp/bus" {
		t.Error(got)
	}
}

// TestLacking has a node say what keeps it from which limits.
func TestLacking(t *testing.T) {
	all := map[string]bool{"memory": true, "pids": true, "cpu": true}
	for name, row := range map[string]struct {
		p    *Parent
		why  string
		want string
	}{
		"all":              {&Parent{unified: "/x", v2: all}, "", ""},
		"none":             {&Parent{}, "", "the system lets this user make no control groups"},
		"with a shell":     {&Parent{unified: "/x"}, "others are there", "others are there"},
		"no processor":     {&Parent{unified: "/x", v2: map[string]bool{"memory": true, "pids": true}}, "", "no controller for cpu"},
		"of both versions": {&Parent{unified: "/x", v2: map[string]bool{"cpu": true}, v1: map[string]string{"memory": "/m", "pids": "/p"}}, "", ""},
	} {
		got := row.p.lacks(row.why)
		if (got == "") != (row.want == "") || !strings.Contains(got, row.want) || got != "" && !strings.Contains(got, "Delegate=yes") {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
	if got := (*Parent)(nil).Lacking(); got != "" {
		t.Error(got)
	}
}
