package ledger

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtbytes "github.com/cometbft/cometbft/libs/bytes"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	ctypes "github.com/cometbft/cometbft/rpc/core/types"
	cmtypes "github.com/cometbft/cometbft/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
)

func TestAnEventfulChainIsRecomputed(t *testing.T) {
	a := eventful(t)
	v := a.right(0, 0)
	if v.From != 1 || v.To != 160 || v.ProvenFrom != 1 || v.ProvenTo != 159 || v.Supply.Base() != "99999999999993" || v.Burned.Base() != "7" || v.Draws < 15 || v.Claims < 20 || v.Changes < 10 || v.Offences != 1 ||
		v.Proofs == 0 || !v.Whole {
		t.Errorf("found %+v", v)
	}
	for _, part := range [][2]int64{{2, 50}, {3, 160}, {9, 10}, {10, 10}, {17, 60}, {41, 64}, {58, 100}, {70, 110}, {72, 160}, {82, 159}, {109, 140}, {159, 159}} {
		v := a.right(part[0], part[1])
		if v.ProvenFrom != max(part[0], 3) || v.ProvenTo != min(part[1], 159) || v.Supply+v.Burned != 100_000_000_000_000 || v.Whole {
			t.Errorf("blocks %d to %d: draws recomputed for %d to %d, supply %s", part[0], part[1], v.ProvenFrom, v.ProvenTo, v.Supply)
		}
	}
	if v := a.right(160, 160); v.ProvenTo != 0 { // nobody has signed yet for what the last block left
		t.Errorf("the last block alone: draws recomputed to %d", v.ProvenTo)
	}
}

// What a node has no state for any more is told, and not passed over.
func TestWhatCannotBeRecomputedIsTold(t *testing.T) {
	a := newAnnals(t)
	a.write(160, nil)
	a.must(a.Prune(40))
	v := a.right(0, 0)
	if v.ProvenFrom != 142 || v.ProvenTo != 159 || v.SeedsFrom != 1 {
		t.Errorf("proven from %d to %d, seeds from %d", v.ProvenFrom, v.ProvenTo, v.SeedsFrom)
	}
}

// A committee, all of it, does something against the rules in one block, and signs what it did.
func TestCarolsCommitteeIsFoundOut(t *testing.T) {
	for _, crime := range []struct {
		what, words string
		does        func(a *annals) // ends with the block that is to be named
		late        bool            // it is found as well by who begins right before
	}{
		{"it mints", "together not", func(a *annals) {
			a.write(30, nil)
			a.write(31, func(store stores) { a.mint(store("bank"), 5) })
		}, true},
		{"it takes from a holder, and says that it was burned", "its blocks burned", func(a *annals) {
			a.write(30, nil)
			a.write(31, func(store stores) {
				a.mint(store("bank"), -5)
				edit(a, store("supply"), []byte{1}, &supplyv1.Totals{}, func(m *supplyv1.Totals) { m.Burned = m.Burned.AddRaw(5) })
			})
		}, true},
		{"it takes a claim above the threshold", "not below the threshold", func(a *annals) {
			for {
				a.opened(40)
				a.write(a.Height()+1, func(store stores) {
					edit(a, store("committee"), []byte{3}, &committeev1.Epoch{}, func(m *committeev1.Epoch) { m.Threshold = bytes.Repeat([]byte{0xff}, 32) })
				})
				for _, name := range a.holds {
					if place, err := a.Ticket(a.people[name]); err == nil && !place.Claimed {
						tx, _, err := a.Draw(a.people[name])
						a.must(err)
						a.must(a.Write(nil, nil, tx))
						return
					}
				}
				a.t.Fatal("everybody won") // the seeds are always the same: another name for the chain gives others
			}
		}, false},
		{"it moves the threshold", "the threshold of epoch", func(a *annals) {
			a.closing(40)
			a.write(a.Height()+1, func(store stores) {
				edit(a, store("committee"), []byte{3}, &committeev1.Epoch{}, func(m *committeev1.Epoch) { m.Threshold[31] ^= 1 })
			}, a.burn("alice", 1))
		}, true},
		{"it seats one that never claimed", "never claimed", func(a *annals) {
			a.opened(40)
			a.write(a.Height()+1, func(store stores) {
				s := store("committee")
				a.replace(s, items(s, 4)[0].key[1:], a.people["hugo"])
			}, a.burn("alice", 1))
			a.write(a.Height()+1, nil, a.burn("alice", 1))
		}, true},
		{"it adds a seat for one that never claimed", "never claimed", func(a *annals) {
			a.opened(40)
			a.write(a.Height()+1, func(store stores) { a.replace(store("committee"), []byte("nobody"), a.people["hugo"]) }, a.burn("alice", 1))
			a.write(a.Height()+1, nil, a.burn("alice", 1))
		}, true},
		{"it seats one that came later in the draw", "by the rules", func(a *annals) {
			a.usurp(func(entered, _ []committeev1.Seat) committeev1.Seat { return entered[0] })
		}, true},
		{"it changes more than a third", "by the rules", func(a *annals) {
			a.usurp(func(_, stayed []committeev1.Seat) committeev1.Seat { return stayed[0] })
		}, true},
		{"it counts the tickets of a network wrong", "3 tickets in its network", func(a *annals) {
			for done := false; !done; {
				a.opened(max(a.Height(), 40))
				a.write(a.Height()+1, func(store stores) {
					s := store("committee")
					if done = len(items(s, 8)) > 0; !done { // nobody won
						return
					}
					for _, i := range items(s, 16) {
						s.Set(i.key, []byte{0, 0, 0, 0, 0, 0, 0, 3})
					}
				})
			}
		}, true},
	} {
		t.Run(crime.what, func(t *testing.T) {
			a := newAnnals(t)
			crime.does(a)
			height := a.Height()
			a.write(height+4, nil)
			a.right(0, height-2) // the state that the block before left may be forged already
			a.wrongAt(a, 0, height, crime.words)
			if crime.late {
				a.wrongAt(a, height-1, height, crime.words)
			}
		})
	}
}

