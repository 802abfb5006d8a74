package auditor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
)

// Keys speak for this node. They stay with whoever holds them.
type Keys interface {
	Node() [32]byte
	// Prove computes the proof of the verifiable random function (spec/sortition.Prove).
	Prove(alpha []byte) (sortition.Proof, error)
	// Sign signs a commitment, and the work that it stands for, as a voice in a matter (spec/trust.Matter.SignVoice).
	Sign(m trust.Matter, commitment [32]byte, work uint64) ([]byte, error)
}

// Chain is what a juror needs of the chain.
type Chain interface {
	Standing(ctx context.Context) (Standing, error)
	Audits(ctx context.Context) ([]Audit, error)
	Disputes(ctx context.Context) ([]Dispute, error)
	Commit(ctx context.Context, d Dispute, v Vote) error
	Reveal(ctx context.Context, d Dispute, voice trust.Voice, salt [32]byte) error
}

// Requester is who asked for the work that is looked at. Bytes from it are checked by whoever carries them.
type Requester interface {
	// Peer has the contents of the statements.
	Peer() peer.ID
	// Statements gives those of the draws of a panel, in their order, or the one of a dispute.
	Statements(ctx context.Context, m trust.Matter, p sortition.Proof) ([]lease.Statement, error)
	// Commit hands in a commitment to a panel. Without an error all jurors of the panel have committed themselves; with one it is tried again later. The same one may come again.
	Commit(ctx context.Context, m trust.Matter, v Vote) error
	// Reveal tells what a commitment binds.
	Reveal(ctx context.Context, m trust.Matter, p sortition.Proof, says []trust.Say, salt [32]byte) error
}

// ErrAway is for a chain that cannot be asked just now.
var ErrAway = errors.New("the chain cannot be asked")

// ErrRefused is for what the chain or a requester will not take, whenever it is sent: the round is over, say.
var ErrRefused = errors.New("refused")

// ErrFull is for a panel that has its jurors: whose place is lost makes room for another, so it is asked again later.
var ErrFull = errors.New("the panel has its jurors")

// Vote is a juror's commitment, with all that shows its right to make it.
type Vote struct {
	Juror      [32]byte
	Proof      sortition.Proof
	Commitment [32]byte
	Work       uint64 // of all that it ran for a panel; 0 in a dispute
	Signature  []byte
}

// Deps are what a juror works with.
type Deps struct {
	Keys     Keys
	Chain    Chain
	Dial     func(ctx context.Context, lease [32]byte) (Requester, error) // the requester of a lease that the chain knows
	Examiner *Examiner
}

// JurorConfig says how often a juror looks at the chain, how long it waits for a requester, and with it for the other jurors of a panel, and after how long it asks again for a place in a
// panel that was full; it waits twice as long each time, up to mostAgain.
type JurorConfig struct{ Every, Patience, Again time.Duration }

// DefaultJuror returns the configuration of a node: every two seconds, ten minutes, and a quarter of one.
func DefaultJuror() JurorConfig {
	return JurorConfig{Every: 2 * time.Second, Patience: 10 * time.Minute, Again: 15 * time.Second}
}

// mostAgain is how seldom a juror asks for a place at most: an audit of the public chain is open for a day.
const mostAgain = 5 * time.Minute

// Juror comes to matters that it was drawn for. It keeps nothing on disk: whoever starts it again finds the same, and reveals what it committed itself to before.
type Juror struct {
	log  *slog.Logger
	deps Deps
	cfg  JurorConfig

	mu    sync.Mutex
	over  map[trust.Matter]rest // that it has done, or cannot do
	found map[trust.Matter]verdict
}

// rest is how long a matter is left alone.
type rest struct {
	until time.Time     // the zero time: for good
	after time.Duration // how long it was, if it is not for good
}

// verdict is what a juror has to say in a matter.
type verdict struct {
	says  []trust.Say
	voice trust.Voice
	salt  [32]byte
	work  uint64
}

