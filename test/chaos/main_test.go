// Package chaos does to real hpips processes what happens to PCs: they are switched off, they freeze, their lines are cut, they come back elsewhere.
// It promises that faults are chosen by a seed that is printed, counted, and that the result is compared with that of an undisturbed run.
// It leaves faults of single rooms, by rule and with a false clock, to the tests of those rooms.
package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/test/e2e/pc"
)

var (
	soak = flag.Bool("soak", false, "run the full counts")
	seed = flag.Uint64("seed", 1, "of the faults")
)

var built struct{ hpips, liar, guest, dir string }

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hpips-chaos-")
	if err == nil {
		defer os.RemoveAll(dir)
		root := filepath.Join("..", "..")
		if built.hpips, err = pc.Program(root, dir); err == nil {
			built.liar, err = pc.Liar(root, dir)
		}
		if err == nil {
			built.guest, err = pc.Guest(root, dir, "test/e2e/testdata/guest")
		}
	}
	if err == nil {
		err = flag.Set("test.parallel", "6") // the tests of chains wait more than they reckon
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// counted gives the reduced count, or with -soak the full one.
func counted(reduced, full int) int {
	if *soak {
		return full
	}
	return reduced
}

// town is alice, who asks and runs nothing, and providers with one slot each.
type town struct {
	t       *testing.T
	rng     *rand.Rand
	alice   *pc.PC
	folk    []*pc.PC
	program string // content address at alice
	steps   string // of a task
	want    string // the result that all runs of the job must have
}

// The job: so many tasks of about 20 ms, and a reduce that sees all their numbers.
const steps = "12000"

func tasks() int { return counted(120, 240) }

func newTown(t *testing.T, names ...string) *town {
	t.Helper()
	w := &town{t: t, rng: rand.New(rand.NewPCG(*seed, uint64(len(t.Name())))), alice: pc.New(t, built.hpips, "alice", "--no-provider"), steps: steps}
	w.alice.Up(t)
	for _, name := range names {
		p := pc.New(t, built.hpips, name, "--slots", "1", "--join", w.alice.Address(t))
		p.Up(t)
		w.folk = append(w.folk, p)
	}
	w.alice.Ready(t, len(names))
	w.undisturbed()
	return w
}

// undisturbed runs the job once before anything happens: that result all others must have. It gives the job's name.
func (w *town) undisturbed() string {
	w.t.Helper()
	w.program = w.alice.Must(w.t, "put", "-q", built.guest)
	id := w.submit()
	st := w.finish(id)
	if st.Tasks.Lost != 0 || st.Executions != tasks()+1 {
		w.t.Fatalf("the undisturbed run was disturbed: %+v", st)
	}
	w.want = st.Result
	w.t.Logf("undisturbed: %d tasks in %.1f s, result %s", st.Tasks.Total, st.Seconds, st.Result)
	return id
}

// submit hands the job in and returns its name.
func (w *town) submit() string {
	w.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), pc.Patience)
	defer stop()
	spec := job.Spec{Kind: job.Map, Run: job.Run{WASM: w.program, Args: []string{"squares", w.steps}}, Over: &job.Over{Count: tasks()},
		Reduce: &job.Reduce{Run: job.Run{WASM: w.program, Args: []string{"reduce"}}}, Verify: job.Verify{Mode: job.None}}
	id, err := w.alice.API(w.t).Submit(ctx, spec, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// status is how a job is; false when alice does not answer now.
func (w *town) status(id string) (job.Status, bool) {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	api, err := client.Open(w.alice.Home)
	if err != nil {
		return job.Status{}, false
	}
	defer api.Close()
	st, err := api.Job(ctx, id)
	return st, err == nil
}

// until waits until a job is as wanted.
func (w *town) until(id, what string, wanted func(job.Status) bool) job.Status {
	w.t.Helper()
	var last job.Status
	pc.Eventually(w.t, "job "+id+" "+what, func() bool {
		st, ok := w.status(id)
		last = st
		return ok && wanted(st)
	}, func() string { return fmt.Sprintf("%+v\n%s", last, w.alice.Log(20)) })
	return last
}

// finish waits for the end of a job and checks what every end must be.
func (w *town) finish(id string) job.Status {
	w.t.Helper()
	st := w.until(id, "ends", func(st job.Status) bool { return st.State.Final() })
	if st.State != job.Settled || st.Tasks.Total != tasks()+1 || st.Tasks.Done != tasks()+1 || st.ExitCode != 0 {
		w.t.Fatalf("job %s: %+v, error %+v\n%s", id, st, st.Error, w.alice.Log(20))
	}
	if st.Executions < st.Tasks.Done+st.Tasks.Lost {
		w.t.Errorf("job %s: %d executions cannot have done %d tasks and lost %d", id, st.Executions, st.Tasks.Done, st.Tasks.Lost)
	}
	taken := 0
	for _, n := range st.Nodes {
		taken += n.Tasks
	}
	if taken != tasks()+1 {
		w.t.Errorf("job %s: the nodes' shares add up to %d tasks of %d: %+v", id, taken, tasks()+1, st.Nodes)
	}
	if w.want != "" && st.Result != w.want {
		w.t.Errorf("job %s: result %s, undisturbed %s", id, st.Result, w.want)
	}
	return st
}

// pause lets a random time of up to most pass, while the job runs.
func (w *town) pause(most time.Duration) {
	<-time.After(time.Duration(w.rng.Int64N(int64(most))))
}

// under waits until some tasks of a job are done, but not all: a fault now meets it at work. False when it has ended already.
func (w *town) under(id string) bool {
	w.t.Helper()
	st := w.until(id, "is under way", func(st job.Status) bool { return st.Tasks.Done > 0 || st.State.Final() })
	return !st.State.Final()
}
