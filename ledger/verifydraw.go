package ledger

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtypes "github.com/cometbft/cometbft/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// draws reckons who sits, from block to block, by the rules that the chain itself follows (spec/sortition; chain/committee has the order):
//
//  1. the seed opens and closes epochs; who did not sign the block before is counted; who signed two loses its seat;
//  2. at an epoch's end the claims turn the committee, and the threshold moves;
//  3. each claim that the chain took is looked at again: its ticket, its proof under the epoch's seed, its rank against the threshold;
//  4. seats that are absent or step down are replaced by substitutes;
//  5. who sits then is compared with the committee that the block made.
//
// Claims, keys, absence and double signatures come from blocks. Tickets (whose, in which network, how many there), votes' outcomes on parameters,
// and where it starts, come from states, with proofs. That a ticket was rightly given is what the committee's signatures vouch for.
type draws struct {
	chain  string
	proofs *proofs
	base   *stateRoot // the state from which it follows; nil: the genesis
	oldest int64      // first block whose state may be asked for with proofs
	given  uint64     // tickets of the genesis

	params committeev1.Params
	beacon committeev1.Beacon
	epoch  committeev1.Epoch
	seats  map[sortition.Key]committeev1.Seat
	missed map[sortition.Key]uint64
	claims map[sortition.Key]sortition.Rank
	subs   map[sortition.Key]sortition.Rank
	nodes  map[sortition.Key]enrolled // what the registry knows of a node
	guilty map[string]bool            // double signatures that were dealt with

	began  map[sortition.Key]bool // who waited for a seat when the block began
	seated map[string]bool        // and who had one, by consensus address

	turns, claimed int64
}

// enrolled is what the registry knows of a node.
type enrolled struct {
	known, active  bool
	consensus, vrf sortition.Key
	since          int64 // height from which it has these keys
}

// followed is what is taken out of one block.
type followed struct {
	height        int64
	time          time.Time
	seed          *sortition.Seed // after it; nil: it carries none
	signed        map[string]bool // of those asked to sign the block before, by address
	guilty        []abci.Misbehavior
	said          []Said
	after         *cmtypes.ValidatorSet // two blocks on
	before, state stateRoot             // the states that it found and left
}

func wrong(height int64, format string, args ...any) error {
	return &Wrong{height, fmt.Sprintf(format, args...)}
}

// follow does one block. The error is a *Wrong, or the node's silence.
func (d *draws) follow(ctx context.Context, f followed) error {
	if f.seed == nil { // a block without a seed changes nothing
		return d.agree(f)
	}
	d.began = map[sortition.Key]bool{}
	for _, waits := range []map[sortition.Key]sortition.Rank{d.claims, d.subs} {
		for node := range waits {
			d.began[node] = true
		}
	}
	d.seated = map[string]bool{}
	for _, s := range d.seats {
		d.seated[string(consensusAddress(s.ConsensusKey))] = true
	}
	newDay := d.advance(f)
	d.countAbsence(f)
	for _, one := range f.guilty {
		if err := d.punish(ctx, f, one); err != nil {
			return err
		}
	}
	if newDay {
		if err := d.guard(ctx, f); err != nil {
			return err
		}
	}
	closes, err := d.turnEpoch(ctx, f)
	if err != nil {
		return err
	}
	if err := d.hear(ctx, f); err != nil {
		return err
	}
	if f.state.height >= d.oldest { // a vote that ended in this block may have changed them
		if known, err := d.proofs.message(ctx, f.state, committeeStore, keyed(committeeParams), &d.params); err != nil {
			return err
		} else if !known {
			return wrong(f.height, "the state after it has no rules for seats")
		}
		if err := d.check(f.height); err != nil {
			return err
		}
	}
	if err := d.vacate(ctx, f); err != nil {
		return err
	}
	if err := d.agree(f); err != nil || !closes {
		return err
	}
	return d.opens(ctx, f)
}

// advance is the clock. It tells whether a day began.
func (d *draws) advance(f followed) bool {
	b := &d.beacon
	b.Seed, b.Height, b.Time = f.seed[:], f.height, f.time
	b.Index++
	day := max(b.Day, uint64(max(f.time.Unix()-b.GenesisTime.Unix(), 0))/d.params.DaySeconds)
	newDay := day != b.Day
	b.Day = day
	return newDay
}

func (d *draws) countAbsence(f followed) {
	bit := uint64(1) << (d.beacon.Index % uint64(d.params.AbsenceWindow))
	for _, s := range d.sitting() {
		signed, asked := f.signed[string(consensusAddress(s.ConsensusKey))]
		if !asked || f.height-1 < s.SinceHeight+2 {
			continue
		}
		if node := sortition.Key(s.Node); signed {
			d.missed[node] &^= bit
		} else {
			d.missed[node] |= bit
		}
	}
}

