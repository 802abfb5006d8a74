package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// step is something that is run in the machine.
type step struct {
	name  string
	as    string   // one of testdata/as.sh
	room  string   // below engine, in whose folder it is run; "" none
	cmd   string   // a line of the shell; "" the room's tests
	args  string   // of the room's tests
	wants []string // what it says, regular expressions
	skips []string // tests that may be skipped there, regular expressions
}

// heard is what a step said.
type heard struct {
	lines []string
	code  string // "" it did not end
}

// TestControlGroupsOfVersion2 runs the engines' own tests where control groups are of version 2 alone, as those whom PCs run nodes as.
func TestControlGroupsOfVersion2(t *testing.T) {
	if !*soak {
		t.Skip("it boots a virtual machine for half an hour or more: run it with -args -soak")
	}
	chosen, err := regexp.Compile(*steps)
	if err != nil {
		t.Fatal(err)
	}
	system, dir := script(t, "system"), t.TempDir()
	if *keep {
		if dir, err = os.MkdirTemp("", "hpips-vm-"); err != nil {
			t.Fatal(err)
		}
		t.Logf("kept in %s", dir)
	}
	var list []step
	for _, s := range all {
		if chosen.MatchString(s.name) {
			list = append(list, s)
		}
	}
	furnish(t, filepath.Join(dir, "work"), list)
	script(t, "disk", filepath.Join(dir, "work"), filepath.Join(dir, "disk"))
	said, err := run(t, system, dir)
	for _, s := range list {
		t.Run(s.name, func(t *testing.T) { s.judge(t, said[s.name]) })
	}
	if err != nil {
		console, _ := os.ReadFile(filepath.Join(dir, "console"))
		t.Errorf("%v\n%s", err, console[max(0, len(console)-4000):])
	}
}

// furnish fills the folder that becomes the machine's disk: tests, programs, and the steps.
func furnish(t *testing.T, work string, list []step) {
	t.Helper()
	var rooms, script []string
	script = append(script, "mkdir -p /work/tmp; chmod 1777 /work/tmp", ". /work/bin/as.sh", "echo @@ kernel $(uname -r), $(systemctl --version | head -n 1), $(bwrap --version), groups $(stat -fc %T /sys/fs/cgroup)")
	for _, s := range list {
		at, cmd := "/work/src", s.cmd
		if s.room != "" {
			at = "/work/src/" + s.room
			if !slices.Contains(rooms, s.room) {
				rooms = append(rooms, s.room)
			}
		}
		if cmd == "" {
			cmd = "./test -test.v -test.count=1 " + s.args
		}
		script = append(script, fmt.Sprintf("step %s %s %s %s", s.name, s.as, at, cmd))
	}
	for _, room := range rooms {
		at := filepath.Join(work, "src", room)
		build(t, []string{"test", "-c"}, filepath.Join(at, "test"), "./engine/"+room)
		from := filepath.Join("..", "..", "engine", room, "testdata")
		if _, err := os.Stat(from); err != nil {
			continue
		}
		if err := os.CopyFS(filepath.Join(at, "testdata"), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(work, "programs"), 0o755); err != nil {
		t.Fatal(err)
	}
	build(t, []string{"build"}, filepath.Join(work, "programs")+"/", "./engine/process/testdata/guest", "./engine/enginetest/testdata/hostile")
	build(t, []string{"build"}, filepath.Join(work, "bin", "hpips"), "./cmd/hpips")
	copyFile(t, "testdata/go.sh", filepath.Join(work, "bin", "go"))
	copyFile(t, "testdata/as.sh", filepath.Join(work, "bin", "as.sh"))
	if err := os.WriteFile(filepath.Join(work, "steps"), []byte(strings.Join(script, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run boots the machine and sorts what its steps say.
func run(t *testing.T, system, dir string) (map[string]*heard, error) {
	t.Helper()
	said, now, began := map[string]*heard{}, "", time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	log, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	err = boot(ctx, system, filepath.Join(dir, "disk"), filepath.Join(dir, "console"), func(line string) {
		fmt.Fprintf(log, "%5.0f %s\n", time.Since(began).Seconds(), line)
		words := strings.Fields(line)
		switch {
		case len(words) == 3 && words[0] == "@@" && words[1] == "begin":
			now = words[2]
			said[now] = &heard{}
		case len(words) == 4 && words[0] == "@@" && words[1] == "end" && said[words[2]] != nil:
			said[words[2]].code, now = words[3], ""
		case words[0] == "@@":
			t.Logf("%s, %s after the start", strings.TrimPrefix(line, "@@ "), time.Since(began).Round(time.Second))
		case now != "":
			said[now].lines = append(said[now].lines, line)
		}
	})
	t.Logf("the machine ran for %s", time.Since(began).Round(time.Second))
	return said, err
}

var skipped = regexp.MustCompile(`^ *--- SKIP: (\S+)`)

// judge wants a step to have ended well, to have said what it should, and to have left out no test but those that may be.
func (s step) judge(t *testing.T, h *heard) {
	if h == nil {
		t.Fatal("it was not begun")
	}
	text := strings.Join(h.lines, "\n")
	t.Log("\n" + text)
	if h.code != "0" {
		t.Errorf("it ended with %q", h.code)
	}
	for _, want := range s.wants {
		if !regexp.MustCompile("(?m)" + want).MatchString(text) {
			t.Errorf("it does not say %q", want)
		}
	}
	for _, line := range h.lines {
		if m := skipped.FindStringSubmatch(line); m != nil && !slices.ContainsFunc(s.skips, func(p string) bool { return regexp.MustCompile("^" + p + "$").MatchString(m[1]) }) {
			t.Errorf("%s was left out", m[1])
		}
	}
}
