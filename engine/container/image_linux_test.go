package container

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/image"
)

var small = engine.Limits{Memory: 64 << 20, Output: 1 << 20, Disk: 1 << 20, Time: time.Minute}

// opened opens an image in an engine; it is closed with the test if nobody did before.
func opened(t *testing.T, e *Engine, p engine.Program) engine.Sandbox {
	t.Helper()
	p.Lease, p.Dir, p.Limits = t.Name(), t.TempDir(), small
	s, err := e.Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// outcome runs one task.
func outcome(t *testing.T, s engine.Sandbox, task engine.Task) engine.Outcome {
	t.Helper()
	l := enginetest.NewLedger()
	task.ID = 1
	if err := s.Run(t.Context(), []engine.Task{task}, l); err != nil {
		t.Fatal(err)
	}
	return l.Of[1]
}

// TestWhatRunsInAnImage has the image's words and the job's come together as docker run has them: arguments replace its command and keep its entry point, variables of the
// task win over the program's, and those over the image's.
func TestWhatRunsInAnImage(t *testing.T) {
	e := ours(t)
	guest, err := image.Pack(image.File{Name: "hpips/program", Content: helper(t, "guest")}, image.File{Name: "hpips/text", Content: []byte("no program")})
	if err != nil {
		t.Fatal(err)
	}
	const entry = "/hpips/program"
	for name, row := range map[string]struct {
		image  v1.ImageConfig
		change func(*engine.Program, *engine.Task)
		exit   int
		says   string // on standard output, or in the message where it fails
	}{
		"its own command":         {v1.ImageConfig{Entrypoint: []string{entry, "exit"}, Cmd: []string{"3"}}, nil, 3, "exit code 3"},
		"other arguments":         {v1.ImageConfig{Entrypoint: []string{entry, "exit"}, Cmd: []string{"3"}}, func(p *engine.Program, _ *engine.Task) { p.Args = []string{"5"} }, 5, "exit code 5"},
		"the task's arguments":    {v1.ImageConfig{Cmd: []string{entry, "exit", "3"}}, func(p *engine.Program, k *engine.Task) { p.Args, k.Args = []string{entry}, []string{"exit", "6"} }, 6, "exit code 6"},
		"the image's variables":   {v1.ImageConfig{Cmd: []string{entry, "index"}, Env: []string{"HPIPS_INDEX=image"}}, nil, 0, "image"},
		"the program's variables": {v1.ImageConfig{Cmd: []string{entry, "index"}, Env: []string{"HPIPS_INDEX=image"}}, func(p *engine.Program, _ *engine.Task) { p.Env = []string{"HPIPS_INDEX=program"} }, 0, "program"},
		"the task's variables": {v1.ImageConfig{Cmd: []string{entry, "index"}, Env: []string{"HPIPS_INDEX=image"}}, func(p *engine.Program, k *engine.Task) {
			p.Env, k.Env = []string{"HPIPS_INDEX=program"}, []string{"HPIPS_INDEX=task"}
		}, 0, "task"},
		"no such program":        {v1.ImageConfig{Entrypoint: []string{"/bin/nothing"}}, nil, 127, "cannot be started"},
		"what is no program":     {v1.ImageConfig{Entrypoint: []string{"/hpips/text"}}, nil, 127, "cannot be started"}, // it is handed to /bin/sh, which is not there
		"another user's image":   {v1.ImageConfig{Entrypoint: []string{entry, "write", "/tmp/x", "y"}, User: "root"}, nil, 0, ""},
		"a folder without":       {v1.ImageConfig{Entrypoint: []string{entry, "write", "/data/x", "y"}}, nil, 1, "exit code 1"},
		"a volume":               {v1.ImageConfig{Entrypoint: []string{entry, "write", "/data/x", "y"}, Volumes: map[string]struct{}{"/data": {}}}, nil, 0, ""},
		"an output for a volume": {v1.ImageConfig{Entrypoint: []string{entry, "write", "/data/x", "y"}, Volumes: map[string]struct{}{"/data": {}}}, func(_ *engine.Program, k *engine.Task) { k.Outputs = []string{"/data"} }, 0, ""},
		"its folder":             {v1.ImageConfig{Entrypoint: []string{"./program", "exit", "0"}, WorkingDir: "/hpips"}, nil, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, task := layoutOf(t, row.image, guest), engine.Task{}
			if row.change != nil {
				row.change(&p, &task)
			}
			o := outcome(t, opened(t, e, p), task)
			if said := string(o.Stdout.Inline) + o.Message; o.End != engine.Exited || o.Exit != row.exit || !strings.Contains(said, row.says) || row.says == "" && said != "" {
				t.Errorf("%s %d, it says %q, want %d and %q", o.End, o.Exit, said, row.exit, row.says)
			}
		})
	}
	t.Run("a volume is measured", func(t *testing.T) {
		p := layoutOf(t, v1.ImageConfig{Entrypoint: []string{entry, "fill", "/data/x"}, Volumes: map[string]struct{}{"/data": {}}}, guest)
		if o := outcome(t, opened(t, e, p), engine.Task{}); o.End != engine.DiskFull {
			t.Errorf("%s %q", o.End, o.Message)
		}
	})
	t.Run("nothing to run", func(t *testing.T) {
		p := layoutOf(t, v1.ImageConfig{}, guest)
		p.Dir = t.TempDir()
		var bad *engine.ProgramError
		if _, err := e.Open(t.Context(), p); !errors.As(err, &bad) || !strings.Contains(bad.Message, "no program to run") {
			t.Errorf("it says %v", err)
		}
	})
	t.Run("where nothing can be shown", func(t *testing.T) {
		s := opened(t, e, program(t, "guest"))
		for _, guest := range []string{"/", "/proc/x", "/etc", "/a/../b", "/a,b", "/a:b"} {
			if o := outcome(t, s, engine.Task{Args: []string{"exit", "0"}, Outputs: []string{guest}}); o.End != engine.Broken {
				t.Errorf("%s: %s %q", guest, o.End, o.Message)
			}
		}
	})
}

