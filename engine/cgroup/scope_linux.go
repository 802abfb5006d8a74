package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// managerTime is how long the system's manager of services may take to make a group.
const managerTime = 5 * time.Second

// The manager's name and interface on a bus (org.freedesktop.systemd1(5)).
const (
	manager   = "org.freedesktop.systemd1"
	managerOf = manager + ".Manager"

	managerPath dbus.ObjectPath = "/org/freedesktop/systemd1"
)

// property is one of a unit that is made.
type property struct {
	Name  string
	Value dbus.Variant
}

// system is where the system's manager of services is asked, by everybody.
const system = "unix:path=/run/dbus/system_bus_socket"

// own is where the user's manager is asked.
func own(user int, env func(string) string) string {
	if address := env("DBUS_SESSION_BUS_ADDRESS"); address != "" {
		return address
	}
	dir := env("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = fmt.Sprintf("/run/user/%d", user)
	}
	return "unix:path=" + filepath.Join(dir, "bus")
}

// home begins the paths of groups that the user's manager has made.
func home(user int) string {
	return fmt.Sprintf("/user.slice/user-%d.slice/user@%d.service/", user, user)
}

// maker is where the manager that made a group (its path in version 2) is asked about it; "" where a manager makes no such groups.
func maker(group string, user int, env func(string) string) string {
	switch ext := path.Ext(group); {
	case ext != ".service" && ext != ".scope":
		return ""
	case strings.HasPrefix(group, home(user)):
		return own(user, env)
	}
	return system
}

// giver is where the manager that may give a process in that group one of its own is asked; "" where none is to be. Who was started in a window of a user's session, beside a
// shell, has a manager of the user's. A service has the group that it is meant to have. Who came from afar is in a group of the system's: a user's manager would take the process
// along when the user leaves.
func giver(group string, user int, env func(string) string) string {
	switch {
	case path.Ext(group) != ".scope":
		return ""
	case user == 0:
		return system
	case strings.HasPrefix(group, home(user)):
		return own(user, env)
	}
	return ""
}

// given says whether the manager that made the group of this process, with that folder, has given it away (Delegate=, systemd.resource-control(5)); groups that no manager made are.
// What goes on in others is the manager's to watch: it ends a service of which any process is killed for its memory, however far below (OOMPolicy=).
func given(group, dir string) bool {
	address := maker(group, os.Geteuid(), os.Getenv)
	if address == "" {
		return true
	}
	for _, name := range []string{"trusted.delegate", "user.delegate"} { // the first is for root's eyes, the second not of all versions
		word := make([]byte, 8)
		if n, err := unix.Getxattr(dir, name, word); err == nil && string(word[:n]) == "1" {
			return true
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), managerTime)
	defer cancel()
	conn, err := dbus.Connect(address, dbus.WithContext(ctx))
	if err != nil {
		return false
	}
	defer conn.Close()
	var unit dbus.ObjectPath
	var yes dbus.Variant
	if conn.Object(manager, managerPath).CallWithContext(ctx, managerOf+".GetUnitByPID", dbus.FlagNoAutoStart, uint32(os.Getpid())).Store(&unit) != nil {
		return false
	}
	kind := manager + map[string]string{".service": ".Service", ".scope": ".Scope"}[path.Ext(group)]
	if conn.Object(manager, unit).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, kind, "Delegate").Store(&yes) != nil {
		return false
	}
	delegated, _ := yes.Value().(bool)
	return delegated
}

// withdraw has the manager move this process out of its group into one of its own, under which it may make others. An error says that it did not.
func withdraw(group string) error {
	address := giver(group, os.Geteuid(), os.Getenv)
	if address == "" {
		return errors.New("it is not to have a group of its own")
	}
	ctx, cancel := context.WithTimeout(context.Background(), managerTime)
	defer cancel()
	conn, err := dbus.Connect(address, dbus.WithContext(ctx))
	if err == nil {
		defer conn.Close()
		err = scope(ctx, conn)
	}
	if err != nil {
		return fmt.Errorf("the manager of services: %w", err)
	}
	return nil
}

// scope makes the group and waits until this process is in it.
func scope(ctx context.Context, conn *dbus.Conn) error {
	if err := conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(managerOf), dbus.WithMatchMember("JobRemoved")); err != nil {
		return err
	}
	removed := make(chan *dbus.Signal, 64)
	conn.Signal(removed)
	var job dbus.ObjectPath
	name := fmt.Sprintf("hpips-%d.scope", os.Getpid())
	err := conn.Object(manager, managerPath).CallWithContext(ctx, managerOf+".StartTransientUnit", dbus.FlagNoAutoStart, name, "fail", []property{
		{"Description", dbus.MakeVariant("HPIPS node")},
		{"PIDs", dbus.MakeVariant([]uint32{uint32(os.Getpid())})},
		{"Delegate", dbus.MakeVariant(true)},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}, []struct {
		Name       string
		Properties []property
	}{}).Store(&job)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s, open := <-removed:
			switch {
			case !open:
				return errors.New("it has gone")
			case len(s.Body) < 4 || s.Body[1] != job: // id, job, unit, result
			case s.Body[3] != "done":
				return fmt.Errorf("%s: %v", name, s.Body[3])
			default:
				return nil
			}
		}
	}
}

// unified is a process's path in the hierarchy of version 2, from its cgroup file; that of the leaf that a node makes for itself is its parent's.
func unified(own []byte) string {
	for line := range strings.Lines(string(own)) {
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			if path.Base(at) == leaf {
				at = path.Dir(at)
			}
			return at
		}
	}
	return ""
}
