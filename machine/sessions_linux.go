package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sessionPlaces are where a system notes who logs in and out: systemd-logind and elogind (a file for each session and each user), the users' own folders, X servers' sockets,
// and utmp(5) where nothing else is.
var sessionPlaces = []string{"/run/systemd/sessions", "/run/systemd/users", "/run/user", "/tmp/.X11-unix", "/run/utmp"}

// pace is the time for which changes are taken together: many logins at once are one.
const pace = 250 * time.Millisecond

// follow tells of changes in places until ctx ends; those that are not there are left out. watching is told once, before the first change, whether there are any.
func follow(ctx context.Context, places []string, watching func(), told func()) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("sessions: inotify: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	defer f.Close()
	n := 0
	for _, place := range places {
		_, err := unix.InotifyAddWatch(fd, place, unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVED_TO|unix.IN_MODIFY|unix.IN_CLOSE_WRITE)
		switch {
		case err == nil:
			n++
		case !errors.Is(err, unix.ENOENT):
			return fmt.Errorf("sessions: inotify: %s: %w", place, err)
		}
	}
	if n == 0 {
		return nil
	}
	watching()
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Now()) })()
	changes := make([]byte, 64<<10)
	for {
		if _, err := f.Read(changes); err != nil { // what has changed is seen by whoever looks
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("sessions: inotify: %w", err)
		}
		told()
		if rest(ctx, pace) != nil {
			return ctx.Err()
		}
	}
}