// another is an image that no other test has.
func another(t *testing.T, name string) engine.Program {
	t.Helper()
	layer, err := image.Pack(image.File{Name: "hpips/program", Content: helper(t, "guest")}, image.File{Name: "name", Content: []byte(t.Name() + name)})
	if err != nil {
		t.Fatal(err)
	}
	return layoutOf(t, v1.ImageConfig{Entrypoint: []string{"/hpips/program"}}, layer)
}

func has(t *testing.T, e *Engine, p engine.Program) bool {
	t.Helper()
	_, err := e.api.ImageInspect(t.Context(), imageName(p.Key))
	if err != nil && !errdefs.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

// TestImagesComeAndGo has an engine that may keep nothing: images are there as long as somebody has them open, and no longer.
func TestImagesComeAndGo(t *testing.T) {
	e := ours(t)
	room := e.cfg.Images
	e.cfg.Images = 1
	defer func() { e.cfg.Images = room }()
	a, b := another(t, "a"), another(t, "b")
	alice, bob, carol := opened(t, e, a), opened(t, e, a), opened(t, e, b)
	if !has(t, e, a) || !has(t, e, b) {
		t.Fatal("the images are not there")
	}
	for _, s := range []engine.Sandbox{alice, carol, carol} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !has(t, e, a) || has(t, e, b) {
		t.Error("the image in use is gone, or the other is not")
	}
	if o := outcome(t, bob, engine.Task{Args: []string{"exit", "0"}}); o.Exit != 0 {
		t.Errorf("bob: %s %q", o.End, o.Message)
	}
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	if has(t, e, a) {
		t.Error("an image that nobody has is still there")
	}
	if o := outcome(t, opened(t, e, b), engine.Task{Args: []string{"exit", "4"}}); o.Exit != 4 {
		t.Errorf("an image that has come again: %s %d", o.End, o.Exit)
	}
}

// TestDue works out which images go: what was unused for too long, and of what is too much the oldest.
func TestDue(t *testing.T) {
	now := time.Now()
	for name, row := range map[string]struct {
		idle, all int64
		want      []string
	}{
		"room for all":              {1000, 1000, []string{"old"}},
		"room for some":             {120, 1000, []string{"old", "mid"}},
		"room for none":             {10, 1000, []string{"old", "mid", "new"}},
		"room beside the used one":  {1000, 700, []string{"old"}},
		"some beside the used one":  {1000, 620, []string{"old", "mid"}},
		"the used one takes it all": {1000, 400, []string{"old", "mid", "new"}},
	} {
		s := &shelf{e: &Engine{cfg: Config{Keep: time.Hour, Images: row.idle, AllImages: row.all}}, kept: map[string]*kept{
			"used": {users: 1, size: 500, last: now.Add(-9 * time.Hour)}, "old": {size: 100, last: now.Add(-2 * time.Hour)},
			"mid": {size: 100, last: now.Add(-30 * time.Minute)}, "new": {size: 100, last: now.Add(-time.Minute)},
		}}
		if got := s.due(now); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", name, got, row.want)
		}
	}
}

