package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	sdkmath "cosmossdk.io/math"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	cmtypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
)

// beginning is what a genesis says about seats, nodes and burned HPIPS.
type beginning struct {
	sum     string // SHA-256 of the file
	first   int64  // height of the first block
	params  committeev1.Params
	beacon  committeev1.Beacon
	epoch   committeev1.Epoch
	seats   []committeev1.Seat
	nodes   []registryv1.Node
	tickets uint64
	totals  supplyv1.Totals
}

// row is one item of a module's state in a genesis.
type row struct {
	Value json.RawMessage `json:"value"`
}

// beginning reads the genesis that the node shows.
func (l *Ledger) beginning(ctx context.Context) (b beginning, err error) {
	r, err := l.rpc.Genesis(ctx)
	if err != nil {
		return b, l.unreachable(ctx, err)
	}
	text, err := cmtjson.MarshalIndent(r.Genesis, "", "  ")
	if err != nil {
		return b, fmt.Errorf("genesis: %w", err)
	}
	sum := sha256.Sum256(text)
	b.sum, b.first = hex.EncodeToString(sum[:]), max(r.Genesis.InitialHeight, 1)
	b.totals.Burned = sdkmath.ZeroInt()
	var state struct {
		Registry  map[string][]row `json:"registry"`
		Committee map[string][]row `json:"committee"`
		Supply    map[string][]row `json:"supply"`
	}
	if err := json.Unmarshal(r.Genesis.AppState, &state); err != nil {
		return b, fmt.Errorf("genesis: %w", err)
	}
	read := func(rows []row, m proto.Message) {
		for _, one := range rows {
			if wrong := l.words.codec.UnmarshalJSON(one.Value, m); wrong != nil && err == nil {
				err = fmt.Errorf("genesis: %w", wrong)
			}
		}
	}
	read(state.Committee["params"], &b.params)
	read(state.Committee["beacon"], &b.beacon)
	read(state.Committee["epoch"], &b.epoch)
	read(state.Supply["totals"], &b.totals)
	for _, one := range state.Committee["seats"] {
		var s committeev1.Seat
		read([]row{one}, &s)
		b.seats = append(b.seats, s)
	}
	for _, one := range state.Registry["nodes"] {
		var n registryv1.Node
		read([]row{one}, &n)
		b.nodes = append(b.nodes, n)
	}
	for _, one := range state.Committee["tickets"] {
		var n string
		if json.Unmarshal(one.Value, &n) == nil {
			b.tickets, _ = strconv.ParseUint(n, 10, 64)
		}
	}
	return b, err
}

// draws begins to reckon draws with the genesis.
func (b beginning) draws(chain string, p *proofs) (*draws, error) {
	d := newDraws(chain, p, b)
	d.params, d.beacon, d.epoch, d.given = b.params, b.beacon, b.epoch, b.tickets
	for _, s := range b.seats {
		if err := d.place(s); err != nil {
			return nil, fmt.Errorf("genesis: %w", err)
		}
	}
	for _, n := range b.nodes {
		one, err := enrol(n)
		id, wrong := sortition.KeyOf(n.Id)
		if err != nil || wrong != nil {
			return nil, fmt.Errorf("genesis: node %X has impossible keys", n.Id)
		}
		d.nodes[id] = one
	}
	return d, d.check(b.first)
}

func newDraws(chain string, p *proofs, b beginning) *draws {
	return &draws{chain: chain, proofs: p, oldest: max(provable, b.first), seats: map[sortition.Key]committeev1.Seat{}, missed: map[sortition.Key]uint64{},
		claims: map[sortition.Key]sortition.Rank{}, subs: map[sortition.Key]sortition.Rank{}, nodes: map[sortition.Key]enrolled{}, guilty: map[string]bool{}}
}

func (d *draws) place(s committeev1.Seat) error {
	node, err := sortition.KeyOf(s.Node)
	if err != nil || len(s.ConsensusKey) != len(node) || len(s.VrfKey) != len(node) {
		return fmt.Errorf("seat %X has impossible keys", s.Node)
	}
	d.seats[node] = s
	return nil
}

// check looks whether one can reckon with the rules and the epoch: a committee may have written anything.
func (d *draws) check(height int64) error {
	p := d.params
	if p.DaySeconds == 0 || p.AbsenceWindow < 1 || p.AbsenceWindow > 64 || p.EpochBlocks == 0 || len(d.epoch.Threshold) != len(sortition.Threshold{}) ||
		d.epoch.Opened > 0 && len(d.epoch.DrawSeed) != len(sortition.Seed{}) {
		return wrong(height, "the rules for seats, or the epoch, are impossible")
	}
	return nil
}