func (d *draws) absent(node sortition.Key) bool {
	window := ^uint64(0) >> (64 - d.params.AbsenceWindow)
	return uint32(bits.OnesCount64(d.missed[node]&window)) >= d.params.AbsenceMissed
}

// punish takes the seat of who signed two blocks.
func (d *draws) punish(ctx context.Context, f followed, one abci.Misbehavior) error {
	node, known, err := d.culprit(ctx, f.before, one.Validator.Address)
	if err != nil || !known {
		return err
	}
	offence := fmt.Sprintf("%s %d", node, one.Height)
	if d.guilty[offence] {
		return nil
	}
	d.guilty[offence] = true
	delete(d.claims, node)
	n, err := d.enrolled(ctx, node)
	if err != nil {
		return err
	}
	n.active = false
	d.nodes[node] = n
	if _, sits := d.seats[node]; !sits {
		return nil
	}
	members, bench, tickets, err := d.bench(ctx, f.before, f.before)
	if err != nil {
		return err
	}
	enter, leave, rest := sortition.Expel(members, node, bench, d.rules())
	if leave {
		d.swap(f.height, node, enter, tickets, rest)
	}
	return nil
}

// guard counts the days with enough tickets to do without guardians.
func (d *draws) guard(ctx context.Context, f followed) error {
	if d.epoch.GuardiansEnded || d.params.GuardianTickets == 0 || d.params.GuardianDays == 0 {
		return nil
	}
	tickets, err := d.tickets(ctx, f)
	if err != nil {
		return err
	}
	if d.epoch.GuardedDays++; tickets < d.params.GuardianTickets {
		d.epoch.GuardedDays = 0
	}
	if d.epoch.GuardedDays >= d.params.GuardianDays {
		d.endGuardians()
	}
	return nil
}

func (d *draws) endGuardians() {
	d.epoch.GuardiansEnded = true
	for node, s := range d.seats {
		s.Guardian = false
		d.seats[node] = s
	}
}

// turnEpoch opens or closes the epoch. It tells whether it closed one.
func (d *draws) turnEpoch(ctx context.Context, f followed) (bool, error) {
	e := &d.epoch
	switch {
	case e.Opened == 0:
		e.Opened, e.DrawSeed = f.height, f.seed[:]
		return false, nil
	case uint64(f.height-e.Opened) < d.params.EpochBlocks-1:
		return false, nil
	}
	if h := d.params.GuardianHeight; h > 0 && f.height >= h && !e.GuardiansEnded {
		d.endGuardians()
	}
	members, err := d.members(ctx)
	if err != nil {
		return false, err
	}
	claims, tickets, err := d.candidates(ctx, d.claims, f.before, f.state)
	if err != nil {
		return false, err
	}
	r := d.rules().Guarded(members)
	leave, enter, substitutes := sortition.Turn(members, claims, d.budget(), r)
	for _, node := range leave {
		d.unseat(node)
	}
	for _, c := range enter {
		d.seat(f.height, e.Number+1, c, tickets)
	}
	d.standBy(substitutes)
	clear(d.claims)
	size := uint32(len(d.seats))
	threshold := sortition.Retarget(sortition.Threshold(e.Threshold), e.Claims, r.Free(size))
	d.epoch = committeev1.Epoch{Number: e.Number + 1, Threshold: threshold[:], Size_: size, GuardedDays: e.GuardedDays, GuardiansEnded: e.GuardiansEnded}
	d.turns++
	return true, nil
}

// opens compares the epoch with that of the state, once it has begun: number, threshold, seats, guardians.
func (d *draws) opens(ctx context.Context, f followed) error {
	if f.state.height < d.oldest {
		return nil
	}
	var e committeev1.Epoch
	if _, err := d.proofs.message(ctx, f.state, committeeStore, keyed(committeeEpoch), &e); err != nil {
		return err
	}
	switch {
	case e.Number != d.epoch.Number:
		return wrong(f.height, "it begins epoch %d, by the rules it begins epoch %d", e.Number, d.epoch.Number)
	case !bytes.Equal(e.Threshold, d.epoch.Threshold):
		return wrong(f.height, "the threshold of epoch %d is %x, by the rules it is %x", e.Number, e.Threshold, d.epoch.Threshold)
	case e.Size_ != d.epoch.Size_ || e.GuardiansEnded != d.epoch.GuardiansEnded || e.GuardedDays != d.epoch.GuardedDays:
		return wrong(f.height, "epoch %d begins with %d seats (guardians ended: %t), by the rules with %d (%t)", e.Number, e.Size_, e.GuardiansEnded, d.epoch.Size_, d.epoch.GuardiansEnded)
	}
	return nil
}

