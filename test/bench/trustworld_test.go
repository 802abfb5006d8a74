package bench

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hpips/hpips/spec/trust"
)

// The economy of trust, with the rules of spec/trust and without a network: providers redeem batches of results, jurors look at what is drawn, and whoever is
// convicted pays. Money is in millionths of an HPIPS, and everything follows from the seed.

const (
	crowd       = 50         // providers, each of whom is a juror of the others
	dayTasks    = 200        // of one provider
	leastBond   = 10_000_000 // 10 HPIPS
	recentKept  = 200        // results that a conviction opens, in whole redemptions (chain/audit's parameter)
	workUnit    = 1_000_000  // instructions of the smallest tasks; the largest have 64 times as many
	dearWork    = 12 * workUnit
	costPercent = 92 // what honest work costs of its pay
	patience    = 1000
	canaries    = 20                    // of a thousand panels, the payer runs a draw again itself (requester.Default)
	barred      = 14 * crowd * dayTasks // for so many tasks a juror that was wrong is none
)

// habit is when a liar lies: after so many good results, where the task is one of those, and then with a chance.
type habit struct {
	name    string
	patient int
	percent int
	where   func(work uint64) bool
}

var (
	anywhere  = func(uint64) bool { return true }
	cheap     = func(work uint64) bool { return work < dearWork }
	dear      = func(work uint64) bool { return work >= dearWork }
	always    = habit{"always", 0, 100, anywhere}
	sometimes = habit{"one in ten", 0, 10, anywhere}
	seldom    = habit{"one in a hundred", 0, 1, anywhere}
	whereDear = habit{"where it is dear", 0, 100, dear}
	strategic = habit{"after 1,000 good ones", patience, 100, anywhere}
	sly       = habit{"after 1,000, where it is cheap", patience, 100, cheap}
)

// world is what one run is about.
type world struct {
	tasks    int
	liars    int // of the crowd
	habits   []habit
	returns  bool // a convicted liar comes back under a new name, else nobody asks it again
	frame    bool // liars in a jury accuse honest providers, too
	off      bool // no audits
	copycats int  // of the honest providers, the last ones: as jurors they say what the provider did, with a state that they made up
	lazy     int  // of those before: as jurors they make everything up
	fined    bool // for a recent result the bond pays a fine, and not its price and its jurors as chain/audit takes
	seed     uint64
}

type redemption struct {
	leaves []trust.Leaf
	lies   []bool // by leaf
	amount uint64
	span   trust.Span
}

type provider struct {
	lies           bool
	habit          habit
	gone           bool
	since          int // the first task of its name
	results        int // under its name
	work           uint64
	pay, bond      uint64 // final pay under its name, and what is held of it
	recent         []*redemption
	income, honest int64 // of all its names; what its tasks would have left it by work

	copies, idles bool // as a juror
	caught, until int  // how often that was found; the task from which on it may be one again
}

// tally is what came of a run.
type tally struct {
	tasks, accepted, kept                  int // results; wrong ones whose pay became final; of those, what was never refunded
	runs, lateRuns, late                   int // executions for audits, those of the run's last half, and its tasks
	lateWork, lateJuryWork                 uint64
	convicted, framed, slashed, jurorsHurt int       // liars' convictions; accusations of honest providers; honest providers convicted; honest jurors fined
	shares                                 []float64 // of each liar: its income by what an honest provider has
	foundCopying, foundLazy                []int     // how often each juror of a kind was
}

type economy struct {
	world
	rules trust.Rules
	luck  *rand.Rand
	all   []*provider
	tally
}

// live runs a world to its end.
func live(t *testing.T, w world) tally {
	t.Helper()
	s := &economy{world: w, rules: trust.Default(), luck: rand.New(rand.NewPCG(w.seed, uint64(w.liars)))}
	for i := range crowd {
		p := &provider{lies: i < w.liars}
		if p.lies {
			p.habit = w.habits[i%len(w.habits)]
		}
		s.all = append(s.all, p)
	}
	for i := range w.copycats {
		s.all[crowd-1-i].copies = true
	}
	for i := range w.lazy {
		s.all[crowd-1-w.copycats-i].idles = true
	}
	for s.tally.tasks < w.tasks {
		if p := s.all[s.luck.IntN(crowd)]; !p.gone {
			s.redeem(t, p)
		}
	}
	mean := 0.0
	for _, p := range s.all[w.liars:] {
		mean += float64(p.honest) / float64(crowd-w.liars)
	}
	for _, p := range s.all[:w.liars] {
		s.shares = append(s.shares, float64(p.income)/mean)
	}
	for _, p := range s.all {
		if p.copies {
			s.foundCopying = append(s.foundCopying, p.caught)
		}
		if p.idles {
			s.foundLazy = append(s.foundLazy, p.caught)
		}
	}
	return s.tally
}

