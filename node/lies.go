//go:build lies

package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hpips/hpips/auditor"
	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/requester"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
)

// This is built for tests only: nodes that do what the file `lies` in their home says. Without one they are honest.
//
// As providers they tell of a task:
//
//   - "garbage": random bytes.
//   - "constant": the same for every task.
//   - "dear": the truth about tasks of less than ten million instructions, and garbage about others.
//   - "after N": the truth about the first N tasks, and garbage about others.
//   - "fellow": as constant; and as jurors they say the same about what one of the nodes in the file `fellows` did, whose keys stand there in hex.
//
// As jurors:
//
//   - "lazy": the truth, with a state that is made up.
//   - "mute": they commit themselves and never reveal.
//   - "parrot": they make up what they commit themselves to, and then reveal what somebody else has revealed.
//   - "dies": the process ends, once, between commitment and reveal.
//   - "absent": they do not see what is asked for the first time.
//
// And any node with a file `hasty` waits for seconds where others wait for minutes, and looks after every jury.

// kindOf reads what a home is told to do, and the number behind it.
func kindOf(home string) (kind string, n int64) {
	text, err := os.ReadFile(filepath.Join(home, liesFile))
	if err != nil {
		return "", 0
	}
	kind, number, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	n, _ = strconv.ParseInt(number, 10, 64) // none: 0
	return kind, n
}

const (
	liesFile    = "lies"
	fellowsFile = "fellows"
	hastyFile   = "hasty"
)

const dear = 10_000_000 // instructions

// lying is an engine that does not tell what came of a program.
func lying(home string, e engine.Engine) engine.Engine {
	kind, n := kindOf(home)
	told := new(atomic.Int64)
	wrong := map[string]func(engine.Task, *engine.Outcome){
		"garbage":  func(_ engine.Task, o *engine.Outcome) { says(o, rand.Text()) },
		"constant": func(_ engine.Task, o *engine.Outcome) { says(o, theSame) },
		"fellow":   func(_ engine.Task, o *engine.Outcome) { says(o, theSame) },
		"dear": func(_ engine.Task, o *engine.Outcome) {
			if o.Usage.Work >= dear {
				says(o, rand.Text())
			}
		},
		"after": func(_ engine.Task, o *engine.Outcome) {
			if told.Add(1) > n {
				says(o, rand.Text())
			}
		},
	}[kind]
	if wrong == nil {
		return e
	}
	return liar{e, wrong}
}

const theSame = "42\n"

// guessing is an engine of which an examiner does not learn what it should.
func guessing(home string, e engine.Engine) engine.Engine {
	kind, _ := kindOf(home)
	madeUp := func(o *engine.Outcome) {
		for i := range o.States {
			_, _ = rand.Read(o.States[i][:]) // never fails
		}
	}
	switch kind {
	case "lazy":
		return liar{e, func(_ engine.Task, o *engine.Outcome) { madeUp(o) }}
	case "parrot":
		return liar{e, func(_ engine.Task, o *engine.Outcome) { says(o, rand.Text()); madeUp(o) }}
	case "fellow":
		return liar{e, func(t engine.Task, o *engine.Outcome) {
			if sworn.has(home, t.Env[0]) {
				says(o, theSame)
			}
		}}
	}
	return e
}

type liar struct {
	engine.Engine
	wrong func(engine.Task, *engine.Outcome)
}

func (l liar) Open(ctx context.Context, p engine.Program) (engine.Sandbox, error) {
	s, err := l.Engine.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	return &box{s, l.wrong}, nil
}

type box struct {
	engine.Sandbox
	wrong func(engine.Task, *engine.Outcome)
}

func (b *box) Run(ctx context.Context, tasks []engine.Task, sink engine.Sink) error {
	return b.Sandbox.Run(ctx, tasks, mouth{sink, tasks, b.wrong})
}

type mouth struct {
	engine.Sink
	tasks []engine.Task
	wrong func(engine.Task, *engine.Outcome)
}

func (m mouth) Done(outcomes []engine.Outcome) {
	for i := range outcomes {
		o := &outcomes[i]
		if o.End == engine.Exited && o.Stdout.Path == "" || o.States != nil {
			m.wrong(m.tasks[slices.IndexFunc(m.tasks, func(t engine.Task) bool { return t.ID == o.ID })], o)
		}
	}
	m.Sink.Done(outcomes)
}

func says(o *engine.Outcome, text string) {
	o.Stdout = engine.Blob{Inline: []byte(text), Size: int64(len(text))}
}

// oaths are the tasks, by home and number, about which fellows lie for one another.
type oaths struct{ sync.Map }

var sworn oaths

func (o *oaths) has(home, task string) bool { _, is := o.Load(home + task); return is }

