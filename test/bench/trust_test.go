package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// mixed are the liars that do not wait.
var mixed = []habit{always, sometimes, whereDear}

// What is required of 50 providers with 20 % liars that collude. Where liars leave after a conviction, the number of wrong results does not grow with the run, so
// the limit is that of the full run, 1e-4 of a million, whatever the counts.
const (
	fifth    = 10
	keptMost = 100
	lateMost = 0.15
)

// years are runs of one world with several seeds.
type years []tally

// heading names what lived tells.
func heading(t *testing.T) {
	t.Helper()
	const names = "| World | Wrong, paid for | Never refunded | The worst seed's | Audits, whole run | Last half | Last half, by work | Convictions of liars | Honest providers slashed | Honest jurors fined | A liar's income |"
	fmt.Fprintf(t.Output(), "%s\n%s|\n", names, strings.Repeat("|---", strings.Count(names, "|")-1))
}

// lived runs a world with seeds 1, 2, … and tells it as one row of docs/trust.md: parts are of all tasks, audits are executions, numbers are means of a run's.
func lived(t *testing.T, name string, w world) (all years) {
	t.Helper()
	w.tasks = either(100_000, 1_000_000)
	for seed := range either(2, 5) {
		w.seed = uint64(seed + 1)
		all = append(all, live(t, w))
	}
	most := 0.0
	for _, y := range all {
		most = max(most, part(y.kept, y.tasks))
	}
	fmt.Fprintf(t.Output(), "| %s | %.1e | %.1e | %.1e | %.2f %% | %.2f %% | %.2f %% | %s | %s | %s | %s |\n", name,
		all.mean(func(y tally) float64 { return part(y.accepted, y.tasks) }), all.mean(func(y tally) float64 { return part(y.kept, y.tasks) }), most,
		100*all.mean(func(y tally) float64 { return part(y.runs, y.tasks) }), 100*all.mean(tally.lately),
		100*all.mean(func(y tally) float64 { return float64(y.lateJuryWork) / float64(y.lateWork) }),
		short(all.mean(func(y tally) float64 { return float64(y.convicted) })), short(all.mean(func(y tally) float64 { return float64(y.slashed) })),
		short(all.mean(func(y tally) float64 { return float64(y.jurorsHurt) })), all.liars())
	return all
}

func part(n, of int) float64 { return float64(n) / float64(of) }

func short(v float64) string { return fmt.Sprintf("%.4g", v) }

// lately is how many executions for audits there were for each task of the run's last half.
func (y tally) lately() float64 { return part(y.lateRuns, y.late) }

func (all years) mean(of func(tally) float64) (sum float64) {
	for _, y := range all {
		sum += of(y) / float64(len(all))
	}
	return sum
}

// shares are the incomes of all liars of all runs, by what an honest provider has.
func (all years) shares() (shares []float64) {
	for _, y := range all {
		shares = append(shares, y.shares...)
	}
	return shares
}

func (all years) liars() string {
	shares := all.shares()
	if len(shares) == 0 {
		return "–"
	}
	sum := 0.0
	for _, s := range shares {
		sum += s
	}
	return fmt.Sprintf("%.2f … %.2f, mean %.2f", slices.Min(shares), slices.Max(shares), sum/float64(len(shares)))
}

// poorer demands that every liar has less than if it had worked.
func (all years) poorer(t *testing.T) {
	t.Helper()
	if most := slices.Max(all.shares()); most >= 1 {
		t.Errorf("a liar has %.2f of what honest work gives", most)
	}
}

// sound demands what holds wherever liars protect each other and accuse nobody: audits are cheap in the end, and no honest provider is slashed.
func (all years) sound(t *testing.T) {
	t.Helper()
	for i, y := range all {
		if y.slashed > 0 {
			t.Errorf("seed %d: %d honest providers were slashed", i+1, y.slashed)
		}
		if got := y.lately(); got > lateMost {
			t.Errorf("seed %d: %.3f executions a task for audits in the last half, more than %.2f", i+1, got, lateMost)
		}
	}
}

// Mallory has ten of fifty providers, who lie always, now and then, or where it is dear, and who cover each other in every jury. Nobody asks one again that was
// convicted.
func TestTrust(t *testing.T) {
	heading(t)
	all := lived(t, "three kinds", world{liars: fifth, habits: mixed})
	all.sound(t)
	all.poorer(t)
	for i, y := range all {
		if y.kept > keptMost {
			t.Errorf("seed %d: %d wrong results were accepted and never refunded, more than %d", i+1, y.kept, keptMost)
		}
		if y.convicted != fifth || y.jurorsHurt > 0 {
			t.Errorf("seed %d: %d of %d liars were convicted, %d honest jurors fined", i+1, y.convicted, fifth, y.jurorsHurt)
		}
	}
}

