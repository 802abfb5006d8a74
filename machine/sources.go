package machine

import (
	"context"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sources are where figures of this PC come from. Tests put others in their place.
type sources struct {
	proc, sys fs.FS                                                                  // as proc(5) and sysfs(5); empty where the system has none
	run       func(ctx context.Context, name string, args ...string) ([]byte, error) // a program that tells
	root      fs.FS                                                                  // all files, for what sandboxes are shown of devices; nil: none can be passed on
	real      func(path string) (string, error)                                      // a path without symbolic links in it
	may       func(path string) error                                                // whether this user may read and write a device file
}

// here are those of the system.
func here() sources {
	return sources{proc: os.DirFS("/proc"), sys: os.DirFS("/sys"), run: ask, root: everything(), real: filepath.EvalSymlinks, may: accessible}
}

// askFor is how long a program may take to tell.
const askFor = 5 * time.Second

// ask runs a program and returns what it writes.
func ask(ctx context.Context, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	return cmd.Output()
}

// maxFile bounds what is read of a file that the kernel writes, in bytes.
const maxFile = 1 << 20

// read returns a small file.
func read(from fs.FS, name string) ([]byte, error) {
	f, err := from.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// word is what a file says, without spaces around it; "" where there is none.
func word(from fs.FS, name string) string {
	text, err := read(from, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func wordOf(from fs.FS, dir, name string) string { return word(from, path.Join(dir, name)) }

// figure reads a number; nil where there is none, such as "[N/A]".
func figure(text string) *float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// scaled reads a number in parts of a unit.
func scaled(text string, parts float64) *float64 {
	v := figure(text)
	if v != nil {
		*v /= parts
	}
	return v
}
