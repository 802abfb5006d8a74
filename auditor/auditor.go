// Package auditor keeps the second look at what providers say: an examiner runs a statement again, and a juror does so where it was drawn for it, commits itself and reveals.
// It promises that an answer is the same bytes as an honest provider's, that what only this machine or its clock is the cause of is no answer, that whoever is
// started anew reveals what it had committed itself to, and that nothing stays on the disk but blocks that the store's next collection takes.
// It leaves what answers mean to spec/trust, running to the engine, contents to the store, keys, chain and links to those who hand them in.
package auditor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/store"
)

// Config says what an examination may take of this machine.
type Config struct {
	Dir    string        // its own folder, emptied at start
	Time   time.Duration // of the clock
	Memory int64         // bytes that a program may have
	Disk   int64         // bytes of inputs, and of what a program may write besides
	Stall  time.Duration // without progress, before content is given up
	Work   uint64        // instructions at most; 0: what the statement says
}

// Default returns the configuration for a folder: an hour, 4 GiB of memory and 20 GiB of disk.
func Default(dir string) Config {
	return Config{Dir: dir, Time: time.Hour, Memory: 4 << 30, Disk: 20 << 30, Stall: 2 * time.Minute}
}

// Check refuses what cannot work.
func (c Config) Check() error {
	switch {
	case c.Dir == "":
		return errors.New("auditor config: dir is empty")
	case c.Time <= 0 || c.Memory < 1 || c.Disk < 1 || c.Stall <= 0:
		return fmt.Errorf("auditor config: time, memory, disk and stall must be above 0: %+v", c)
	}
	return nil
}

// Store is what an examiner needs of the content store.
type Store interface {
	execution.Source
	AddPath(ctx context.Context, hostPath string, progress func(store.Progress)) (store.Entry, error)
}

// ErrNoAnswer is for statements that this machine cannot answer: another may.
var ErrNoAnswer = errors.New("no answer")

func noAnswer(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrNoAnswer, fmt.Errorf(format, args...))
}

// Rule are the points at which states are taken down, ascending; which one counts, the work picks that the whole execution took (spec/trust.Pick).
type Rule []uint64

// By is the rule of a juror for a statement: that of the output of its own proof.
func By(beta []byte, s lease.Statement) Rule { return trust.Points(beta, s.Digest()) }

// At is the rule of one point, which counts always: that of somebody else.
func At(point uint64) Rule { return Rule{point} }

// Finding is what came of a statement.
type Finding struct {
	Answer trust.Digest
	States []trust.Digest // by each of the rules that were asked for
	Result job.Result
}

// Examiner runs statements again, in sessions (session.go).
type Examiner struct {
	log    *slog.Logger
	store  Store
	engine engine.Engine
	cfg    Config
	held   *hold
	hasty  bool // it does not wait for the end of a hold
}

// New makes an examiner and empties its folder.
func New(log *slog.Logger, s Store, e engine.Engine, cfg Config) (*Examiner, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if err := errors.Join(os.RemoveAll(cfg.Dir), os.MkdirAll(cfg.Dir, 0o700)); err != nil {
		return nil, fmt.Errorf("auditor folder: %w", err)
	}
	return &Examiner{log: log, store: s, engine: e, cfg: cfg, held: newHold()}, nil
}

// Within is an examiner that gives no answer where an execution takes more instructions than these.
func (e *Examiner) Within(work uint64) *Examiner {
	other := *e
	other.cfg.Work = max(1, work)
	return &other
}

// admit refuses statements that no provider takes, and those that want more than this machine gives.
func (e *Examiner) admit(s lease.Statement) error {
	if s.Work.Live {
		return noAnswer("%w", lease.ErrLive)
	}
	if err := execution.Check(s.Work); err != nil {
		return noAnswer("statement: %w", err)
	}
	if err := execution.CheckTask(s.Task); err != nil {
		return noAnswer("statement, task %d: %w", s.Task.Index, err)
	}
	switch l := execution.Program(s.Work).Limits; {
	case s.Work.Resources.Memory < 0 || s.Work.Resources.Disk < 0 || s.Work.Limits.Output < 0:
		return noAnswer("statement: a limit is negative")
	case l.Memory > e.cfg.Memory:
		return noAnswer("memory: it wants %s, this node gives %s", engine.Bytes(l.Memory), engine.Bytes(e.cfg.Memory))
	case l.Disk > e.cfg.Disk || l.Output > e.cfg.Disk:
		return noAnswer("disk: it wants %s and an output of %s, this node gives %s", engine.Bytes(l.Disk), engine.Bytes(l.Output), engine.Bytes(e.cfg.Disk))
	}
	return nil
}

// put gives the address of what is too large for a message. Nothing holds it in the store.
func (e *Examiner) put(ctx context.Context) func(path string) (job.Content, error) {
	return func(path string) (job.Content, error) {
		entry, err := e.store.AddPath(ctx, path, nil)
		if err != nil {
			return job.Content{}, err
		}
		return job.Content{CID: entry.CID.String(), Size: int64(entry.Size)}, nil
	}
}