// Who is exempt from the draw against the genesis is found when the draw would have sent it away, and at once by who begins later.
func TestAFalseGuardianIsFoundOut(t *testing.T) {
	honest, a := newAnnals(t), newAnnals(t)
	honest.write(80, nil)
	a.write(40, nil)
	a.write(41, func(store stores) {
		for _, i := range items(store("committee"), 4) {
			edit(a, store("committee"), i.key, &committeev1.Seat{}, func(m *committeev1.Seat) { m.Guardian = true })
		}
	})
	a.write(80, nil)
	for height := int64(41); ; height++ { // where the two chains part
		after := height + 2
		right, err := honest.Validators(t.Context(), &after, nil, nil)
		a.must(err)
		forged, err := a.Validators(t.Context(), &after, nil, nil)
		a.must(err)
		if !slices.EqualFunc(right.Validators, forged.Validators, func(v, w *cmtypes.Validator) bool { return bytes.Equal(v.Address, w.Address) }) {
			a.wrongAt(a, 0, height, "by the rules")
			break
		}
	}
	a.wrongAt(a, 42, 41, "as a guardian, which the genesis does not name")
}

// Guardians are those that the genesis names, seats like all others but for the draw, which passes them over until their height.
func TestGuardiansAreThoseOfTheGenesis(t *testing.T) {
	a := guarded(t)
	a.write(46, nil)
	first := a.guardians()
	if len(first) != 2 {
		t.Fatalf("%d guardians sit in block 46", len(first))
	}
	a.write(120, nil)
	state, err := a.Committee()
	a.must(err)
	left := 0
	for _, node := range first {
		if !slices.ContainsFunc(state.Seats, func(s committeev1.Seat) bool { return bytes.Equal(s.Node, node) && s.SinceEpoch == 0 }) {
			left++
		}
	}
	if len(a.guardians()) != 0 || left == 0 {
		t.Fatalf("%d guardians in block 120, and the draw replaced %d", len(a.guardians()), left)
	}
	a.right(0, 0)
	for _, from := range []int64{30, 47, 60, 100} {
		a.right(from, 0)
	}
}

func TestGuardiansWhoStayOnAreFoundOut(t *testing.T) {
	a := guarded(t)
	ended := int64(0)
	for ended == 0 {
		before := a.guardians()
		a.write(a.Height()+1, nil)
		if after := a.guardians(); a.Height() >= 48 && len(before) == 2 && len(after) == 0 {
			ended = a.Height()
		}
	}
	b := guarded(t) // the same chain, up to the block that ended them
	b.write(ended-1, nil)
	b.write(ended, func(store stores) {
		s := store("committee")
		edit(b, s, []byte{3}, &committeev1.Epoch{}, func(m *committeev1.Epoch) { m.GuardiansEnded = false })
		for _, i := range items(s, 4) {
			edit(b, s, i.key, &committeev1.Seat{}, func(m *committeev1.Seat) { m.Guardian = true })
		}
	})
	b.write(ended+3, nil)
	b.wrongAt(b, 0, ended, "guardians ended: false")
	b.wrongAt(b, ended-1, ended, "guardians ended: false")
}

