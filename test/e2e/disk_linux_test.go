package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/test/e2e/pc"
)

// disk mounts a file system of a few MiB.
func disk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("hpips-test", dir, "tmpfs", 0, "size="+size+",mode=700"); err != nil {
		t.Skipf("a small disk needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// noise is what no disk can make smaller.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

// Alice's disk is full: what does not fit is told, what was there stays whole, and when there is room again the work goes on.
func TestFullDisk(t *testing.T) {
	small := disk(t, "96m")
	p := pc.New(t, built.hpips, "alice", "--slots", "1")
	p.Home = filepath.Join(small, "alice")
	p.Up(t)
	pc.Eventually(t, "the node says why it is not ready", func() bool {
		return strings.Contains(p.Log(5), "No job can be placed yet") && strings.Contains(p.Log(5), "disk")
	}, func() string { return p.Log(5) })
	if a := p.Hpips(t, "status"); a.Code != 125 || !strings.Contains(a.Stderr, "no node can take a job yet") {
		t.Errorf("status: %+v", a)
	}
	kept := write(t, filepath.Join(t.TempDir(), "kept"), noise(3<<20))
	cid := p.Must(t, "put", "-q", kept)
	if got := p.Must(t, "run", "--disk", "1MiB", "--max-output", "1MiB", wasm("hello"), "before"); got != "hello, before" {
		t.Fatal(got)
	}

	large := write(t, filepath.Join(t.TempDir(), "large"), noise(100<<20))
	a := p.Hpips(t, "put", large)
	if a.Code != 125 || !strings.Contains(a.Stderr, "no space left") || !strings.Contains(a.Stderr, "hint: ") {
		t.Errorf("put of more than fits: %+v", a)
	}
	if a = p.Hpips(t, "put", large, "-o", "json"); a.Code != 125 || a.Stderr != "" || !strings.Contains(a.Stdout, `"hint":`) {
		t.Errorf("put of more than fits, for programs: %+v", a)
	}
	// What was half brought in goes, as soon as nothing is at work.
	p.Await(t, "sweeps", func(st client.Status) bool { return st.Store.Bytes < 16<<20 })
	// A task may say more by its limits than the node has room for: alice's patience decides, not the node's.
	a = p.Hpips(t, "run", "--disk", "1MiB", "--queue", "3s", wasm("hello"))
	if a.Code != 122 || !strings.Contains(a.Stderr, "hint: ") {
		t.Errorf("run of what may say 256 MiB: %+v", a)
	}
	// A program's output that does not fit.
	if a = p.Hpips(t, "run", "--disk", "1MiB", "--max-output", "70MiB", "--queue", "3s", wasm("guest"), "-o", "json", "--", "flood", "69"); a.Code == 0 || a.Status(t).Error == nil {
		t.Errorf("run of a flood: %+v", a)
	} else {
		t.Logf("flood: %+v", *a.Status(t).Error)
	}

	// All that was there is there, also after a restart on a disk that is full to the brim.
	ballast := write(t, filepath.Join(small, "ballast"), nil)
	for step := 1 << 20; step >= 4096; step /= 2 {
		f, err := os.OpenFile(ballast, os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = f.Write(make([]byte, step))
		}
		f.Close()
	}
	back := filepath.Join(t.TempDir(), "back")
	p.Must(t, "get", cid, "-O", back)
	if !bytes.Equal(noise(3<<20), []byte(read(t, back))) {
		t.Error("what was kept is damaged")
	}
	a = p.Hpips(t, "run", "--disk", "1MiB", "--max-output", "1MiB", wasm("hello"), "full")
	t.Logf("run on a full disk: %+v", a)
	if a.Code == 0 && a.Stdout != "hello, full\n" {
		t.Errorf("run on a full disk: %+v", a)
	}
	if a.Code != 0 && (!strings.Contains(a.Stderr, "hint: ") || !strings.Contains(a.Stderr, "space")) {
		t.Errorf("run on a full disk: %+v", a)
	}
	p.Stop(t)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	p.Up(t)
	pc.Eventually(t, "there is room again", func() bool {
		a := p.Hpips(t, "run", "--disk", "1MiB", "--max-output", "1MiB", "--dry-run", wasm("hello"))
		return strings.Contains(a.Stdout, "could run it: 1 of 1")
	}, func() string { return p.Log(10) })
	if got := p.Must(t, "run", "--disk", "1MiB", "--max-output", "1MiB", wasm("hello"), "after"); got != "hello, after" {
		t.Fatal(got)
	}
	p.Must(t, "get", cid, "-O", back, "--force")
	if !bytes.Equal(noise(3<<20), []byte(read(t, back))) {
		t.Error("what was kept is damaged after the restart")
	}
}

// What alice gets falls on a disk that is too small: she is told which, and no half file stays.
func TestFullDiskOfTheTarget(t *testing.T) {
	p := alice(t)
	cid := p.Must(t, "put", "-q", write(t, filepath.Join(t.TempDir(), "large"), noise(12<<20)))
	small := disk(t, "4m")
	target := filepath.Join(small, "copy")
	a := p.Hpips(t, "get", cid, "-O", target)
	if a.Code != 125 || !strings.Contains(a.Stderr, target) || !strings.Contains(a.Stderr, "no space left") || !strings.Contains(a.Stderr, "hint: ") {
		t.Errorf("%+v", a)
	}
	left, err := os.ReadDir(small)
	if err != nil || len(left) != 0 {
		t.Errorf("what stays is %v, error %v", left, err)
	}
}

// A home that cannot hold a node is told as what it is.
func TestFullDiskFromTheStart(t *testing.T) {
	small := disk(t, "64k")
	p := pc.New(t, built.hpips, "alice")
	p.Home = filepath.Join(small, "alice")
	a := p.Hpips(t, "up", "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns")
	if a.Code != 125 || !strings.Contains(a.Stderr, "no space left") && !strings.Contains(a.Stderr, "full") {
		t.Errorf("%+v", a)
	}
	t.Log(a.Stderr)
}

func write(t *testing.T, name string, text []byte) string {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
