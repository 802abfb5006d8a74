package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Compilers and tools of languages other than Go, and git: a PC on which somebody unpacked an archive may have none of them.
var foreign = regexp.MustCompile(`^(git.*|node.*|npm|npx|corepack|yarn.*|rust.*|cargo.*|clang.*|gcc.*|g\+\+.*|cc|c\+\+|wat2wasm|asc)$`)

// What comes as an archive is no repository, and its PC has Go, make and what Debian has anyway: make build writes the daemon and the programs of
// the main job, and says what it left out and why.
func TestAnArchiveBuilds(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	dir := unpacked(t, root)
	tools := plainTools(t)
	make := func(args ...string) string {
		cmd := exec.Command("make", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+tools)
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("make %v: %v\n%s", args, err, text)
		}
		return string(text)
	}
	said := make("build")
	for _, left := range []string{"tiny", "hello-c", "hello-rust", "hello-as"} {
		if !strings.Contains(said, "examples: "+left+" is left out: no ") {
			t.Errorf("make build does not say that and why %s is left out:\n%s", left, said)
		}
	}
	for _, name := range []string{"concordance", "render", "primes", "hello"} {
		if head := read(t, filepath.Join(dir, "examples", name, name+".wasm")); !strings.HasPrefix(head, "\x00asm") {
			t.Errorf("%s.wasm begins with %q", name, head[:4])
		}
	}
	text, err := exec.Command(filepath.Join(dir, "bin", "hpips"), "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(text), "dev") {
		t.Errorf("hpips --version: %v, %s", err, text)
	}
	help := make()
	for _, target := range strings.Fields("demo test bench lint gen ui e2e build clean") {
		if !strings.Contains(help, "make "+target+" ") {
			t.Errorf("make alone does not name %q:\n%s", target, help)
		}
	}
}

// unpacked is the tree as an archive would have it, without .git and without what was built.
func unpacked(t *testing.T, root string) string {
	t.Helper()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Fatalf("this test needs the repository that it is in: %v", err)
	}
	dir := t.TempDir()
	pack, unpack := exec.Command("tar", "-c", "--ignore-failed-read", "-C", root, "--null", "-T", "-"), exec.Command("tar", "-x", "-C", dir)
	pack.Stdin = bytes.NewReader(names)
	if unpack.Stdin, err = pack.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := unpack.Start(); err != nil {
		t.Fatal(err)
	}
	if err := pack.Run(); err != nil {
		t.Fatal(err)
	}
	if err := unpack.Wait(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// plainTools is a folder with everything of this machine's path but the tools that are foreign; Go comes as it is.
func plainTools(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, from := range filepath.SplitList(os.Getenv("PATH")) {
		entries, err := os.ReadDir(from)
		if err != nil {
			continue // a folder of the path that is not there
		}
		for _, e := range entries {
			if foreign.MatchString(e.Name()) {
				continue
			}
			if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(dir, e.Name())); err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
		}
	}
	return dir
}