// The same ten without audits: nothing else keeps wrong results out, and lying pays.
func TestTrustWithoutAudits(t *testing.T) {
	heading(t)
	all := lived(t, "three kinds, no audits", world{liars: fifth, habits: mixed, off: true})
	for i, y := range all {
		if got := part(y.kept, y.tasks); got < 0.05 {
			t.Errorf("seed %d: only %.1e wrong results without audits: the other runs prove nothing", i+1, got)
		}
		if least := slices.Min(y.shares); least <= 1 {
			t.Errorf("seed %d: without audits a liar has only %.2f of what honest work gives", i+1, least)
		}
	}
}

// Besides five liars, five of the honest providers copy as jurors what the provider said, so that a fifth of all voices are for a liar, and five others make everything up. The first are
// found by canaries, in 2 % of panels, the others by whoever sits beside them; all of them, and nobody else is fined.
func TestTrustJurors(t *testing.T) {
	heading(t)
	all := lived(t, "a tenth of three kinds; copycats and lazy jurors", world{liars: fifth / 2, habits: mixed, copycats: 5, lazy: 5})
	all.sound(t)
	for i, y := range all {
		missed := 0 // in a tenth of the run, a copycat may be in no panel on which the lot falls
		for _, n := range y.foundCopying {
			if n == 0 {
				missed++
			}
		}
		if missed > either(1, 0) || slices.Min(y.foundLazy) == 0 || y.jurorsHurt > 0 || y.convicted != fifth/2 {
			t.Errorf("seed %d: copycats were found %v times, lazy jurors %v; %d honest jurors were fined, %d liars convicted", i+1, y.foundCopying, y.foundLazy, y.jurorsHurt, y.convicted)
		}
		t.Logf("seed %d: copycats were found %v times, lazy jurors %v", i+1, y.foundCopying, y.foundLazy)
	}
}

// Each kind by itself. Those who begin to lie late, or lie seldom, get more than the required figure past the jury: their limits are what docs/trust.md tells,
// with room for luck. No honest provider pays for any of it, and no liar is richer for it.
func TestTrustByHabit(t *testing.T) {
	heading(t)
	for _, kind := range []struct {
		habit
		most int // wrong results that are never refunded, in one run where liars leave
	}{{always, keptMost}, {sometimes, keptMost}, {whereDear, keptMost}, {seldom, 500}, {strategic, 300}, {sly, 2000}} {
		for _, back := range []bool{false, true} {
			name := kind.name + map[bool]string{false: "; leave", true: "; return"}[back]
			all := lived(t, name, world{liars: fifth, habits: []habit{kind.habit}, returns: back})
			for i, y := range all {
				if y.slashed > 0 || y.convicted == 0 {
					t.Errorf("%s: seed %d: %d honest providers were slashed, %d liars convicted", name, i+1, y.slashed, y.convicted)
				}
				if !back && y.kept > kind.most {
					t.Errorf("%s: seed %d: %d wrong results were accepted and never refunded, more than %d", name, i+1, y.kept, kind.most)
				}
			}
			if *full || kind.name != seldom.name { // who lies once in a hundred may be lucky for some thousand tasks
				all.poorer(t)
			}
		}
	}
	for _, h := range []habit{strategic, sly} {
		lived(t, h.name+"; leave; recent results cost a fine each", world{liars: fifth, habits: []habit{h}, fined: true}).poorer(t)
	}
}

// A fifth of all jurors accuse every honest provider that they are drawn for. The later rounds hold most of it, not all.
func TestTrustFramed(t *testing.T) {
	heading(t)
	all := lived(t, "three kinds, who also accuse", world{liars: fifth, habits: mixed, frame: true})
	framed, slashed := 0, 0
	for _, y := range all {
		framed, slashed = framed+y.framed, slashed+y.slashed
	}
	figure(t, "trust-accusations", part(framed, len(all)), "a run")
	figure(t, "trust-framed", 100*part(slashed, framed), "% of accusations convict an honest provider")
	if got := part(slashed, framed); framed == 0 || got > 0.03 {
		t.Errorf("%d of %d accusations convicted an honest provider, more than 3 %%", slashed, framed)
	}
	all.poorer(t)
}

// The curve of docs/trust.md: from nobody who lies to four in ten. The rules are made for a fifth.
func TestTrustCurve(t *testing.T) {
	heading(t)
	for _, back := range []bool{false, true} {
		for liars := 0; liars <= 20; liars += 5 {
			name := fmt.Sprintf("%d %%; %s", 100*liars/crowd, map[bool]string{false: "leave", true: "return"}[back])
			all := lived(t, name, world{liars: liars, habits: mixed, returns: back})
			if liars <= fifth && !back {
				all.sound(t)
			}
			if liars > 0 && liars <= fifth {
				all.poorer(t)
			}
		}
	}
}
