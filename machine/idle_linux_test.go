package machine

import (
	"bufio"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// buses starts a message bus of its own, and gives what connects to it.
func buses(t *testing.T) func(...dbus.ConnOption) (*dbus.Conn, error) {
	t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("dbus-daemon is not here")
	}
	cmd := exec.Command(program, "--session", "--nofork", "--print-address")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return func(o ...dbus.ConnOption) (*dbus.Conn, error) { return dbus.Connect(strings.TrimSpace(address), o...) }
}

// serves gives an object of the bus the methods of v.
func serves(t *testing.T, open func(...dbus.ConnOption) (*dbus.Conn, error), name, face string, objects map[string]any) {
	t.Helper()
	conn, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for path, v := range objects {
		of := face
		if _, properties := v.(*seat); properties {
			of = "org.freedesktop.DBus.Properties"
		}
		if err := conn.Export(v, dbus.ObjectPath(path), of); err != nil {
			t.Fatal(err)
		}
	}
	if reply, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
}

// gnome is a compositor whose last input was so many milliseconds ago, kde likewise.
type gnome struct{ millis uint64 }

func (g *gnome) GetIdletime() (uint64, *dbus.Error) { return g.millis, nil }

type kde struct{ millis uint32 }

func (k *kde) GetSessionIdleTime() (uint32, *dbus.Error) { return k.millis, nil }

func TestDesktopsTellWhenSomethingWasTouched(t *testing.T) {
	open := buses(t)
	d := &desktop{bus: bus{open: open}}
	if _, err := d.Idle(t.Context()); !errors.Is(err, ErrNoSession) {
		t.Errorf("a bus without a desktop: %v", err)
	}
	serves(t, open, "org.freedesktop.ScreenSaver", "org.freedesktop.ScreenSaver", map[string]any{"/ScreenSaver": &kde{4500}})
	if idle, err := d.Idle(t.Context()); err != nil || idle != 4500*time.Millisecond {
		t.Errorf("KDE: %v, %v", idle, err)
	}
	serves(t, open, "org.gnome.Mutter.IdleMonitor", "org.gnome.Mutter.IdleMonitor", map[string]any{"/org/gnome/Mutter/IdleMonitor/Core": &gnome{1200}})
	if idle, err := d.Idle(t.Context()); err != nil || idle != 1200*time.Millisecond {
		t.Errorf("GNOME: %v, %v", idle, err)
	}
}

// seats is logind with its sessions, seat the properties of one.
type seats struct{ rows []session }

func (s *seats) ListSessions() ([]struct {
	ID   string
	UID  uint32
	User string
	Seat string
	Path dbus.ObjectPath
}, *dbus.Error) {
	var all []struct {
		ID   string
		UID  uint32
		User string
		Seat string
		Path dbus.ObjectPath
	}
	for _, r := range s.rows {
		all = append(all, struct {
			ID   string
			UID  uint32
			User string
			Seat string
			Path dbus.ObjectPath
		}{r.ID, r.UID, r.User, r.Seat, r.Path})
	}
	return all, nil
}

type seat struct{ properties map[string]any }

func (s *seat) Get(_, name string) (dbus.Variant, *dbus.Error) {
	return dbus.MakeVariant(s.properties[name]), nil
}

func TestLogindTellsOfSessionsAtTheScreens(t *testing.T) {
	open := buses(t)
	hour := uint64(time.Now().Add(-time.Hour).UnixMicro())
	m := &seats{rows: []session{{ID: "1", User: "gdm", Seat: "seat0", Path: "/s/1"}, {ID: "2", UID: 1000, User: "alice", Path: "/s/2"}}}
	serves(t, open, "org.freedesktop.login1", "org.freedesktop.login1.Manager", map[string]any{
		"/org/freedesktop/login1": m,
		"/s/1":                    &seat{map[string]any{"Class": "greeter", "IdleHint": false, "IdleSinceHint": uint64(0)}},
		"/s/3":                    &seat{map[string]any{"Class": "user", "IdleHint": true, "IdleSinceHint": hour}},
		"/s/4":                    &seat{map[string]any{"Class": "user", "IdleHint": false, "IdleSinceHint": hour}},
	})
	l := &logind{bus: bus{open: open}}
	if _, err := l.Idle(t.Context()); !errors.Is(err, ErrNoSession) {
		t.Errorf("a greeter and somebody far away are nobody: %v", err)
	}
	m.rows = append(m.rows, session{ID: "3", UID: 1000, User: "alice", Seat: "seat0", Path: "/s/3"})
	if idle, err := l.Idle(t.Context()); err != nil || idle < time.Hour || idle > time.Hour+time.Minute {
		t.Errorf("alice left an hour ago: %v, %v", idle, err)
	}
	m.rows = append(m.rows, session{ID: "4", UID: 1001, User: "bob", Seat: "seat0", Path: "/s/4"})
	if idle, err := l.Idle(t.Context()); err != nil || idle != 0 {
		t.Errorf("bob is there: %v, %v", idle, err)
	}
}

func TestWithoutABusThereIsNoSession(t *testing.T) {
	none := bus{open: func(...dbus.ConnOption) (*dbus.Conn, error) { return nil, errors.New("no bus") }}
	for _, one := range []Idler{&desktop{none}, &logind{none}} {
		if _, err := one.Idle(t.Context()); !errors.Is(err, ErrNoSession) {
			t.Errorf("%T: %v", one, err)
		}
	}
}