// redeem is one redemption with its audit.
//
//  1. The provider does a batch of tasks of random work, some of them by its habit.
//  2. The rate and what is drawn follow from the mean price, the bond, and a seed that nobody knew.
//  3. Panels look; of each draw that differs there is a dispute.
//  4. Convicted, the redemption is not paid, and the recent ones are opened. Else the pay is final, and a quarter of it held.
func (s *economy) redeem(t *testing.T, p *provider) {
	r := s.batch(p) // 1
	late := s.tally.tasks >= s.world.tasks/2
	before, n := s.runs, len(r.leaves)
	s.tally.tasks += n
	work, guilty := uint64(0), uint64(0)
	if !s.off {
		work, guilty = s.audit(t, p, r) // 2, 3
	}
	if guilty > 0 { // 4
		s.convict(t, p, guilty)
	} else {
		s.settle(p, r)
	}
	if late {
		s.late, s.lateRuns = s.late+n, s.lateRuns+s.runs-before
		s.lateWork, s.lateJuryWork = s.lateWork+r.span.Work, s.lateJuryWork+work
	}
}

func (s *economy) batch(p *provider) *redemption {
	n := 20 + s.luck.IntN(40)
	r := &redemption{span: trust.Span{TasksBefore: uint64(p.results), Tasks: uint64(n), WorkBefore: p.work}, lies: make([]bool, n)}
	for i := range n {
		l := trust.Leaf{Work: workUnit<<s.luck.IntN(7) + s.luck.Uint64N(workUnit/2), Before: p.work}
		if p.lies && p.results >= p.habit.patient && p.habit.where(l.Work) && s.luck.IntN(100) < p.habit.percent {
			r.lies[i], l.Result = true, trust.Digest{1}
		} else {
			p.income -= int64(l.Work/1000) * costPercent / 100
		}
		p.honest += int64(l.Work/1000) * (100 - costPercent) / 100
		p.work += l.Work
		p.results++
		r.leaves = append(r.leaves, l)
	}
	r.span.Work = p.work - r.span.WorkBefore
	r.amount = r.span.Work / 1000
	return r
}

// audit looks at what is drawn. It returns the work that this took, and the price of the result that the provider is convicted of, if it is.
func (s *economy) audit(t *testing.T, p *provider, r *redemption) (work, guilty uint64) {
	rate, jurors := s.rules.Rate(r.amount/r.span.Tasks, p.bond)
	draw := trust.NewDraw(s.hash(), s.hash(), r.span, rate)
	var panel []*provider
	for i := range draw.Len() {
		if i%trust.PanelSize == 0 {
			panel = s.jury(jurors, p)
			s.canary(p, panel, r, draw, i)
		}
		place := r.place(draw, i)
		leaf := r.leaves[place]
		voices := s.voices(p, panel, leaf)
		s.runs += jurors
		work += uint64(jurors) * leaf.Work
		v, err := trust.Judge(leaf.Answer(), voices)
		must(t, err)
		if v.Outcome == trust.Agreed || guilty > 0 {
			continue
		}
		outcome, rerun := s.dispute(t, p, leaf, r.price(place), panel, voices)
		work += uint64(rerun) * leaf.Work
		switch outcome {
		case wrongAnswer:
			guilty = r.price(place)
		case noVerdict:
			return work, 0 // no jury can tell anything about such a program
		}
	}
	return work, guilty
}

// place finds the leaf that a draw falls on.
func (r *redemption) place(d trust.Draw, i uint64) int {
	for place, l := range r.leaves {
		if d.Hits(i, r.span.TasksBefore+uint64(place), l) {
			return place
		}
	}
	panic("a draw falls on no leaf of its span")
}

func (r *redemption) price(place int) uint64 {
	return max(1, r.leaves[place].Price(r.amount, r.span.Work))
}

func (s *economy) hash() (h [32]byte) {
	for i := range h {
		h[i] = byte(s.luck.Uint32())
	}
	return h
}

// jury draws so many of the crowd, each with the same chance, without those who had a part in the matter.
func (s *economy) jury(n int, without ...*provider) (panel []*provider) {
	for len(panel) < n {
		if j := s.all[s.luck.IntN(crowd)]; s.tally.tasks >= j.until && !slices.Contains(without, j) && !slices.Contains(panel, j) {
			panel = append(panel, j)
		}
	}
	return panel
}

// voices are what a panel says about a result: honest jurors the truth, liars what their fellow said; and where they frame, one lie about an honest provider.
func (s *economy) voices(p *provider, panel []*provider, l trust.Leaf) (says []trust.Digest) {
	truth := trust.Answer(trust.Digest{}, l.Work)
	for _, j := range panel {
		switch {
		case j.lies && p.lies:
			says = append(says, l.Answer())
		case j.copies:
			says = append(says, l.Answer())
		case j.idles:
			says = append(says, trust.Answer(s.hash(), l.Work))
		case j.lies && s.frame:
			says = append(says, trust.Answer(trust.Digest{2}, l.Work))
		default:
			says = append(says, truth)
		}
	}
	return says
}