// As on the public chain: at first nobody is sent away, new tickets go by the day's lot, and guardians, two of three seats, hold the committee to five of seven until there were enough tickets for
// six days running. Then frank, who won a draw and got new keys behind it, has a new ticket by the lot of the very block that turns the committee.
func TestPublicRulesAreRecomputed(t *testing.T) {
	a := newPublicAnnals(t)
	a.busy(11)
	a.holds = slices.DeleteFunc(a.holds, func(n string) bool { return n == "frank" })
	a.busy(15)
	if place, err := a.Ticket(a.people["dan"]); err != nil || place.Ticket != nil {
		t.Fatalf("dan has a ticket before the day's lot: %v", err)
	}
	a.busy(71)
	if sit, guard := len(a.sitting()), len(a.guardians()); sit != 5 || guard != 2 {
		t.Fatalf("%d sit, %d of them guardians, on the last day of these", sit, guard)
	}
	a.busy(72)
	if n := len(a.guardians()); n != 0 {
		t.Fatalf("%d guardians after six days", n)
	}
	for len(a.sitting()) < 6 { // the sixth has to win a draw
		if a.busy(a.Height() + 8); a.Height() > 300 {
			t.Fatalf("%d sit without guardians", len(a.sitting()))
		}
	}
	a.holds = []string{"frank"}
	for claimed := false; !claimed; claimed = a.claimed("frank") {
		a.busy(a.Height() - a.Height()%8 + 9) // the first block of a day closes an epoch, and the next one opens another
		a.busy(a.Height() + 1)
		if a.Height() > 600 {
			t.Fatal("frank won no draw")
		}
	}
	a.write(a.Height()+1, nil, a.renew())
	again, err := a.Apply(a.people["frank"])
	a.must(err)
	a.write(a.Height()+1, nil, again)
	for range 3 {
		a.busy(a.Height() + 1)
	}
	if place, err := a.Ticket(a.people["frank"]); err != nil || place.Ticket != nil {
		t.Fatalf("frank has his ticket too early: %v", err)
	}
	a.busy(a.Height() + 1)
	turned := a.Height()
	a.busy(turned + 4)
	if !a.Sits(a.people["frank"]) {
		t.Fatal("frank got no seat by his ticket of the block that turned the committee")
	}
	a.right(0, 0)
	for _, from := range []int64{20, 40, 71, 72, turned - 3, turned} {
		a.right(from, 0)
	}
}

// As on the public chain: nobody saw the nodes of those who came later, so that they are one network, in which one sits at a time.
func TestSeatsOfOneNetworkAreRecomputed(t *testing.T) {
	a := annalsOf(t, func(seats map[string]any) {
		seats["params"].([]any)[0].(map[string]any)["value"].(map[string]any)["seats_per_network"] = 1
	})
	late := map[string]bool{}
	for a.Height() < 200 {
		a.busy(a.Height() + 1)
		sit := slices.DeleteFunc(a.sitting(), func(name string) bool { return slices.Contains(villagers[:3], name) })
		if len(sit) > 1 {
			t.Fatalf("%v sit in block %d", sit, a.Height())
		}
		for _, name := range sit {
			late[name] = true
		}
	}
	if len(late) < 2 {
		t.Fatalf("of those who came later %v had a seat: nothing was tried", late)
	}
	a.right(0, 0)
	for _, from := range []int64{20, 60, 131} {
		a.right(from, 0)
	}
}

// deceiver is a node that answers otherwise than the chain's states are.
type deceiver struct {
	*annals
	says func(r *abci.ResponseQuery, asked rpcclient.ABCIQueryOptions)
}

func (d deceiver) ABCIQueryWithOptions(ctx context.Context, path string, data cmtbytes.HexBytes, o rpcclient.ABCIQueryOptions) (*ctypes.ResultABCIQuery, error) {
	r, err := d.annals.ABCIQueryWithOptions(ctx, path, data, o)
	if err == nil && o.Prove && o.Height >= 20 {
		d.says(&r.Response, o)
	}
	return r, err
}