// hear takes what the block's transactions say about seats, in their order.
func (d *draws) hear(ctx context.Context, f followed) error {
	moves := uint64(0) // messages that may move a ticket
	for _, s := range f.said {
		if s.Ticket {
			moves++
		}
	}
	for _, s := range f.said {
		switch {
		case s.Claim != nil:
			if err := d.claim(ctx, f, *s.Claim, moves); err != nil {
				return err
			}
		case s.Keys != nil:
			d.nodes[s.Keys[0]] = enrolled{known: true, active: true, consensus: s.Keys[1], vrf: s.Keys[2], since: f.height}
		case s.Retired != nil:
			n, err := d.enrolled(ctx, *s.Retired)
			if err != nil {
				return err
			}
			n.active = false
			d.nodes[*s.Retired] = n
		case s.Left != nil:
			seat, sits := d.seats[*s.Left]
			if !sits {
				return wrong(f.height, "%s steps down, which holds no seat", NodeText(s.Left[:]))
			}
			seat.Leaving = true
			d.seats[*s.Left] = seat
		}
	}
	return nil
}

// claim looks at a claim as the chain had to before it took it.
func (d *draws) claim(ctx context.Context, f followed, m Claimed, moves uint64) error {
	e, name := &d.epoch, NodeText(m.Node[:])
	bad := func(why string, args ...any) error {
		return wrong(f.height, "the claim of %s in epoch %d %s", name, m.Epoch, fmt.Sprintf(why, args...))
	}
	if m.Epoch != e.Number || e.Opened == 0 || f.height <= e.Opened || uint64(f.height-e.Opened) >= d.params.ClaimBlocks {
		return bad("comes at the wrong time: epoch %d opened at block %d and takes claims for %d blocks", e.Number, e.Opened, d.params.ClaimBlocks)
	}
	if _, twice := d.claims[m.Node]; twice {
		return bad("comes twice")
	}
	t, err := d.goodTicket(ctx, m.Node, f.state)
	if err == nil && t == nil && moves > 0 && f.before.height >= d.oldest { // a later message of the block took it away, perhaps
		t, err = d.goodTicket(ctx, m.Node, f.before)
	}
	switch {
	case err != nil:
		return err
	case t == nil:
		return bad("has no good ticket")
	case t.SinceHeight >= e.Opened:
		return bad("has a ticket of block %d, which is younger than the seed that drew", t.SinceHeight)
	}
	output, err := sortition.Verify(sortition.Key(t.VrfKey), sortition.DrawAlpha(d.chain, e.Number, sortition.Seed(e.DrawSeed)), m.Proof)
	if err != nil {
		return bad("is not proven by the epoch's seed")
	}
	var taken committeev1.Claim
	if known, err := d.proofs.message(ctx, f.state, committeeStore, keyed(committeeClaims, m.Node[:]...), &taken); err != nil {
		return err
	} else if !known || len(taken.Rank) != len(sortition.Rank{}) {
		return bad("is not in the state after it")
	}
	beside, err := d.number(ctx, f.state, keyed(committeeNets, []byte(t.Network)...))
	if err != nil {
		return err
	}
	rank, fits := sortition.Rank(taken.Rank), false
	for k := beside - min(beside, moves); k <= beside+moves && !fits; k++ { // other tickets of the network may have come or gone behind it in the block
		fits = output.Output().Rank(k) == rank
	}
	if !fits {
		return bad("has the rank %s, by its proof and %d tickets in its network it is %s", rank, beside, output.Output().Rank(beside))
	}
	if !rank.Below(sortition.Threshold(e.Threshold)) {
		return bad("has the rank %s, which is not below the threshold %x", rank, e.Threshold)
	}
	e.Claims++
	d.claims[m.Node] = rank
	d.claimed++
	return nil
}

// vacate replaces seats that asked to leave, and those that are absent.
func (d *draws) vacate(ctx context.Context, f followed) error {
	if d.epoch.Opened == 0 || d.budget() == 0 {
		return nil
	}
	var asked, absent []sortition.Key
	for _, s := range d.sitting() {
		if node := sortition.Key(s.Node); s.Leaving {
			asked = append(asked, node)
		} else if d.absent(node) {
			absent = append(absent, node)
		}
	}
	for _, node := range slices.Concat(asked, absent) {
		members, bench, tickets, err := d.bench(ctx, f.state, f.state)
		if err != nil {
			return err
		}
		enter, leave, rest := sortition.Replace(members, node, bench, d.epoch.Size_, d.budget(), d.rules())
		if leave {
			d.swap(f.height, node, enter, tickets, rest)
		}
	}
	return nil
}

