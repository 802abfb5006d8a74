// Package execution keeps how the words of a lease become what an engine runs, and what an engine tells becomes the result.
// It promises that whoever runs a task by it, a provider for pay or a juror that asks whether the provider was right, gives the same program the same
// arguments, environment, files and limits, and comes to results with the same digest.
// It leaves the choice of tasks, folders and clocks to the conductors, running to the engines, and keeping contents to the store.
package execution

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// The sizes in bytes of the largest programs: of one in a file, and of a container image.
const (
	MaxModule = 64 << 20
	MaxImage  = 32 << 30
)

// Largest is the size in bytes of the largest program that an engine is given.
func Largest(engine string) int64 {
	if engine == job.EngineContainer {
		return MaxImage
	}
	return MaxModule
}

// Check refuses work whose names no sandbox can show.
func Check(w lease.Work) error {
	if err := checkVariables(w.Env); err != nil {
		return err
	}
	for _, a := range w.Args {
		if strings.ContainsRune(a, 0) {
			return errors.New("an argument contains a zero byte")
		}
	}
	for _, in := range w.Inputs {
		if err := checkPath(in.To); err != nil {
			return fmt.Errorf("input %s: %w", in.From, err)
		}
	}
	for _, out := range w.Outputs {
		if err := checkPath(out); err != nil {
			return fmt.Errorf("output: %w", err)
		}
	}
	return nil
}

// CheckTask refuses a task that no requester gives.
func CheckTask(t job.Task) error {
	if err := checkVariables(t.Env); err != nil {
		return err
	}
	if t.Path != "" {
		if err := checkPath(t.Path); err != nil {
			return err
		}
	}
	if t.Input != nil && (t.Path == "" || len(t.Input.Inline) > job.InlineLimit) {
		return errors.New("its input has no path, or is too large to be inline")
	}
	return nil
}

func checkVariables(vars map[string]string) error {
	for name, value := range vars {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return fmt.Errorf("%q is not a name for an environment variable, or its value contains a zero byte", name)
		}
	}
	return nil
}

func checkPath(g string) error {
	if !path.IsAbs(g) || path.Clean(g) != g || g == "/" || strings.ContainsRune(g, 0) {
		return fmt.Errorf("%q is not a clean absolute path", g)
	}
	return nil
}

// Program is what all tasks of w share. Where things lie on this machine is left to be filled in: module and key, mounts, folders, the lease's name.
func Program(w lease.Work) engine.Program {
	return engine.Program{
		Args: w.Args, Env: append(environment(w.Env), fmt.Sprint("HPIPS_COUNT=", w.Count)), Seed: w.Seed, Reach: w.Reach,
		Limits: engine.Limits{
			Time: time.Duration(w.Limits.Time), Memory: int64(w.Resources.Memory), Output: int64(w.Limits.Output), Disk: int64(w.Resources.Disk), Work: w.Limits.Work,
		}.OrDefault(),
	}
}

// Task is t as a sandbox for w sees it. stdin and input are where standard input and the task's own input lie on this machine; "" is none.
func Task(w lease.Work, t job.Task, stdin, input string) engine.Task {
	env := make([]string, 0, 2+len(t.Env))
	env = append(env, fmt.Sprint("HPIPS_INDEX=", t.Index))
	if t.Path != "" {
		env = append(env, "HPIPS_INPUT="+t.Path)
	}
	e := engine.Task{Env: append(env, environment(t.Env)...), Stdin: stdin, Outputs: w.Outputs, Stream: w.Stream}
	if input != "" {
		e.Mounts = []engine.Mount{{Guest: t.Path, Host: input}}
	}
	return e
}

// environment writes variables in the order of their names.
func environment(vars map[string]string) []string {
	env := make([]string, 0, len(vars)+1)
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, name+"="+vars[name])
	}
	return env
}