type finding int

const (
	rightAnswer finding = iota
	wrongAnswer
	noVerdict
)

// dispute asks three, then seven fresh jurors, and fines those of all rounds who were wrong. first may be empty, as of a recent result.
func (s *economy) dispute(t *testing.T, p *provider, l trust.Leaf, price uint64, first []*provider, said []trust.Digest) (f finding, runs int) {
	if !p.lies {
		s.framed++
	}
	seen, says := slices.Clone(first), slices.Clone(said)
	for round, size := range []int{trust.Second, trust.Third} {
		fresh := s.jury(size, append(slices.Clone(seen), p)...)
		voices := s.voices(p, fresh, l)
		seen, says, runs = append(seen, fresh...), append(says, voices...), runs+size
		s.runs += size
		v, err := trust.JudgeRound(round+1, voices)
		must(t, err)
		if v.Outcome == trust.Undecided {
			return noVerdict, runs
		}
		if v.Outcome != trust.Agreed {
			continue
		}
		for _, i := range trust.Wrong(v.Truth, says) {
			s.fine(seen[i], trust.JurorFine(price, seen[i].bond))
			s.bar(seen[i])
		}
		if v.Truth != l.Answer() {
			return wrongAnswer, runs
		}
		return rightAnswer, runs
	}
	panic("seven jurors left it open") // JudgeRound(2) never escalates
}

// bar keeps a juror that was wrong from juries for a time; liars who cover each other stay, as the worst case.
func (s *economy) bar(j *provider) {
	switch {
	case j.copies || j.idles:
		j.caught, j.until = j.caught+1, s.tally.tasks+barred
	case !j.lies:
		s.jurorsHurt++
	}
}

// canary is what the payer does with the first draw of some panels: it runs it again itself, and accuses jurors that have no state of their own. Fresh jurors find the same.
func (s *economy) canary(p *provider, panel []*provider, r *redemption, d trust.Draw, i uint64) {
	if s.copycats+s.lazy == 0 || s.luck.IntN(1000) >= canaries {
		return
	}
	s.runs++
	for _, j := range panel {
		if j.copies {
			s.runs += trust.Second
			s.fine(j, trust.JurorFine(r.price(r.place(d, i)), j.bond))
			s.bar(j)
		}
	}
}

// convict takes the fine for the first wrong result that was found and opens the recent redemptions, the last first. The one that it was found in is not paid.
func (s *economy) convict(t *testing.T, p *provider, price uint64) {
	s.fine(p, s.rules.Fine(price, p.bond))
	if !p.lies {
		s.slashed++
		return
	}
	s.convicted++
	for _, old := range slices.Backward(p.recent) {
		s.recheck(t, p, old)
	}
	*p = provider{lies: true, habit: p.habit, gone: !s.returns, since: s.tally.tasks, income: p.income, honest: p.honest}
}

// fine takes from a bond what it has of an amount.
func (s *economy) fine(p *provider, amount uint64) {
	amount = min(amount, p.bond)
	p.bond -= amount
	p.income -= int64(amount)
}

// recheck is what the payer of a recent redemption does: it runs all results again, and asks a jury about the wrong ones while there is a bond.
func (s *economy) recheck(t *testing.T, p *provider, r *redemption) {
	for i, l := range r.leaves {
		s.runs++
		price := r.price(i)
		if !r.lies[i] || p.bond < price {
			continue
		}
		found, jurors := s.dispute(t, p, l, price, nil, nil)
		if found != wrongAnswer {
			continue
		}
		if s.fined {
			s.fine(p, s.rules.Fine(price, p.bond))
		} else {
			s.fine(p, price*uint64(1+jurors))
		}
		s.kept--
	}
}

// settle makes a redemption's pay final. A quarter is held until the bond is ten days' mean pay.
func (s *economy) settle(p *provider, r *redemption) {
	p.pay += r.amount
	p.income += int64(r.amount)
	days := uint64(s.tally.tasks-p.since)/(crowd*dayTasks) + 1
	if target := max(leastBond, 10*p.pay/days); p.bond < target {
		p.bond = min(target, p.bond+r.amount/4)
	}
	for _, lie := range r.lies {
		if lie {
			s.accepted++
			s.kept++
		}
	}
	p.recent = append(p.recent, r)
	sum := 0
	for i, old := range slices.Backward(p.recent) {
		if sum >= recentKept {
			p.recent = p.recent[i+1:]
			break
		}
		sum += len(old.leaves)
	}
}
