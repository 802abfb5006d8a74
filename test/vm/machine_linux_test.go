package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	soak     = flag.Bool("soak", false, "boot the virtual machine")
	steps    = flag.String("steps", "", "the steps to run, a regular expression; all by default")
	accel    = flag.String("accel", "tcg", "how processors are made: tcg, or kvm where the PC's own can be lent")
	keep     = flag.Bool("keep", false, "keep the disk and what the machine said")
	patience = flag.Duration("patience", 3*time.Hour, "for how long the machine may run")
)

// unavailable is what etc/vm.sh ends with where the PC lacks something (sysexits(3)).
const unavailable = 69

// script runs etc/vm.sh and gives what it says; it skips, by the name of what is missing, on PCs that lack something.
func script(t *testing.T, args ...string) string {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), filepath.Join("..", "..", "etc", "vm.sh"), args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == unavailable {
		t.Skip(strings.TrimSpace(said.String()))
	} else if err != nil {
		t.Fatalf("etc/vm.sh: %v: %s", err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// boot starts the machine with the system and a disk, and gives each line that its steps say to hear. It returns when the machine has switched itself off.
func boot(ctx context.Context, system, disk, console string, hear func(line string)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", *accel, "-cpu", "max", "-smp", "2", "-m", "2048", "-nodefaults", "-vga", "none", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(system, "kernel"), "-initrd", filepath.Join(system, "initrd"),
		"-append", "root=/dev/vda rw console=ttyS0 cgroup_no_v1=all panic=-1 fsck.mode=skip systemd.show_status=0",
		"-drive", "if=virtio,format=raw,snapshot=on,file="+filepath.Join(system, "root.img"), "-drive", "if=virtio,format=raw,cache=unsafe,file="+disk,
		"-serial", "file:"+console, "-serial", "stdio")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			hear(line)
		}
		if err != nil {
			break
		}
	}
	if err := errors.Join(cmd.Wait(), ctx.Err()); err != nil {
		return fmt.Errorf("qemu: %w: %s", err, said.String())
	}
	return nil
}

// build compiles something of this module, statically, into a file or folder.
func build(t *testing.T, verb []string, to string, packages ...string) {
	t.Helper()
	began := time.Now()
	cmd := exec.CommandContext(t.Context(), "go", append(append(verb, "-ldflags=-s -w", "-o", to), packages...)...)
	cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -trimpath")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v: %s", verb, err, out)
	}
	t.Logf("built %v in %s", packages, time.Since(began).Round(time.Second))
}

// copyFile copies what somebody may execute.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}
