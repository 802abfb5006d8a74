//go:build linux

package bench

import (
	"errors"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	contract "github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/container"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/engine/image"
)

// Bob's PC runs images: how long a container takes to have run a program that does nothing, beside podman run with the same image and the same walls in the same run, in turns;
// and what is left of a processor inside of it, beside the same program bare.
func TestContainer(t *testing.T) {
	e, err := container.New(t.Context(), slog.New(slog.NewTextHandler(t.Output(), nil)), container.Config{})
	var missing *container.Missing
	if errors.As(err, &missing) {
		t.Skip(missing.What)
	}
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	dir := t.TempDir()
	bare, root := filepath.Join(dir, "kernel"), filepath.Join(dir, "root.tar")
	command(t, "cc", "-O2", "-static", "-o", bare, filepath.Join("testdata", "kernel.c"))
	command(t, "tar", "-C", dir, "-cf", root, "kernel")
	const name = "localhost/hpips-bench"
	command(t, "podman", "import", "-q", root, name)
	defer func() { _ = exec.Command("podman", "rmi", "-f", name).Run() }()
	archive, layout := filepath.Join(dir, "image.tar"), filepath.Join(dir, "layout")
	command(t, "podman", "save", "-q", "--format", "oci-archive", "-o", archive, name)
	_, err = image.Import(t.Context(), archive, layout)
	must(t, err)
	key, err := execution.Key(filepath.Join(layout, image.Index))
	must(t, err)
	held := enginetest.NewBench(t, e, contract.Program{Module: layout, Key: key, Args: []string{"/kernel"}})
	run := podmanRun(t, name)
	var ours, podman []float64
	for range either(5, 60) {
		_, took := held.Run("0")
		ours = append(ours, took.Seconds()*1000)
		began := time.Now()
		command(t, "podman", run...)
		podman = append(podman, time.Since(began).Seconds()*1000)
	}
	share := held.Share(bare, strconv.Itoa(either(100_000_000, 1_000_000_000)), either(2, 11))
	figure(t, "container-start", median(ours), "ms")
	figure(t, "podman-run", median(podman), "ms")
	figure(t, "container-start / podman-run", median(ours)/median(podman), "")
	figure(t, "container-share", 100*median(share), "% of the bare program")
	atLeast(t, "podman run / container start", median(podman)/median(ours), 1/1.3, 0.2)
	atLeast(t, "container-share", 100*median(share), 98, 50)
}

// podmanRun are podman's arguments for a container with the walls of ours, by the first maker of containers that works here.
func podmanRun(t *testing.T, name string) []string {
	t.Helper()
	run := []string{"run", "--rm", "--network=none", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--log-driver=none", "--user=1000:1000", "--init", "--memory=260m",
		"--cpus=1", "--pids-limit=512", "--ulimit=nofile=1024:4096", "--ulimit=nproc=4096:4096", name, "/kernel", "0"}
	for _, maker := range [][]string{nil, {"--runtime", "runc"}} {
		args := append(append([]string(nil), maker...), run...)
		if exec.CommandContext(t.Context(), "podman", args...).Run() == nil {
			return args
		}
	}
	t.Skip("podman run works neither with its default runtime nor with runc")
	return nil
}
