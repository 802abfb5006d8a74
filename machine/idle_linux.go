package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/jezek/xgb"
	"github.com/jezek/xgb/screensaver"
	"github.com/jezek/xgb/xproto"
)

// idlers are the desktop that this process was started in, and the system's list of sessions.
func idlers() []Idler {
	xgb.Logger.SetOutput(io.Discard) // it would write to standard error
	var all []Idler
	if os.Getenv("DISPLAY") != "" {
		all = append(all, &x11{})
	}
	if path := socketOf(os.Getenv); path != "" {
		all = append(all, &wayland{path: path})
	}
	if os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		all = append(all, &desktop{bus: bus{open: dbus.ConnectSessionBus}})
	}
	return append(all, &logind{bus: bus{open: dbus.ConnectSystemBus}})
}

// x11 asks the X server (MIT-SCREEN-SAVER extension, QueryInfo).
type x11 struct{ conn *xgb.Conn }

// Idle asks over one connection, which is opened again when it broke.
func (x *x11) Idle(ctx context.Context) (time.Duration, error) {
	if x.conn == nil {
		conn, err := xgb.NewConn()
		if err != nil {
			return 0, fmt.Errorf("idle: X server: %w", err)
		}
		if err := screensaver.Init(conn); err != nil {
			conn.Close()
			return 0, fmt.Errorf("idle: X server: %w", err)
		}
		x.conn = conn
	}
	conn := x.conn
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	defer context.AfterFunc(ctx, conn.Close)() // a server that hangs is given up
	root := xproto.Setup(conn).DefaultScreen(conn).Root
	info, err := screensaver.QueryInfo(conn, xproto.Drawable(root)).Reply()
	if err != nil {
		conn.Close()
		x.conn = nil
		return 0, fmt.Errorf("idle: X server: %w", err)
	}
	return time.Duration(info.MsSinceUserInput) * time.Millisecond, nil
}

// bus is one connection to a message bus, opened when it is needed.
type bus struct {
	open func(...dbus.ConnOption) (*dbus.Conn, error)
	conn *dbus.Conn
}

// busTime is how long an answer may take.
const busTime = time.Second

// call asks an object; a bus that is not there, or a name that nobody has on it, is ErrNoSession.
func (b *bus) call(ctx context.Context, name, path, method string, args ...any) *dbus.Call {
	if b.conn == nil || !b.conn.Connected() {
		conn, err := b.open()
		if err != nil {
			return &dbus.Call{Err: ErrNoSession}
		}
		b.conn = conn
	}
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	c := b.conn.Object(name, dbus.ObjectPath(path)).CallWithContext(ctx, method, dbus.FlagNoAutoStart, args...)
	var e dbus.Error
	if errors.As(c.Err, &e) && (e.Name == "org.freedesktop.DBus.Error.ServiceUnknown" || e.Name == "org.freedesktop.DBus.Error.NameHasNoOwner" ||
		e.Name == "org.freedesktop.DBus.Error.UnknownMethod" || e.Name == "org.freedesktop.DBus.Error.NotSupported" || e.Name == "org.freedesktop.DBus.Error.UnknownObject") {
		c.Err = ErrNoSession
	}
	return c
}

// desktop asks the desktop itself: GNOME's compositor in milliseconds, KDE's in milliseconds, too. Both see Wayland's input.
type desktop struct{ bus bus }

// Idle asks one after the other.
func (d *desktop) Idle(ctx context.Context) (time.Duration, error) {
	var gnome uint64
	err := d.bus.call(ctx, "org.gnome.Mutter.IdleMonitor", "/org/gnome/Mutter/IdleMonitor/Core", "org.gnome.Mutter.IdleMonitor.GetIdletime").Store(&gnome)
	if err == nil {
		return time.Duration(gnome) * time.Millisecond, nil
	}
	var kde uint32
	if no := d.bus.call(ctx, "org.freedesktop.ScreenSaver", "/ScreenSaver", "org.freedesktop.ScreenSaver.GetSessionIdleTime").Store(&kde); no == nil {
		return time.Duration(kde) * time.Millisecond, nil
	} else if errors.Is(err, ErrNoSession) {
		err = no
	}
	return 0, err
}

// logind asks systemd-logind (org.freedesktop.login1) for the sessions at this PC's own screens and keyboards. It knows since when each is idle, once the
// desktop has said that it is.
type logind struct{ bus bus }

// session is one of ListSessions.
type session struct {
	ID, User, Seat string
	UID            uint32
	Path           dbus.ObjectPath
}

// Idle is the shortest time of all sessions that have a seat.
func (l *logind) Idle(ctx context.Context) (time.Duration, error) {
	const name, manager = "org.freedesktop.login1", "org.freedesktop.login1.Manager"
	var rows [][]any
	if err := l.bus.call(ctx, name, "/org/freedesktop/login1", manager+".ListSessions").Store(&rows); err != nil {
		return 0, err
	}
	shortest, told := time.Duration(0), false
	for _, row := range rows {
		s, ok := sessionOf(row)
		if !ok || s.Seat == "" {
			continue
		}
		get := func(property string) any {
			var v dbus.Variant
			if l.bus.call(ctx, name, string(s.Path), "org.freedesktop.DBus.Properties.Get", "org.freedesktop.login1.Session", property).Store(&v) != nil {
				return nil
			}
			return v.Value()
		}
		if class, _ := get("Class").(string); class != "user" { // a greeter is nobody
			continue
		}
		idle := time.Duration(0)
		if hint, _ := get("IdleHint").(bool); hint {
			if since, ok := get("IdleSinceHint").(uint64); ok {
				idle = max(0, time.Since(time.UnixMicro(int64(since))))
			}
		}
		if !told || idle < shortest {
			shortest, told = idle, true
		}
	}
	if !told {
		return 0, ErrNoSession
	}
	return shortest, nil
}

func sessionOf(row []any) (s session, ok bool) {
	if len(row) != 5 {
		return s, false
	}
	var fine [5]bool
	s.ID, fine[0] = row[0].(string)
	s.UID, fine[1] = row[1].(uint32)
	s.User, fine[2] = row[2].(string)
	s.Seat, fine[3] = row[3].(string)
	s.Path, fine[4] = row[4].(dbus.ObjectPath)
	return s, fine == [5]bool{true, true, true, true, true}
}

// network asks NetworkManager whether the connection in use is paid for by volume (NMMetered: 1 yes, 2 no, 3 and 4 guessed).
func network(ctx context.Context) *bool {
	b := bus{open: dbus.ConnectSystemBus}
	var v dbus.Variant
	err := b.call(ctx, "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager", "org.freedesktop.DBus.Properties.Get", "org.freedesktop.NetworkManager", "Metered").Store(&v)
	if b.conn != nil {
		defer b.conn.Close()
	}
	if err != nil {
		return nil
	}
	word, _ := v.Value().(uint32)
	switch word {
	case 1, 3:
		yes := true
		return &yes
	case 2, 4:
		no := false
		return &no
	}
	return nil
}
