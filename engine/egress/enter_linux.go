package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patient is how long a listener may take to come out of a sandbox's network.
const patient = 10 * time.Second

// Listen gives a listener at Port in the network of process pid, for which self is started there as Child: it makes the listener and hands it over (unix(7), SCM_RIGHTS), so
// that nothing of the node stays in the sandbox. nsenter of util-linux enters, with the user namespace where this process is not root.
func Listen(ctx context.Context, pid int, self []string) (_ net.Listener, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("way out: %w", err)
	}
	mine, theirs := os.NewFile(uintptr(pair[0]), "way out"), os.NewFile(uintptr(pair[1]), "way out")
	defer mine.Close()
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	args := []string{"--net", "--target", strconv.Itoa(pid)}
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--preserve-credentials"}, args...)
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(append(args, "--"), self...)...)
	cmd.Env, cmd.Dir = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, "/"
	cmd.ExtraFiles = []*os.File{theirs}
	var said strings.Builder
	cmd.Stderr = &said
	err = cmd.Run()
	theirs.Close()
	if err != nil {
		return nil, fmt.Errorf("way out: %w: %s", err, strings.TrimSpace(said.String()))
	}
	l, err := taken(mine)
	if err != nil {
		return nil, fmt.Errorf("way out: %w", err)
	}
	return l, nil
}

// taken takes a listener from a socket.
func taken(from *os.File) (net.Listener, error) {
	room := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(from.Fd()), make([]byte, 1), room, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(room[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errors.New("no listener came"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errors.New("no listener came"), err)
	}
	file := os.NewFile(uintptr(fds[0]), "way out")
	defer file.Close()
	return net.FileListener(file)
}

// Child makes the listener in the network that it was started in and hands it over at file 3; see Listen. It returns the exit code.
func Child() int {
	if err := hand(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func hand() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// The one address of a sandbox's network is 127.0.0.1, which it may still be about to get: all addresses can be taken at any time.
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: Port}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(fd, 128); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return unix.Sendmsg(3, []byte{0}, unix.UnixRights(fd), nil, 0)
}