func TestANodeThatDeceivesIsFoundOut(t *testing.T) {
	a := newAnnals(t)
	a.write(30, nil)
	for what, says := range map[string]func(r *abci.ResponseQuery, asked rpcclient.ABCIQueryOptions){
		"it says another value": func(r *abci.ResponseQuery, _ rpcclient.ABCIQueryOptions) {
			if len(r.Value) > 0 {
				r.Value = append(bytes.Clone(r.Value), 0)
			}
		},
		"it says that nothing is there": func(r *abci.ResponseQuery, _ rpcclient.ABCIQueryOptions) { r.Value = nil },
		"it proves nothing":             func(r *abci.ResponseQuery, _ rpcclient.ABCIQueryOptions) { r.ProofOps = nil },
		"it proves half": func(r *abci.ResponseQuery, _ rpcclient.ABCIQueryOptions) {
			r.ProofOps.Ops[0].Data = r.ProofOps.Ops[0].Data[:len(r.ProofOps.Ops[0].Data)/2]
		},
		"it answers from another state": func(r *abci.ResponseQuery, asked rpcclient.ABCIQueryOptions) {
			other, err := a.App.Query(t.Context(), &abci.RequestQuery{Path: "/store/supply/key", Data: []byte{1}, Height: asked.Height - 3, Prove: true})
			a.must(err)
			*r = *other
		},
	} {
		t.Run(what, func(t *testing.T) {
			a.t = t
			l, err := New(deceiver{a, says}, Default())
			a.must(err)
			v, err := l.Verify(t.Context(), 0, 0, nil)
			a.must(err)
			seeded := int64(21) // block 20 is quiet: its state is that of block 19
			if v.OK || v.Wrong.Height != seeded && v.Wrong.Height != 20 || !strings.Contains(v.Wrong.What, "does not fit the header") {
				t.Errorf("found %v", v.Wrong)
			}
		})
	}
}

// forgetful is a node without any state but the last.
type forgetful struct{ *annals }

func (f forgetful) ABCIQueryWithOptions(ctx context.Context, path string, data cmtbytes.HexBytes, o rpcclient.ABCIQueryOptions) (*ctypes.ResultABCIQuery, error) {
	if o.Height > 0 {
		return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Code: codeRequest, Codespace: root, Log: "version does not exist"}}, nil
	}
	return f.annals.ABCIQueryWithOptions(ctx, path, data, o)
}

// Without states blocks, signatures, seeds and claims are checked all the same.
func TestANodeWithoutStatesIsNotBelieved(t *testing.T) {
	a := newAnnals(t)
	a.write(30, nil)
	if v := a.verify(forgetful{a}, 0, 0); !v.OK || v.ProvenTo != 0 || v.SeedsFrom != 1 || v.Seeds < 10 || v.Proofs != 0 {
		t.Errorf("found %+v", v)
	}
	if v := a.verify(forgetful{a}, 5, 0); !v.OK || v.ProvenTo != 0 || v.SeedsFrom != 0 {
		t.Errorf("found %+v", v)
	}
}

func BenchmarkVerify(b *testing.B) {
	a := newAnnals(b)
	a.write(400, nil)
	for name, rpc := range map[string]rpcclient.Client{"blocks": forgetful{a}, "states": a} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if v := a.verify(rpc, 0, 0); !v.OK {
					b.Fatal(v.Wrong)
				}
			}
		})
	}
}

// A committee may write any rules into its state. What nobody can reckon with is named, and ends nothing else.
func TestImpossibleRulesAreNamed(t *testing.T) {
	for what, spoil := range map[string]func(d *draws){
		"":                 func(*draws) {},
		"no day":           func(d *draws) { d.params.DaySeconds = 0 },
		"no window":        func(d *draws) { d.params.AbsenceWindow = 0 },
		"a window too far": func(d *draws) { d.params.AbsenceWindow = 65 },
		"no epoch":         func(d *draws) { d.params.EpochBlocks = 0 },
		"half a threshold": func(d *draws) { d.epoch.Threshold = d.epoch.Threshold[:16] },
		"half a seed":      func(d *draws) { d.epoch.Opened, d.epoch.DrawSeed = 3, make([]byte, 16) },
	} {
		d := &draws{params: committeev1.Params{DaySeconds: 60, AbsenceWindow: 6, EpochBlocks: 8}, epoch: committeev1.Epoch{Threshold: make([]byte, 32)}}
		spoil(d)
		var w *Wrong
		if err := d.check(7); (err == nil) != (what == "") || err != nil && (!errors.As(err, &w) || w.Height != 7) {
			t.Errorf("%q: %v", what, err)
		}
	}
}
