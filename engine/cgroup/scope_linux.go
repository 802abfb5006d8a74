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
)

// managerTime is how long the system's manager of services may take to make a group.
const managerTime = 5 * time.Second

// The manager's name and interface on a bus (org.freedesktop.systemd1(5)).
const (
	manager   = "org.freedesktop.systemd1"
	managerOf = manager + ".Manager"
)

// property is one of a unit that is made.
type property struct {
	Name  string
	Value dbus.Variant
}

// bus is where the manager that may give a process in that group (its path in version 2) one of its own is asked; "" where none is to be. Who was started in a window of a user's
// session, beside a shell, has a manager of the user's. A service has the group that it is meant to have. Who came from afar is in a group of the system's: a user's manager
// would take the process along when the user leaves.
func bus(group string, user int, env func(string) string) string {
	if !strings.HasSuffix(group, ".scope") {
		return ""
	}
	if user == 0 {
		return "unix:path=/run/dbus/system_bus_socket"
	}
	if !strings.Contains(group, fmt.Sprintf("/user@%d.service/", user)) {
		return ""
	}
	if address := env("DBUS_SESSION_BUS_ADDRESS"); address != "" {
		return address
	}
	dir := env("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = fmt.Sprintf("/run/user/%d", user)
	}
	return "unix:path=" + filepath.Join(dir, "bus")
}

// withdraw has the manager move this process into a group of its own, under which it may make others. It says whether it did.
func withdraw(own []byte) error {
	address := bus(unified(own), os.Geteuid(), os.Getenv)
	if address == "" {
		return errors.New("it is not to have a group of its own")
	}
	ctx, cancel := context.WithTimeout(context.Background(), managerTime)
	defer cancel()
	conn, err := dbus.Connect(address, dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("the manager of services: %w", err)
	}
	defer conn.Close()
	if err := conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(managerOf), dbus.WithMatchMember("JobRemoved")); err != nil {
		return fmt.Errorf("the manager of services: %w", err)
	}
	removed := make(chan *dbus.Signal, 64)
	conn.Signal(removed)
	var job dbus.ObjectPath
	name := fmt.Sprintf("hpips-%d.scope", os.Getpid())
	err = conn.Object(manager, dbus.ObjectPath("/org/freedesktop/systemd1")).CallWithContext(ctx, managerOf+".StartTransientUnit", dbus.FlagNoAutoStart, name, "fail", []property{
		{"Description", dbus.MakeVariant("HPIPS node")},
		{"PIDs", dbus.MakeVariant([]uint32{uint32(os.Getpid())})},
		{"Delegate", dbus.MakeVariant(true)},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}, []struct {
		Name       string
		Properties []property
	}{}).Store(&job)
	if err != nil {
		return fmt.Errorf("the manager of services: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the manager of services: %w", ctx.Err())
		case s, open := <-removed:
			if !open {
				return errors.New("the manager of services has gone")
			}
			if len(s.Body) < 4 || s.Body[1] != job { // id, job, unit, result
				continue
			}
			if s.Body[3] != "done" {
				return fmt.Errorf("the manager of services: %v", s.Body[3])
			}
			return nil
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