// agree compares who sits with the committee that the block made for two blocks on.
func (d *draws) agree(f followed) error {
	sits := map[string]bool{}
	for _, s := range d.seats {
		sits[string(consensusAddress(s.ConsensusKey))] = true
	}
	for _, v := range f.after.Validators {
		if !sits[string(v.Address)] {
			return wrong(f.height, "%s has a seat, and by the rules has none in epoch %d: %s", d.name(v.Address), d.epoch.Number, d.why(v.Address))
		}
	}
	for _, s := range d.sitting() {
		if !f.after.HasAddress(consensusAddress(s.ConsensusKey)) {
			return wrong(f.height, "%s has no seat, and by the rules has one in epoch %d", NodeText(s.Node), d.epoch.Number)
		}
	}
	return nil
}

// name is the node with a consensus key, as far as it is known.
func (d *draws) name(address []byte) string {
	if node, known := d.keyOf(address); known {
		return NodeText(node[:])
	}
	return fmt.Sprintf("the key %X", address)
}

func (d *draws) keyOf(address []byte) (sortition.Key, bool) {
	for node, n := range d.nodes {
		if bytes.Equal(consensusAddress(n.consensus[:]), address) {
			return node, true
		}
	}
	return sortition.Key{}, false
}

// why says what is wrong with a seat.
func (d *draws) why(address []byte) string {
	node, known := d.keyOf(address)
	switch {
	case d.seated[string(address)]:
		return "it had to leave"
	case known && d.began[node]:
		return "others come before it, or no more than a third of the seats changes in an epoch"
	}
	return "it never claimed"
}

func (d *draws) rules() sortition.Rules {
	return sortition.Rules{Seats: d.params.Seats, PerOwner: d.params.SeatsPerOwner, PerNetwork: d.params.SeatsPerNetwork, Draw: d.beacon.Day >= d.params.FirstDrawDay}
}

func (d *draws) budget() uint32 {
	whole := sortition.Budget(d.epoch.Size_)
	return whole - min(whole, d.epoch.Changed)
}

// sitting are the seats in the order of their nodes.
func (d *draws) sitting() []committeev1.Seat {
	all := slices.Collect(maps.Values(d.seats))
	slices.SortFunc(all, func(a, b committeev1.Seat) int { return bytes.Compare(a.Node, b.Node) })
	return all
}

func (d *draws) members(ctx context.Context) (all []sortition.Member, err error) {
	for _, s := range d.sitting() {
		n, err := d.enrolled(ctx, sortition.Key(s.Node))
		if err != nil {
			return nil, err
		}
		stays := n.known && n.active && bytes.Equal(n.consensus[:], s.ConsensusKey) && bytes.Equal(n.vrf[:], s.VrfKey)
		all = append(all, sortition.Member{Node: sortition.Key(s.Node), Owner: s.Owner, Network: s.Network, SinceEpoch: s.SinceEpoch, SinceHeight: s.SinceHeight,
			Guardian: s.Guardian, Leaving: s.Leaving || !stays})
	}
	return all, nil
}

func (d *draws) bench(ctx context.Context, found, left stateRoot) (members []sortition.Member, subs []sortition.Candidate, tickets map[sortition.Key]*committeev1.Ticket, err error) {
	if members, err = d.members(ctx); err != nil {
		return nil, nil, nil, err
	}
	subs, tickets, err = d.candidates(ctx, d.subs, found, left)
	return members, subs, tickets, err
}

// seat gives a place with the keys of the ticket. Who sits already sits anew.
func (d *draws) seat(height int64, epoch uint64, c sortition.Candidate, tickets map[sortition.Key]*committeev1.Ticket) {
	if s, sits := d.seats[c.Node]; sits {
		s.SinceEpoch = epoch
		d.seats[c.Node] = s
		return
	}
	t := tickets[c.Node]
	d.seats[c.Node] = committeev1.Seat{Node: t.Node, Owner: t.Owner, Network: t.Network, ConsensusKey: t.ConsensusKey, VrfKey: t.VrfKey, SinceEpoch: epoch, SinceHeight: height}
}

func (d *draws) unseat(node sortition.Key) {
	delete(d.seats, node)
	delete(d.missed, node)
}

func (d *draws) standBy(all []sortition.Candidate) {
	d.subs = map[sortition.Key]sortition.Rank{}
	for _, c := range all {
		d.subs[c.Node] = c.Rank
	}
}

func (d *draws) swap(height int64, gone sortition.Key, enter *sortition.Candidate, tickets map[sortition.Key]*committeev1.Ticket, rest []sortition.Candidate) {
	d.unseat(gone)
	if enter != nil {
		d.seat(height, d.epoch.Number, *enter, tickets)
	}
	d.standBy(rest)
	d.epoch.Changed++
}