// TestImagesInUseHaveABound has alice and bob use images that take all the room there is: carol's is not taken before one of them lets go.
func TestImagesInUseHaveABound(t *testing.T) {
	e := ours(t)
	one, err := read(another(t, "alice").Module, another(t, "alice").Key)
	if err != nil {
		t.Fatal(err)
	}
	w, err := one.Weigh(t.Context(), 1<<30)
	if err = errors.Join(err, one.Close()); err != nil {
		t.Fatal(err)
	}
	room := e.cfg.AllImages
	e.cfg.AllImages = 2*w.Bytes + w.Bytes/2
	defer func() { e.cfg.AllImages = room }()
	_, bob := opened(t, e, another(t, "alice")), opened(t, e, another(t, "bob"))
	carols := another(t, "carol")
	carols.Lease, carols.Dir, carols.Limits = t.Name(), t.TempDir(), small
	_, err = e.Open(t.Context(), carols)
	if bad := (*engine.ProgramError)(nil); err == nil || errors.As(err, &bad) || !strings.Contains(err.Error(), "there is room when one of them is let go") {
		t.Errorf("a third image: %v", err)
	}
	if has(t, e, carols) {
		t.Error("an image without room was loaded")
	}
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	if o := outcome(t, opened(t, e, carols), engine.Task{Args: []string{"exit", "3"}}); o.Exit != 3 {
		t.Errorf("when bob has let go: %s %d %q", o.End, o.Exit, o.Message)
	}
}

// TestAnImageIsTakenAway has somebody remove an image that a lease uses: it is loaded again.
func TestAnImageIsTakenAway(t *testing.T) {
	e := ours(t)
	p := another(t, "")
	s := opened(t, e, p)
	if _, err := e.api.ImageRemove(t.Context(), imageName(p.Key), client.ImageRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if o := outcome(t, s, engine.Task{Args: []string{"exit", "2"}}); o.End != engine.Exited || o.Exit != 2 {
		t.Errorf("%s %d %q", o.End, o.Exit, o.Message)
	}
}

// TestAnotherImageUnderOurName has mallory, who may use the engine too, give another image the name of alice's.
func TestAnotherImageUnderOurName(t *testing.T) {
	e := ours(t)
	alice, mallory := another(t, "alice"), another(t, "mallory")
	i, err := read(mallory.Module, mallory.Key)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if err := e.load(t.Context(), alice.Key, i); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := e.api.ImageRemove(context.WithoutCancel(t.Context()), imageName(alice.Key), client.ImageRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	}()
	alice.Dir = t.TempDir()
	if _, err := e.Open(t.Context(), alice); err == nil || !strings.Contains(err.Error(), "holds another one") {
		t.Errorf("it says %v", err)
	}
}

// TestKilledNodesLeaveNothing finds the containers of a node that is gone, and leaves those of nodes that live, this one's among them.
func TestKilledNodesLeaveNothing(t *testing.T) {
	e := ours(t)
	p := another(t, "")
	_ = opened(t, e, p)
	dead := exec.Command("sleep", "1h")
	if err := dead.Start(); err != nil {
		t.Fatal(err)
	}
	its, err := identity(dead.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	create := func(owner string) string {
		t.Helper()
		c, err := e.api.ContainerCreate(t.Context(), client.ContainerCreateOptions{Config: &container.Config{Image: imageName(p.Key), Labels: map[string]string{label: owner}},
			HostConfig: &container.HostConfig{NetworkMode: "none"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.remove(context.WithoutCancel(t.Context()), c.ID); err != nil {
				t.Error(err)
			}
		})
		return c.ID
	}
	left, own := create(its), create(e.self)
	exists := func(id string) bool {
		t.Helper()
		_, err := e.api.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
		if err != nil && !errdefs.IsNotFound(err) {
			t.Fatal(err)
		}
		return err == nil
	}
	if err := e.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !exists(left) || !exists(own) {
		t.Error("a container of a node that lives was removed")
	}
	if err := dead.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = dead.Wait()
	if err := e.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exists(left) || !exists(own) {
		t.Error("the container of a node that is gone is still there, or this node's is not")
	}
}
