package chaos

import (
	"testing"
	"time"
)

// tally counts what was done to a town and what came of it.
type tally struct{ faults, jobs, lost, rerun, executions int }

func (n *tally) add(t *testing.T, w *town, id string) {
	t.Helper()
	st := w.finish(id)
	n.jobs++
	n.lost, n.rerun, n.executions = n.lost+st.Tasks.Lost, n.rerun+st.Tasks.Rerun, n.executions+st.Executions
}

func (n *tally) tell(t *testing.T, what string, began time.Time) {
	t.Helper()
	t.Logf("seed %d: %d %s over %d jobs of %d tasks: every result as undisturbed; %d executions, %d lost, %d run again, %.0f s",
		*seed, n.faults, what, n.jobs, tasks(), n.executions, n.lost, n.rerun, time.Since(began).Seconds())
}

// Alice's PC loses its power at any moment of her job, again and again; each time she starts it, the job goes on, to the same result.
func TestSoakRequesterIsKilled(t *testing.T) {
	w := newTown(t, "bob", "carol")
	var n tally
	began, kills := time.Now(), counted(8, 100)
	for n.faults < kills {
		id := w.submit()
		for n.faults < kills {
			w.pause(1500 * time.Millisecond)
			if st, ok := w.status(id); ok && st.State.Final() {
				break
			}
			w.alice.Kill(t)
			n.faults++
			w.alice.Up(t)
		}
		n.add(t, w, id)
	}
	n.tell(t, "kills of the requester", began)
}

// Providers lose their power while they hold tasks; their tasks go to others, or to themselves when they are back.
func TestSoakProvidersAreKilled(t *testing.T) {
	w := newTown(t, "bob", "carol", "dave")
	var n tally
	began, kills := time.Now(), counted(6, 100)
	for n.faults < kills {
		id := w.submit()
		for n.faults < kills && w.under(id) {
			p := w.folk[w.rng.IntN(len(w.folk))]
			w.pause(400 * time.Millisecond)
			p.Kill(t)
			n.faults++
			p.Alone(t)
			w.pause(400 * time.Millisecond)
			p.Up(t)
			w.pause(time.Second)
		}
		n.add(t, w, id)
	}
	n.tell(t, "kills of providers", began)
}

// Everybody may lose power, one after the other. Alice keeps her address: of two who both come back elsewhere before they have met again,
// and whom no third one knows, none can find the other.
func TestSoakAnyoneIsKilled(t *testing.T) {
	w := newTown(t, "bob", "carol")
	w.alice.Stay(t)
	var n tally
	all := append([]int{-1}, 0, 1)
	began, kills := time.Now(), counted(4, 60)
	for n.faults < kills {
		id := w.submit()
		for n.faults < kills {
			w.pause(time.Second)
			if st, ok := w.status(id); ok && st.State.Final() {
				break
			}
			p := w.alice
			if k := all[w.rng.IntN(len(all))]; k >= 0 {
				p = w.folk[k]
			}
			p.Kill(t)
			n.faults++
			w.pause(300 * time.Millisecond)
			p.Up(t)
		}
		n.add(t, w, id)
	}
	n.tell(t, "kills of anyone", began)
}

// A PC sleeps for longer than the others' patience, and wakes up in the middle of things: a provider, whose late results do no harm, or
// alice's own, whose results wait for her.
func TestSoakAPCFreezes(t *testing.T) {
	w := newTown(t, "bob", "carol")
	var n tally
	began, freezes := time.Now(), counted(2, 12)
	for n.faults < freezes {
		id := w.submit()
		if w.under(id) {
			p := w.alice
			if n.faults%2 == 0 {
				p = w.folk[w.rng.IntN(len(w.folk))]
			}
			p.Freeze(t)
			n.faults++
			<-time.After(patience + time.Duration(w.rng.IntN(4000))*time.Millisecond)
			p.Thaw(t)
		}
		n.add(t, w, id)
	}
	n.tell(t, "freezes of PCs", began)
}

// patience is longer than the requester's with a provider that says nothing.
const patience = 7 * time.Second

// A provider is restarted, gently, and comes back on another port; what it had to do it still does.
func TestSoakAProviderMoves(t *testing.T) {
	w := newTown(t, "bob", "carol")
	var n tally
	began, moves := time.Now(), counted(3, 30)
	for n.faults < moves {
		id := w.submit()
		for n.faults < moves && w.under(id) {
			p := w.folk[w.rng.IntN(len(w.folk))]
			before := p.Address(t)
			if code := p.Stop(t); code != 0 {
				t.Fatalf("%s ended with code %d\n%s", p.Name, code, p.Log(10))
			}
			p.Up(t)
			n.faults++
			if p.Address(t) == before {
				t.Fatalf("%s is at %s as before", p.Name, before)
			}
			w.pause(time.Second)
		}
		n.add(t, w, id)
	}
	n.tell(t, "moves of providers", began)
}
