package committee

import (
	"errors"
	"slices"
	"testing"
	"time"

	errorsmod "cosmossdk.io/errors"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// checked is what the mempool would say of a message, on a state of its own.
func (w *world) checked(m sdk.Msg) error {
	ctx, _ := w.ctx(block{}).CacheContext()
	return w.k.CheckFree(ctx.WithExecMode(sdk.ExecModeCheck), m)
}

// Carol tries every claim that is none. Each is refused with a code, by the mempool as in a block.
func TestClaimsRefused(t *testing.T) {
	w, all := settled(t, 4, 6)
	carol := all[5]
	id := carol.id()
	params := w.params()
	params.EpochBlocks, params.ClaimBlocks = 200, 100
	w.must(w.k.setParams(w.ctx(block{}), params))
	w.threshold(0xff)
	good := w.claim(carol)
	for name, c := range map[string]struct { // a table: its order does not matter
		want    error
		prepare func(m *committeev1.MsgClaim)
	}{
		"without a node":        {ErrMalformed, func(m *committeev1.MsgClaim) { m.Node = nil }},
		"with half a node key":  {ErrMalformed, func(m *committeev1.MsgClaim) { m.Node = m.Node[:16] }},
		"without a proof":       {ErrMalformed, func(m *committeev1.MsgClaim) { m.Proof = nil }},
		"with a long proof":     {ErrMalformed, func(m *committeev1.MsgClaim) { m.Proof = append(m.Proof, 0) }},
		"for another sender":    {ErrSender, func(m *committeev1.MsgClaim) { m.Sender = all[6].sender(t) }},
		"of another node":       {ErrProof, func(m *committeev1.MsgClaim) { m.Node, m.Sender = all[6].node[32:], all[6].sender(t) }},
		"of a stranger":         {ErrTicket, func(m *committeev1.MsgClaim) { p := newPerson("mallory"); m.Node, m.Sender = p.node[32:], p.sender(t) }},
		"with a forged proof":   {ErrProof, func(m *committeev1.MsgClaim) { m.Proof[40] ^= 1 }},
		"with a proof of zeros": {ErrProof, func(m *committeev1.MsgClaim) { m.Proof = make([]byte, 80) }},
		"for the last epoch":    {ErrEpoch, func(m *committeev1.MsgClaim) { m.Epoch-- }},
		"for the next epoch":    {ErrEpoch, func(m *committeev1.MsgClaim) { m.Epoch++ }},
	} {
		m := *good
		m.Node, m.Proof = slices.Clone(m.Node), slices.Clone(m.Proof)
		c.prepare(&m)
		wants(t, name+" in the mempool", w.checked(&m), c.want)
		wants(t, name, w.block(&m)[0], c.want)
	}
	wants(t, "nothing", w.checked((*committeev1.MsgClaim)(nil)), ErrMalformed)
	wants(t, "what is not free", w.checked(&committeev1.MsgUpdateParams{}), ErrMalformed)

	seed, err := sortition.Prove(carol.vrf, sortition.SeedAlpha(chainID, w.height, sortition.Seed(w.epoch().DrawSeed)))
	w.must(err)
	other := *good
	other.Proof = seed[:]
	wants(t, "a proof made for a seed", w.block(&other)[0], ErrProof)
	w.threshold(0)
	wants(t, "a draw that did not win", w.block(good)[0], ErrThreshold)
	w.threshold(0xff)

	n := w.registry.nodes[id]
	n.Active = false
	w.registry.nodes[id] = n
	wants(t, "a node that was retired", w.block(good)[0], ErrNode)
	n.Active = true
	w.registry.nodes[id] = n

	wants(t, "a good claim", w.block(good)[0], nil)
	wants(t, "the same again", w.block(good)[0], ErrTwice)
	wants(t, "the same again in the mempool", w.checked(good), ErrTwice)

	w.height = w.epoch().Opened + int64(w.params().ClaimBlocks) - 2
	last, late := w.claim(all[6]), w.claim(all[7])
	wants(t, "a claim for the last block that takes one, in the mempool", w.checked(last), nil)
	wants(t, "a claim in the last block that takes one", w.block(last)[0], nil)
	wants(t, "a late claim in the mempool", w.checked(late), ErrLate)
	wants(t, "a late claim", w.block(late)[0], ErrLate)

	w.close()
	wants(t, "a claim before the epoch opened", w.checked(&committeev1.MsgClaim{Sender: carol.sender(t), Node: id[:], Epoch: w.epoch().Number, Proof: good.Proof}), ErrLate)
	// A message makes its block the one that opens the epoch, whose seed nobody can have proven anything about.
	wants(t, "a claim in the opening block", w.block(&committeev1.MsgClaim{Sender: carol.sender(t), Node: id[:], Epoch: w.epoch().Number, Proof: good.Proof})[0], ErrLate)
	wants(t, "a claim for the next block, in the mempool", w.checked(w.claim(all[8])), isWinOrNot(w, all[8]))
}

// isWinOrNot is what becomes of an honest claim.
func isWinOrNot(w *world, p *person) error {
	if w.won(p, 1) == nil {
		return ErrThreshold
	}
	return nil
}

// On the state that the mempool checks against a message is done, so that a copy in other bytes finds it there.
func TestMempoolTakesOneCopy(t *testing.T) {
	w, all := settled(t, 4, 2)
	w.threshold(0xff)
	pool, _ := w.ctx(block{}).CacheContext()
	pool = pool.WithExecMode(sdk.ExecModeCheck)
	wants(t, "claim", w.k.CheckFree(pool, w.claim(all[4])), nil)
	wants(t, "copy", w.k.CheckFree(pool, w.claim(all[4])), ErrTwice)
	wants(t, "resignation", w.k.CheckFree(pool, w.stepDown(all[1])), nil)
	wants(t, "copy", w.k.CheckFree(pool, w.stepDown(all[1])), ErrTwice)
	wants(t, "claim in a block", w.block(w.claim(all[4]))[0], nil)
}

// hourly are the public rules of tickets in small: slots of a minute, days of an hour.
func hourly() committeev1.Params {
	p := Development()
	p.DaySeconds, p.SlotSeconds, p.WindowSlots = 3600, 60, 20
	p.PickedSlots, p.NeededSlots, p.Observers, p.Signatures = 5, 4, 6, 4
	p.TicketDays, p.KeyAgeDays, p.KeyAgeEpochs = 8, 1, 1
	p.Seats, p.SeatsPerOwner = 12, 1
	return p
}

// hours is a chain that ran for a while: everybody of the first seats sits, and every slot has a seed.
func hours(t *testing.T, params committeev1.Params, seats int, all []*person, slots int) *world {
	w := found(t, storetypes.StoreTypeIAVL, params, seats, all[:seats]...)
	for _, p := range all[seats:] {
		w.register(p)
		w.people = append(w.people, p)
	}
	w.pass(slots)
	return w
}

// pass makes one block in each of the next slots.
func (w *world) pass(slots int) {
	w.t.Helper()
	for range slots {
		w.quiet(1, time.Second)
		w.blockAfter(time.Duration(w.params().SlotSeconds)*time.Second - time.Second)
	}
}

func (w *world) slot() uint64 {
	b, err := w.k.beacon.Get(w.ctx(block{}))
	w.must(err)
	return b.Slot
}

// receipts are those that a person who was online all the time has: change may spoil one before its observer signs it.
func (w *world) receipts(p *person, slot uint64, change func(r *sortition.Receipt)) (all [][]byte) {
	w.t.Helper()
	ctx := w.ctx(block{})
	picks, _, err := w.k.Picks(ctx, p.id(), slot)
	w.must(err)
	for _, s := range picks {
		observers, needed, err := w.k.Observers(ctx, p.id(), s)
		w.must(err)
		for _, o := range observers[:needed] {
			at := slices.IndexFunc(w.people, func(p *person) bool { return p.id() == o })
			all = append(all, w.receipt(p, w.people[at], s, change))
		}
	}
	return all
}

func (w *world) receipt(p, observer *person, slot uint64, change func(r *sortition.Receipt)) []byte {
	r := sortition.Receipt{Chain: chainID, Node: p.id(), Slot: slot, Network: "198.51.100.0/24"}
	if change != nil {
		change(&r)
	}
	r, err := r.Sign(observer.node)
	w.must(err)
	b, err := r.Bytes()
	w.must(err)
	return b
}

func (w *world) application(p *person, slot uint64, receipts [][]byte) *committeev1.MsgTicket {
	id := p.id()
	signature, err := sortition.Application{Chain: chainID, Node: id, Slot: slot, Receipts: sortition.Digest(receipts)}.Sign(p.node)
	w.must(err)
	return &committeev1.MsgTicket{Sender: p.sender(w.t), Node: id[:], Slot: slot, Receipts: receipts, Signature: signature}
}

// Alice was online; ten neighbours say so. She gets her ticket, and renews it in the later half of its days.
func TestTicket(t *testing.T) {
	all := append(people(10), newPerson("alice"))
	w := hours(t, hourly(), 10, all, 61)
	alice := all[10]
	wants(t, "application", w.block(w.application(alice, w.slot(), w.receipts(alice, w.slot(), nil)))[0], nil)
	ticket, err := w.k.ticket(w.ctx(block{}), alice.node[32:])
	w.must(err)
	if ticket.Network != "198.51.100.0/24" || ticket.UntilDay != 9 || ticket.SinceHeight != w.height || w.k.Tickets(w.ctx(block{})) != 11 {
		t.Errorf("ticket %+v", ticket)
	}
	if n := w.k.TicketsOf(w.ctx(block{}), "owner-alice", w.height); n != 0 {
		t.Errorf("%d tickets before the block that gave it", n)
	}
	if n := w.k.TicketsOf(w.ctx(block{}), "owner-alice", w.height+1); n != 1 {
		t.Errorf("%d tickets after the block that gave it", n)
	}
	wants(t, "renewal at once", w.block(w.application(alice, w.slot(), w.receipts(alice, w.slot(), nil)))[0], ErrEarly)
	w.pass(4 * 60)
	moved := func(r *sortition.Receipt) { r.Network = "203.0.113.0/24" }
	wants(t, "renewal", w.block(w.application(alice, w.slot(), w.receipts(alice, w.slot(), moved)))[0], nil)
	again, err := w.k.ticket(w.ctx(block{}), alice.node[32:])
	w.must(err)
	if again.Network != "203.0.113.0/24" || again.UntilDay != 13 || string(again.Point) != string(ticket.Point) || again.SinceHeight != ticket.SinceHeight {
		t.Errorf("renewed ticket %+v", again)
	}
	for network, want := range map[string]uint64{"198.51.100.0/24": 0, "203.0.113.0/24": 1} {
		if n, err := w.k.inNetwork(w.ctx(block{}), network); err != nil || n != want {
			t.Errorf("%d tickets in %s, want %d: %v", n, network, want, err)
		}
	}
	at := w.height
	w.pass(60)
	n := w.registry.nodes[alice.id()]
	n.KeysHeight = at
	w.registry.nodes[alice.id()] = n
	w.pass(1)
	wants(t, "application with new keys", w.block(w.application(alice, w.slot(), w.receipts(alice, w.slot(), nil)))[0], nil)
	if now := w.k.Tickets(w.ctx(block{})); now != 11 {
		t.Errorf("%d tickets, want those of the genesis and one of alice's", now)
	}
	if n := w.k.TicketsOf(w.ctx(block{}), "owner-alice", at); n != 1 {
		t.Errorf("an earlier vote counts %d tickets", n)
	}
}

// In the last slot all of carol's observers lie about where she is. That slot alone does not name her network.
func TestNetworkIsWhatMostSlotsSaw(t *testing.T) {
	all := append(people(10), newPerson("carol"))
	w := hours(t, hourly(), 10, all, 61)
	carol := all[10]
	picks, _, err := w.k.Picks(w.ctx(block{}), carol.id(), w.slot())
	w.must(err)
	lies := func(r *sortition.Receipt) {
		if r.Slot == picks[len(picks)-1] {
			r.Network = "203.0.113.0/24"
		}
	}
	wants(t, "application", w.block(w.application(carol, w.slot(), w.receipts(carol, w.slot(), lies)))[0], nil)
	ticket, err := w.k.ticket(w.ctx(block{}), carol.node[32:])
	w.must(err)
	if ticket.Network != "198.51.100.0/24" {
		t.Errorf("network %s", ticket.Network)
	}
}

// An application that says nothing costs its maker nothing, so it must cost others little: they look for observers until it is clear that
// too few slots can be proven, and no further.
func TestEmptyApplicationIsRefusedEarly(t *testing.T) {
	all := append(people(10), newPerson("carol"))
	w := hours(t, hourly(), 10, all, 61)
	w.registry.asked = 0
	wants(t, "nothing", w.checked(w.application(all[10], w.slot(), nil)), ErrOffline)
	if w.registry.asked > 4 { // for the node, for its slots, and for the observers of two of the five
		t.Errorf("the registry was asked %d times", w.registry.asked)
	}
}

// Carol lies about having been online.
func TestTicketsRefused(t *testing.T) {
	all := append(people(10), newPerson("carol"), newPerson("bob"))
	w := hours(t, hourly(), 10, all, 61)
	carol, bob := all[10], all[11]
	slot := w.slot()
	honest := w.receipts(carol, slot, nil)
	picks, needed, err := w.k.Picks(w.ctx(block{}), carol.id(), slot)
	w.must(err)
	if len(picks) != 5 || needed != 4 || len(honest) != 20 {
		t.Fatalf("%d slots picked, %d needed, %d receipts: this test wants 5, 4 and 20", len(picks), needed, len(honest))
	}
	observers, _, err := w.k.Observers(w.ctx(block{}), carol.id(), picks[0])
	w.must(err)
	var outsider *person
	for _, p := range all[:10] {
		if !slices.Contains(observers, p.id()) {
			outsider = p
		}
	}
	unpicked := slot - 1
	for slices.Contains(picks, unpicked) {
		unpicked--
	}
	with := func(r []byte) [][]byte { return append(slices.Clone(honest), r) }
	for name, c := range map[string]struct {
		want     error
		receipts [][]byte
	}{
		"nothing":                     {ErrOffline, nil},
		"three slots only":            {ErrOffline, honest[:12]},
		"four slots, one lacks one":   {ErrOffline, honest[:15]},
		"four slots":                  {nil, honest[:16]},
		"two networks in every slot":  {ErrOffline, alternate(w, carol, slot)},
		"an outsider's word":          {ErrReceipts, with(w.receipt(carol, outsider, picks[0], nil))},
		"a receipt twice":             {ErrReceipts, with(honest[0])},
		"a slot that was not picked":  {ErrReceipts, with(w.receipt(carol, all[0], unpicked, nil))},
		"a receipt of another node":   {ErrReceipts, with(w.receipt(bob, all[0], picks[1], nil))},
		"a receipt of another chain":  {ErrReceipts, with(w.receipt(carol, all[0], picks[1], func(r *sortition.Receipt) { r.Chain = "other" }))},
		"her own word":                {ErrReceipts, w.receipts(bob, slot, nil)},
		"a forged signature":          {ErrReceipts, forged(honest)},
		"no receipt at all, but junk": {ErrReceipts, [][]byte{{0xff, 1, 2}}},
		"an empty receipt":            {ErrMalformed, [][]byte{{}}},
		"a huge receipt":              {ErrMalformed, [][]byte{make([]byte, 4096)}},
		"more than could be needed":   {ErrReceipts, slices.Repeat(honest, 2)},
	} {
		wants(t, name, w.checked(w.application(carol, slot, c.receipts)), c.want)
	}
	good := w.application(carol, slot, honest)
	for name, c := range map[string]struct {
		want    error
		prepare func(m *committeev1.MsgTicket)
	}{
		"forged signature":    {ErrSignature, func(m *committeev1.MsgTicket) { m.Signature[0] ^= 1 }},
		"no signature":        {ErrMalformed, func(m *committeev1.MsgTicket) { m.Signature = nil }},
		"another's receipts":  {ErrSignature, func(m *committeev1.MsgTicket) { m.Receipts = m.Receipts[1:] }},
		"another sender":      {ErrSender, func(m *committeev1.MsgTicket) { m.Sender = bob.sender(t) }},
		"no node":             {ErrMalformed, func(m *committeev1.MsgTicket) { m.Node = nil }},
		"a slot to come":      {ErrSlot, func(m *committeev1.MsgTicket) { m.Slot++ }},
		"a slot chosen":       {ErrSlot, func(m *committeev1.MsgTicket) { m.Slot -= 2 }},
		"a slot long ago":     {ErrSlot, func(m *committeev1.MsgTicket) { m.Slot = 0 }},
		"the slot just past":  {ErrSignature, func(m *committeev1.MsgTicket) { m.Slot-- }},
		"the end of all time": {ErrSlot, func(m *committeev1.MsgTicket) { m.Slot = 1<<64 - 1 }},
	} {
		m := *good
		m.Signature = slices.Clone(m.Signature)
		c.prepare(&m)
		wants(t, name, w.checked(&m), c.want)
	}
	change := func(f func(n *Node)) func() {
		was := w.registry.nodes[carol.id()]
		n := was
		f(&n)
		w.registry.nodes[carol.id()] = n
		return func() { w.registry.nodes[carol.id()] = was }
	}
	for name, c := range map[string]struct {
		want error
		f    func(n *Node)
	}{
		"barred":                   {ErrNode, func(n *Node) { n.Active = false }},
		"keys of this day":         {ErrKeyAge, func(n *Node) { n.KeysTime = w.now.Add(-59 * time.Minute) }},
		"keys of this epoch":       {ErrKeyAge, func(n *Node) { n.KeysEpoch = w.epoch().Number }},
		"keys of an epoch to come": {ErrKeyAge, func(n *Node) { n.KeysEpoch = 1 << 40 }},
	} {
		restore := change(c.f)
		wants(t, name, w.checked(good), c.want)
		restore()
	}
	w.bank.lacking[carol.id()] = true
	wants(t, "no work", w.checked(good), ErrCredit)
	if res, err := (queries{w.k, ""}).Ticket(w.ctx(block{}), &committeev1.QueryTicketRequest{Node: carol.node[32:]}); err != nil || res.Reason == "" || res.Ticket != nil {
		t.Errorf("query says %v, %v", res, err)
	}
	delete(w.bank.lacking, carol.id())
	wants(t, "all in order", w.block(good)[0], nil)
	stranger := newPerson("stranger")
	wants(t, "a stranger", w.checked(w.application(stranger, slot, nil)), ErrNode)
}

func forged(receipts [][]byte) [][]byte {
	all := slices.Clone(receipts)
	all[3] = slices.Clone(all[3])
	all[3][len(all[3])-1] ^= 1
	return all
}

// alternate are receipts of which every second names another network.
func alternate(w *world, p *person, slot uint64) [][]byte {
	i := 0
	return w.receipts(p, slot, func(r *sortition.Receipt) {
		if i++; i%2 == 0 {
			r.Network = "192.0.2.0/24"
		}
	})
}

// The observers of a slot never change once it began, whoever comes and goes; nobody observes himself, or a node of his owner.
func TestObservers(t *testing.T) {
	all := append(people(12), newPerson("alice"))
	w := hours(t, hourly(), 8, all, 61)
	alice, slot := all[12], w.slot()
	before, needed, err := w.k.Observers(w.ctx(block{}), alice.id(), slot)
	w.must(err)
	if len(before) != 6 || needed != 4 {
		t.Fatalf("%d observers, %d needed", len(before), needed)
	}
	for _, p := range all[8:12] {
		w.ticketed(p, "network of "+p.name)
	}
	w.must(w.k.Forget(w.ctx(block{}), before[0]))
	same, _, err := w.k.Observers(w.ctx(block{}), alice.id(), slot)
	w.must(err)
	if !slices.Equal(before, same) {
		t.Error("the observers of an open slot changed")
	}
	seen := map[sortition.Key]bool{}
	for range 15 {
		w.pass(1)
		now, _, err := w.k.Observers(w.ctx(block{}), alice.id(), w.slot())
		w.must(err)
		for _, o := range now {
			seen[o] = true
		}
	}
	if seen[before[0]] || len(seen) != 11 {
		t.Errorf("%d nodes observed, want the eleven who hold a ticket; who lost it is among them: %v", len(seen), seen[before[0]])
	}
	// Alice's friend has the same owner.
	friend := all[9]
	n := w.registry.nodes[alice.id()]
	n.Owner = w.registry.nodes[friend.id()].Owner
	w.registry.nodes[alice.id()] = n
	w.ticketed(alice, "network of alice")
	for range 15 {
		w.pass(1)
		now, _, err := w.k.Observers(w.ctx(block{}), alice.id(), w.slot())
		w.must(err)
		if slices.Contains(now, alice.id()) || slices.Contains(now, friend.id()) {
			t.Fatal("alice is observed by herself, or by her friend")
		}
	}
	params := w.params()
	params.SeatsPerOwner = 0
	w.must(w.k.setParams(w.ctx(block{}), params))
	befriended := false
	for range 15 {
		w.pass(1)
		now, _, err := w.k.Observers(w.ctx(block{}), alice.id(), w.slot())
		w.must(err)
		if slices.Contains(now, alice.id()) {
			t.Fatal("alice is observed by herself")
		}
		befriended = befriended || slices.Contains(now, friend.id())
	}
	if !befriended {
		t.Error("where owners are not limited, a friend may observe")
	}
	// The ring forgets what no slot and no vote can ask for.
	forgotten := func() int {
		n := 0
		w.must(w.k.ring.Walk(w.ctx(block{}), nil, func(_ []byte, t committeev1.Ticket) (bool, error) {
			if t.UntilSlot != forever {
				n++
			}
			return false, nil
		}))
		return n
	}
	if forgotten() != 1 {
		t.Errorf("%d tickets are remembered, want 1", forgotten())
	}
	w.now = w.now.Add(15 * time.Hour)
	w.pass(1)
	if got, open := forgotten(), w.k.Tickets(w.ctx(block{})); got != 7 || open != 5 {
		t.Errorf("%d remembered, want the seven that ran out; %d good, want 5", got, open)
	}
	if n := w.k.TicketsOf(w.ctx(block{}), w.registry.nodes[before[0]].Owner, 1<<40); n != 0 {
		t.Errorf("an owner whose ticket is gone has %d", n)
	}
}

// The first node has nobody to observe it, and needs nobody.
func TestFirstNodeNeedsNobody(t *testing.T) {
	all := []*person{newPerson("alice")}
	w := hours(t, hourly(), 1, all, 61+4*60)
	wants(t, "renewal", w.block(w.application(all[0], w.slot(), nil))[0], nil)
	ticket, err := w.k.ticket(w.ctx(block{}), all[0].node[32:])
	w.must(err)
	if ticket.Network != "10.0.0.0/24" {
		t.Errorf("network %q", ticket.Network)
	}
}

// The codes are the interface: a client may act on them.
func TestCodesAreRegistered(t *testing.T) {
	seen := map[uint32]bool{}
	for i, err := range []*errorsmod.Error{
		ErrMalformed, ErrSender, ErrNode, ErrSignature, ErrKeyAge, ErrReceipts, ErrOffline, ErrCredit, ErrEarly, ErrWaiting, ErrTicket, ErrKeys,
		ErrEpoch, ErrLate, ErrYoung, ErrProof, ErrThreshold, ErrTwice, ErrSeat, ErrSlot, ErrParams, ErrAuthority, ErrSeed, ErrGenesis,
	} {
		space, code, _ := errorsmod.ABCIInfo(errorsmod.Wrap(err, "wrapped"), false)
		if space != Name || code != uint32(i)+2 || seen[code] {
			t.Errorf("%v has %s/%d", err, space, code)
		}
		seen[code] = true
	}
	if isRefusal(errors.New("disk")) || !isRefusal(errorsmod.Wrap(ErrKeys, "x")) {
		t.Error("refusals and faults are mixed up")
	}
}

// Whatever bytes come, the mempool refuses them with a code of this module and does not panic.
func FuzzCheckFree(f *testing.F) {
	all := append(people(6), newPerson("carol"))
	params := hourly()
	w := found(f, storetypes.StoreTypeDB, params, 6, all[:6]...)
	w.people = append(w.people, all[6])
	w.register(all[6])
	w.pass(61)
	w.heartbeat()
	for kind, m := range []interface{ Marshal() ([]byte, error) }{
		w.claim(all[1]), w.stepDown(all[2]), w.application(all[6], w.slot(), w.receipts(all[6], w.slot(), nil)),
	} {
		b, err := m.Marshal()
		w.must(err)
		f.Add(byte(kind), b)
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		var m interface {
			sdk.Msg
			Unmarshal([]byte) error
		}
		switch kind % 3 {
		case 0:
			m = &committeev1.MsgClaim{}
		case 1:
			m = &committeev1.MsgStepDown{}
		default:
			m = &committeev1.MsgTicket{}
		}
		if m.Unmarshal(b) != nil {
			return
		}
		if err := w.checked(m); err != nil && !isRefusal(err) {
			t.Fatalf("refused without a code of ours: %v", err)
		}
	})
}