// perjured is a juror that does not say what it found.
func perjured(home string, b bar, d auditor.Deps, cfg auditor.JurorConfig) (auditor.Deps, auditor.JurorConfig) {
	if there(filepath.Join(home, hastyFile)) {
		cfg.Every = time.Second
	}
	p := perjurer{home: home}
	if p.kind, _ = kindOf(home); !slices.Contains([]string{"mute", "parrot", "dies", "fellow", "absent"}, p.kind) {
		return d, cfg
	}
	text, _ := os.ReadFile(filepath.Join(home, fellowsFile)) // none: no fellows
	p.fellows = string(text)
	dial := d.Dial
	d.Chain = stand{b, p}
	d.Dial = func(ctx context.Context, lease [32]byte) (auditor.Requester, error) {
		r, err := dial(ctx, lease)
		return hearsay{r, p}, err
	}
	return d, cfg
}

type perjurer struct{ home, kind, fellows string }

// committed is the moment after a commitment.
func (p perjurer) committed(err error) error {
	if p.kind == "dies" && (err == nil || err == errOthers) {
		_ = os.Remove(filepath.Join(p.home, liesFile)) // its next life is honest
		os.Exit(9)
	}
	return err
}

// stand is the chain before such a juror.
type stand struct {
	bar
	p perjurer
}

// asked are the first disputes about what was told, by home and question.
var asked sync.Map

func (s stand) Disputes(ctx context.Context) ([]auditor.Dispute, error) {
	all, err := s.bar.Disputes(ctx)
	if s.p.kind != "absent" {
		return all, err
	}
	return slices.DeleteFunc(all, func(d auditor.Dispute) bool {
		if d.Phase == auditor.Waiting { // it has no number yet
			return true
		}
		first, _ := asked.LoadOrStore(fmt.Sprint(s.p.home, d.Lease, d.Statement), d.ID)
		return first == d.ID
	}), err
}

func (s stand) Commit(ctx context.Context, d auditor.Dispute, v auditor.Vote) error {
	return s.p.committed(s.bar.Commit(ctx, d, v))
}

func (s stand) Reveal(ctx context.Context, d auditor.Dispute, voice trust.Voice, salt [32]byte) error {
	switch s.p.kind {
	case "mute":
		return nil
	case "parrot":
		other, err := s.overheard(ctx, d)
		if err != nil || len(other) == 0 {
			return err
		}
		voice.Result = trust.Digest(other)
	}
	return s.bar.Reveal(ctx, d, voice, salt)
}

// overheard is what somebody else has revealed in a round; nil: nobody has.
func (s stand) overheard(ctx context.Context, d auditor.Dispute) ([]byte, error) {
	life := s.c.running()
	if life == nil {
		return nil, errNoChainNode
	}
	question, err := (&auditv1.QueryDisputesRequest{}).Marshal()
	if err != nil {
		return nil, err
	}
	r, err := life.node.Client().ABCIQuery(ctx, "/hpips.audit.v1.Query/Disputes", question)
	if err != nil {
		return nil, err
	}
	var all auditv1.QueryDisputesResponse
	if err := all.Unmarshal(r.Response.Value); err != nil {
		return nil, err
	}
	for _, c := range all.Commitments {
		if c.Dispute == d.ID && uint64(c.Round) == d.Matter.Round && len(c.Answer) > 0 {
			return c.Answer, nil
		}
	}
	return nil, nil
}

// hearsay is a requester before such a juror.
type hearsay struct {
	auditor.Requester
	p perjurer
}

func (w hearsay) Statements(ctx context.Context, m trust.Matter, p sortition.Proof) ([]lease.Statement, error) {
	all, err := w.Requester.Statements(ctx, m, p)
	for _, s := range all {
		if w.p.kind == "fellow" && strings.Contains(w.p.fellows, sortition.Key(m.Node).String()) {
			sworn.Store(w.p.home+"HPIPS_INDEX="+strconv.FormatUint(s.Task.Index, 10), true)
		}
	}
	return all, err
}

func (w hearsay) Commit(ctx context.Context, m trust.Matter, v auditor.Vote) error {
	return w.p.committed(w.Requester.Commit(ctx, m, v))
}

func (w hearsay) Reveal(ctx context.Context, m trust.Matter, p sortition.Proof, says []trust.Say, salt [32]byte) error {
	if w.p.kind == "mute" {
		return nil
	}
	return w.Requester.Reveal(ctx, m, p, says, salt)
}

// hasty is a requester with no patience.
func hasty(home string, cfg requester.Config) requester.Config {
	if there(filepath.Join(home, hastyFile)) {
		cfg.Court, cfg.Silence, cfg.Canaries = time.Second, 20*time.Second, 1
	}
	return cfg
}