// drawsAt begins to reckon draws with a state, all of which is proven: who sits, who claims and who stands by. after is the committee that the block with this
// state made. The guardians among the seats must be those of the genesis.
func (l *Ledger) drawsAt(ctx context.Context, chain string, p *proofs, b beginning, at stateRoot, after *cmtypes.ValidatorSet) (*draws, error) {
	d := newDraws(chain, p, b)
	d.base = &at
	for prefix, m := range map[byte]proto.Message{committeeParams: &d.params, committeeBeacon: &d.beacon, committeeEpoch: &d.epoch} {
		if known, err := p.message(ctx, at, committeeStore, keyed(prefix), m); err != nil {
			return nil, err
		} else if !known {
			return nil, wrong(at.height, "the state after it has no seats")
		}
	}
	if err := d.check(at.height); err != nil {
		return nil, err
	}
	if err := d.sat(ctx, at, b); err != nil {
		return nil, err
	}
	for prefix, waits := range map[byte]map[sortition.Key]sortition.Rank{committeeClaims: d.claims, committeeSubs: d.subs} {
		items, err := p.all(ctx, at, committeeStore, prefix)
		if err != nil {
			return nil, err
		}
		for _, i := range items {
			var c committeev1.Claim
			if err := unpack(at, committeeStore, i.value, &c); err != nil {
				return nil, err
			}
			node, err1 := sortition.KeyOf(c.Node)
			rank, err2 := sortition.RankOf(c.Rank)
			if err1 != nil || err2 != nil {
				return nil, wrong(at.height, "the state after it has an impossible claim")
			}
			waits[node] = rank
		}
	}
	if d.agree(followed{height: at.height, after: after}) != nil {
		return nil, wrong(at.height, "the state after it has another committee than the headers")
	}
	return d, nil
}

// sat reads the seats of a state.
func (d *draws) sat(ctx context.Context, at stateRoot, b beginning) error {
	named := map[string]bool{}
	for _, s := range b.seats {
		named[string(s.Node)] = s.Guardian
	}
	items, err := d.proofs.all(ctx, at, committeeStore, committeeSeats)
	if err != nil {
		return err
	}
	for _, i := range items {
		var s committeev1.Seat
		if err := unpack(at, committeeStore, i.value, &s); err != nil {
			return err
		}
		if err := d.place(s); err != nil || !bytes.Equal(i.key[1:], s.Node) {
			return wrong(at.height, "the state after it has an impossible seat %X", i.key[1:])
		}
		if s.Guardian && (!named[string(s.Node)] || d.epoch.GuardiansEnded) {
			return wrong(at.height, "%s sits as a guardian, which the genesis does not name, or their time is over", NodeText(s.Node))
		}
		if d.missed[sortition.Key(s.Node)], err = d.number(ctx, at, keyed(committeeMissed, s.Node...)); err != nil {
			return err
		}
	}
	return nil
}

// sums follows what there is of HPIPS: only a holder's own message burns, and nothing mints.
type sums struct {
	proofs *proofs
	oldest int64
	burned sdkmath.Int
	last   []byte // hash of the last state that was looked at
}

// begin takes what was burned up to a state.
func (s *sums) begin(ctx context.Context, at stateRoot) error {
	var t supplyv1.Totals
	if _, err := s.proofs.message(ctx, at, supplyStore, keyed(supplyTotals), &t); err != nil {
		return err
	}
	if s.burned = t.Burned; s.burned.IsNil() {
		s.burned = sdkmath.ZeroInt()
	}
	return s.check(ctx, at)
}

// follow counts what a block burned, and looks whether the state that it left says the same.
func (s *sums) follow(ctx context.Context, f followed) error {
	for _, said := range f.said {
		if !said.Burned.IsNil() {
			s.burned = s.burned.Add(said.Burned)
		}
	}
	return s.check(ctx, f.state)
}

func (s *sums) check(ctx context.Context, at stateRoot) error {
	if at.height < s.oldest || bytes.Equal(s.last, at.hash) { // the same state as before
		return nil
	}
	var t supplyv1.Totals
	if _, err := s.proofs.message(ctx, at, supplyStore, keyed(supplyTotals), &t); err != nil {
		return err
	}
	if t.Burned.IsNil() {
		t.Burned = sdkmath.ZeroInt()
	}
	value, _, err := s.proofs.at(ctx, at, bankStore, keyed(bankSupply, []byte(money.Denom)...))
	if err != nil {
		return err
	}
	banked := sdkmath.ZeroInt()
	if value != nil {
		if err := banked.Unmarshal(value); err != nil {
			return wrong(at.height, "the supply after it cannot be read: %v", err)
		}
	}
	total := sdkmath.NewIntFromUint64(uint64(money.Total))
	switch {
	case !t.Burned.Equal(s.burned):
		return wrong(at.height, "the state after it says that %s were burned; its blocks burned %s", amount(t.Burned), amount(s.burned))
	case !banked.Add(t.Burned).Equal(total):
		return wrong(at.height, "there are %suhpips after it and %suhpips were burned: together not %suhpips", banked, t.Burned, total)
	}
	s.last = at.hash
	return nil
}

// left is what there is, and what was burned.
func (s *sums) left() (supply, burned money.Amount) {
	burned = amount(s.burned)
	return money.Total - burned, burned
}
