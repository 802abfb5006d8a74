package cgroup

import (
	"strings"
	"testing"
)

// TestWhoIsAskedForAGroup says which manager gives whom a group: nobody's service is taken out of its own, and nobody who came from afar is taken along when they leave.
func TestWhoIsAskedForAGroup(t *testing.T) {
	const home = "/user.slice/user-1000.slice/user@1000.service/"
	env := map[string]string{}
	for _, row := range []struct {
		name, own string
		user      int
		want      string
	}{
		{"a window of alice's", "0::" + home + "app.slice/vte-spawn-1.scope", 1000, "unix:path=/run/user/1000/bus"},
		{"one that was begun there before", "5:pids:/x\n0::" + home + "app.slice/hpips-7.scope/hpips-node", 1000, "unix:path=/run/user/1000/bus"},
		{"a service of hers", "0::" + home + "app.slice/hpips.service", 1000, ""},
		{"alice from afar", "0::/user.slice/user-1000.slice/session-3.scope", 1000, ""},
		{"bob, by sudo in her window", "0::" + home + "app.slice/vte-spawn-1.scope", 1001, ""},
		{"root from afar", "0::/user.slice/user-0.slice/session-4.scope", 0, "unix:path=/run/dbus/system_bus_socket"},
		{"a service of the system's", "0::/system.slice/hpips.service", 0, ""},
		{"no version 2", "4:memory:/x.scope", 0, ""},
	} {
		if got := bus(unified([]byte(row.own+"\n")), row.user, func(name string) string { return env[name] }); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
	env["XDG_RUNTIME_DIR"] = "/run/alice"
	if got := bus(home+"a.scope", 1000, func(name string) string { return env[name] }); got != "unix:path=/run/alice/bus" {
		t.Error(got)
	}
	env["DBUS_SESSION_BUS_ADDRESS"] = "unix:abstract=/tmp/bus"
	if got := bus(home+"a.scope", 1000, func(name string) string { return env[name] }); got != "unix:abstract=/tmp/bus" {
		t.Error(got)
	}
}

// TestLacking has a node say what keeps it from which limits.
func TestLacking(t *testing.T) {
	all := map[string]bool{"memory": true, "pids": true, "cpu": true}
	for name, row := range map[string]struct {
		p      *Parent
		shared bool
		want   string
	}{
		"all":              {&Parent{unified: "/x", v2: all}, false, ""},
		"none":             {&Parent{}, false, "the system lets this user make no control groups"},
		"with a shell":     {&Parent{unified: "/x"}, true, "other programs are in this node's control group"},
		"no processor":     {&Parent{unified: "/x", v2: map[string]bool{"memory": true, "pids": true}}, false, "no controller for cpu"},
		"of both versions": {&Parent{unified: "/x", v2: map[string]bool{"cpu": true}, v1: map[string]string{"memory": "/m", "pids": "/p"}}, false, ""},
	} {
		got := row.p.lacks(row.shared)
		if (got == "") != (row.want == "") || !strings.Contains(got, row.want) || got != "" && !strings.Contains(got, "Delegate=yes") {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
	if got := (*Parent)(nil).Lacking(); got != "" {
		t.Error(got)
	}
}
