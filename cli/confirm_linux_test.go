package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/spec/job"
)

// desk gives a terminal and the side of it where somebody types.
func desk(t *testing.T) (screen, keys *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keys.Close() })
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	return screen, keys
}

// Alice is shown what a command will do and is asked on her terminal: only her yes lets it go on.
func TestATerminalIsAsked(t *testing.T) {
	for typed, agrees := range map[string]bool{"y\n": true, "yes\n": true, "n\n": false, "no\n": false, "\n": false, "\x04": false} {
		screen, keys := desk(t)
		var told bytes.Buffer
		p := &purse{shell: &shell{in: screen, err: &told}}
		if _, err := keys.WriteString(typed); err != nil {
			t.Fatal(err)
		}
		err := p.confirm(&cobra.Command{Use: "send"}, func(w io.Writer) { fmt.Fprintln(w, "5 HPIPS to bob") })
		var f *job.Failure
		if agrees != (err == nil) || err != nil && (!errors.As(err, &f) || f.Code != job.CodeCancelled) {
			t.Errorf("%q: %v", typed, err)
		}
		if !strings.HasPrefix(told.String(), "5 HPIPS to bob\n") || !strings.HasSuffix(told.String(), "[y/N] ") {
			t.Errorf("alice sees %q", told.String())
		}
	}
}