// NewJuror makes a juror.
func NewJuror(log *slog.Logger, d Deps, cfg JurorConfig) *Juror {
	return &Juror{log: log, deps: d, cfg: cfg, over: map[trust.Matter]rest{}, found: map[trust.Matter]verdict{}}
}

// Serve looks until ctx ends. What is revealed does not wait for what is examined, nor a dispute, which has a time, for an audit.
func (j *Juror) Serve(ctx context.Context) error {
	var all sync.WaitGroup
	for _, look := range []func(context.Context) error{j.Reveals, j.Rounds, j.Panels} {
		all.Go(func() { j.repeat(ctx, look) })
	}
	all.Wait()
	return nil
}

func (j *Juror) repeat(ctx context.Context, look func(context.Context) error) {
	tick := time.NewTicker(j.cfg.Every)
	defer tick.Stop()
	for {
		switch err := look(ctx); {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, ErrAway): // the room of the chain tells of that
			j.log.Debug("Audits cannot be looked at", "err", err)
		default:
			j.log.Warn("Audits cannot be looked at", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Reveals tells the chain what this node committed itself to, in all disputes that have come so far. Who does not is fined.
func (j *Juror) Reveals(ctx context.Context) error {
	disputes, err := j.deps.Chain.Disputes(ctx)
	if err != nil {
		return fmt.Errorf("disputes: %w", err)
	}
	for _, d := range disputes {
		if d.Phase == Revealing && d.Committed && !d.Revealed {
			j.attempt(ctx, d.Matter, func() error { return j.reveal(ctx, d) })
		}
	}
	return nil
}

// Rounds examines what disputes are about that this node is drawn for, and commits it to what it found.
func (j *Juror) Rounds(ctx context.Context) error {
	disputes, err := j.deps.Chain.Disputes(ctx)
	if err != nil {
		return fmt.Errorf("disputes: %w", err)
	}
	open := map[trust.Matter]bool{}
	for _, d := range disputes {
		open[d.Matter] = true
	}
	j.forget(func(m trust.Matter) bool { return m.Round > 0 && !open[m] })
	if len(disputes) == 0 {
		return nil
	}
	s, err := j.deps.Chain.Standing(ctx)
	if err != nil {
		return fmt.Errorf("disputes: %w", err)
	}
	for _, d := range disputes {
		if d.Phase == Committing && !d.Committed && d.Budget > 0 && j.drawn(d.Call, s) {
			j.attempt(ctx, d.Matter, func() error { return j.commit(ctx, d) })
		}
	}
	return nil
}

// Panels examines the draws of panels that this node is drawn for, and tells their requesters.
func (j *Juror) Panels(ctx context.Context) error {
	audits, err := j.deps.Chain.Audits(ctx)
	if err != nil {
		return fmt.Errorf("audits: %w", err)
	}
	open := map[trust.Matter]bool{}
	for _, a := range audits {
		for _, c := range a.Open() {
			open[c.Matter] = true
		}
	}
	j.forget(func(m trust.Matter) bool { return m.Round == 0 && !open[m] })
	if len(audits) == 0 {
		return nil
	}
	s, err := j.deps.Chain.Standing(ctx)
	if err != nil {
		return fmt.Errorf("audits: %w", err)
	}
	for _, a := range audits {
		for _, c := range a.Open() {
			if a.Budget > 0 && j.drawn(c, s) {
				j.attempt(ctx, c.Matter, func() error { return j.sit(ctx, a, c.Matter) })
			}
		}
	}
	return nil
}

// forget drops what is remembered of matters that are closed.
func (j *Juror) forget(closed func(trust.Matter) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	maps.DeleteFunc(j.over, func(m trust.Matter, _ rest) bool { return closed(m) })
	maps.DeleteFunc(j.found, func(m trust.Matter, _ verdict) bool { return closed(m) })
}

// drawn tells whether this node may come.
func (j *Juror) drawn(c Call, s Standing) bool {
	_, beta, err := j.prove(c.Matter)
	if err != nil {
		j.log.Error("The node's key does not draw", "err", err)
	}
	return err == nil && c.Admits(s, beta)
}

func (j *Juror) prove(m trust.Matter) (p sortition.Proof, beta sortition.Beta, err error) {
	if p, err = j.deps.Keys.Prove(m.Alpha()); err == nil {
		beta, err = p.Beta()
	}
	return p, beta, err
}

// attempt does something in a matter that is not over. What could not be done for want of a link is tried again at the next look; what has no answer here, or
// is refused for good, is not.
func (j *Juror) attempt(ctx context.Context, m trust.Matter, do func() error) {
	j.mu.Lock()
	last, over := j.over[m]
	j.mu.Unlock()
	if over && (last.until.IsZero() || time.Now().Before(last.until)) || ctx.Err() != nil {
		return
	}
	err := do()
	if err == nil || ctx.Err() != nil {
		return
	}
	log := j.log.With("provider", fmt.Sprintf("%x", m.Node[:4]), "redemption", m.Sequence, "place", m.Place, "round", m.Round, "err", err)
	switch {
	case errors.Is(err, ErrFull):
		log.Debug("A result is judged by others")
		last.after = min(max(j.cfg.Again, 2*last.after), mostAgain)
		last.until = time.Now().Add(last.after)
	case errors.Is(err, ErrNoAnswer), errors.Is(err, ErrRefused):
		log.Warn("A result is not judged")
		last = rest{}
	default:
		log.Debug("A result is not judged yet")
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.over[m] = last
}

// sit is a juror's part in a panel of an audit.
func (j *Juror) sit(ctx context.Context, a Audit, m trust.Matter) error {
	v, err := j.recall(m, func() (verdict, error) { return j.look(ctx, a, m) })
	if err != nil {
		return err
	}
	vote, err := j.vote(m, v, v.work)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, j.cfg.Patience)
	defer cancel()
	r, err := j.deps.Dial(ctx, a.Lease)
	if err != nil {
		return fmt.Errorf("requester: %w", err)
	}
	if err := r.Commit(ctx, m, vote); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := r.Reveal(ctx, m, vote.Proof, v.says, v.salt); err != nil {
		return fmt.Errorf("reveal: %w", err)
	}
	return nil // until the panel is attested, it is told again at each look: the requester may have lost it
}

// look examines the draws of a panel.
func (j *Juror) look(ctx context.Context, a Audit, m trust.Matter) (v verdict, err error) {
	first, n := a.Drawn(m.Place)
	from, beta, statements, err := j.ask(ctx, a.Lease, m, n)
	if err != nil {
		return v, err
	}
	session := j.deps.Examiner.Within(a.Budget).Session(from)
	defer session.Close()
	for i := 0; i < len(statements); {
		same := sameAs(statements[i:]) // draws that fall on one result: it is run, paid for, and judged once
		if v.work >= a.Budget {
			return v, noAnswer("draw %d: %d instructions are all that is paid for", first+uint64(i), a.Budget)
		}
		f, err := session.Examine(ctx, statements[i], []Rule{By(beta[:], statements[i])})
		if err != nil {
			return v, fmt.Errorf("draw %d: %w", first+uint64(i), err)
		}
		if v.work += uint64(f.Result.Usage.Work); v.work > a.Budget {
			return v, noAnswer("draw %d: with those before it takes more than %d instructions, which is what is paid for", first+uint64(i), a.Budget)
		}
		v.says = append(v.says, slices.Repeat([]trust.Say{{Answer: f.Answer, State: f.States[0]}}, same)...)
		i += same
	}
	v.voice = trust.Sum(v.says)
	v.salt, err = j.salt(m)
	return v, err
}

// sameAs is how many statements from the first on are the same.
func sameAs(all []lease.Statement) int {
	n, sum := 1, all[0].Digest()
	for n < len(all) && all[n].Digest() == sum {
		n++
	}
	return n
}

// commit binds this node to its answer in a dispute. How much is paid for it, the chain knows.
func (j *Juror) commit(ctx context.Context, d Dispute) error {
	v, err := j.recall(d.Matter, func() (verdict, error) { return j.judge(ctx, d) })
	if err != nil {
		return err
	}
	vote, err := j.vote(d.Matter, v, 0)
	if err != nil {
		return err
	}
	return j.deps.Chain.Commit(ctx, d, vote)
}

func (j *Juror) reveal(ctx context.Context, d Dispute) error {
	v, err := j.recall(d.Matter, func() (verdict, error) { return j.judge(ctx, d) })
	if err != nil {
		return err
	}
	return j.deps.Chain.Reveal(ctx, d, v.voice, v.salt)
}

// judge examines what a dispute is about.
func (j *Juror) judge(ctx context.Context, d Dispute) (v verdict, err error) {
	from, beta, statements, err := j.ask(ctx, d.Lease, d.Matter, 1)
	if err != nil {
		return v, err
	}
	if statements[0].Digest() != d.Statement {
		return v, fmt.Errorf("dispute %d: the requester tells of another statement than the one that was paid for", d.ID)
	}
	f, err := j.deps.Examiner.Within(d.Budget).Examine(ctx, statements[0], d.rules(By(beta[:], statements[0])), from)
	if err != nil {
		return v, fmt.Errorf("dispute %d: %w", d.ID, err)
	}
	v.voice = trust.Voice{Result: d.answer(f), State: f.States[0]}
	v.salt, err = j.salt(d.Matter)
	return v, err
}

// recall gives what was found in a matter before, or finds it.
func (j *Juror) recall(m trust.Matter, find func() (verdict, error)) (verdict, error) {
	j.mu.Lock()
	v, known := j.found[m]
	j.mu.Unlock()
	if known {
		return v, nil
	}
	v, err := find()
	if err == nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.found[m] = v
	}
	return v, err
}

// ask gets the statements of n draws from the requester of a lease, which has their contents.
func (j *Juror) ask(ctx context.Context, of [32]byte, m trust.Matter, n uint64) (from peer.ID, beta sortition.Beta, all []lease.Statement, err error) {
	ctx, cancel := context.WithTimeout(ctx, j.cfg.Patience)
	defer cancel()
	proof, beta, err := j.prove(m)
	if err != nil {
		return "", beta, nil, err
	}
	r, err := j.deps.Dial(ctx, of)
	if err != nil {
		return "", beta, nil, fmt.Errorf("requester: %w", err)
	}
	all, err = r.Statements(ctx, m, proof)
	if err == nil && uint64(len(all)) != n {
		err = fmt.Errorf("%d came for %d draws", len(all), n)
	}
	if err != nil {
		return "", beta, nil, fmt.Errorf("statements: %w", err)
	}
	return r.Peer(), beta, all, nil
}

const saltPrefix = "hpips/salt-of-juror/v1\x00"

// salt hides what a commitment binds. It is the same each time: the output of the verifiable random function for what nobody is shown a proof of.
func (j *Juror) salt(m trust.Matter) ([32]byte, error) {
	p, err := j.deps.Keys.Prove(append([]byte(saltPrefix), m.Alpha()...))
	if err != nil {
		return [32]byte{}, err
	}
	beta, err := p.Beta()
	return sha256.Sum256(beta[:]), err
}

// vote is the commitment to a verdict.
func (j *Juror) vote(m trust.Matter, v verdict, work uint64) (Vote, error) {
	proof, _, err := j.prove(m)
	if err != nil {
		return Vote{}, err
	}
	vote := Vote{Juror: j.deps.Keys.Node(), Proof: proof, Work: work}
	vote.Commitment = trust.Commitment(v.voice, vote.Juror, v.salt)
	vote.Signature, err = j.deps.Keys.Sign(m, vote.Commitment, work)
	return vote, err
}
