package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cometbft/cometbft/libs/protoio"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	cometp2p "github.com/cometbft/cometbft/proto/tendermint/p2p"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/test/e2e/pc"
)

var sevenSeats = []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace"}

// lasting seats stay whatever they miss, so that a story has the same committee at its end.
func lasting(seats uint32) func(*committeev1.Params) {
	return func(p *committeev1.Params) { p.Seats, p.AbsenceMissed = seats, p.AbsenceWindow }
}

// Seven seats. Two of them may freeze, be cut off, send what nobody can read, or sign twice: blocks go on, and who signed twice is found and
// expelled. Without three of them there are no blocks, and there are again when one of them is back.
func TestSoakChainOfSevenSeats(t *testing.T) {
	t.Parallel()
	v := newVillage(t, plan{names: sevenSeats, payers: 8, lines: true, tune: lasting(7)})
	v.start()
	v.goesOn(3, v.folk...)
	for range counted(1, 3) {
		v.away("freeze", func(c *citizen) { c.Freeze(t) }, func(c *citizen) { c.Thaw(t) })
		v.away("are cut off", func(c *citizen) { c.ns.cut() }, func(c *citizen) { c.ns.mend() })
		v.noise(counted(50, 1000))
	}
	v.lies()
}

// away takes three of seven away, one after the other, and brings them back.
func (v *village) away(what string, take, bring func(*citizen)) {
	v.t.Helper()
	began := time.Now()
	all := slices.Clone(v.folk)
	v.rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	gone, rest := all[:3], all[3:]
	take(gone[0])
	take(gone[1])
	with := all[2:]
	v.goesOn(3, with...)
	v.paid(rest[0], 0)
	two := time.Since(began)

	take(gone[2])
	waits := make(chan error, 1)
	ctx, stop := context.WithTimeout(context.Background(), 2*pc.Patience)
	defer stop()
	calm := time.Duration(counted(6, 30)) * time.Second
	before := rest[0].height()
	handed := time.Now()
	go func() {
		_, err := v.pay(ctx, rest[0], v.payers[1], v.owner.Address())
		waits <- err
	}()
	v.stands(calm, rest...)
	select {
	case err := <-waits:
		v.t.Fatalf("three of seven %s, and a payment came to its end: %v", what, err)
	default:
	}
	if after := rest[0].height(); after > before+1 {
		v.t.Errorf("three of seven %s, and blocks %d to %d were made", what, before+1, after)
	}
	stood := time.Since(handed)
	bring(gone[2])
	back := time.Now()
	if err := <-waits; err != nil {
		v.t.Fatalf("the payment that waited: %v", err)
	}
	again := time.Since(back)
	bring(gone[0])
	bring(gone[1])
	v.goesOn(2, v.folk...)
	last := v.agree(1, v.folk...)
	v.t.Logf("seed %d: %s %s: blocks went on (%.0f s); %s too: none for %.0f s with a payment waiting, which stood in a block %.1f s after one was back; all agree up to block %d",
		*seed, names(gone[:2]), what, two.Seconds(), gone[2].Name, stood.Seconds(), again.Seconds(), last)
}

// paid makes a payment that must come to stand in a block.
func (v *village) paid(through *citizen, payer int) ledger.Receipt {
	v.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), pc.Patience)
	defer stop()
	r, err := v.pay(ctx, through, v.payers[payer], v.owner.Address())
	if err != nil {
		v.t.Fatalf("a payment through %s: %v\n%s", through.Name, err, through.Log(10))
	}
	return r
}

// noise has two seats send to the others what nobody can read: under their own names, and under none; and to all what is no transaction.
func (v *village) noise(much int) {
	v.t.Helper()
	began := time.Now()
	bad, good := v.folk[1:3], append([]*citizen{v.folk[0]}, v.folk[3:]...)
	for _, c := range bad {
		c.Kill(v.t) // the test speaks in its place
	}
	sent, refused := 0, 0
	for i := range much {
		from, to := bad[i%2], good[i%len(good)]
		n, err := v.babble(from, to, i)
		if err == nil {
			sent += n
		}
		r, _ := to.through()
		for _, tx := range [][]byte{v.bytes(v.rng.IntN(2000)), append(append([]byte{}, "\x00hps\x01"...), v.bytes(80)...), v.bytes(chain.MaxTx + 1)} {
			ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
			res, err := r.BroadcastTxSync(ctx, cmttypes.Tx(tx))
			stop()
			if err == nil && res.Code == 0 {
				v.t.Fatalf("%s takes %x… for a transaction", to.Name, tx[:min(len(tx), 40)])
			}
			refused++
		}
	}
	if sent == 0 {
		v.t.Error("nothing unreadable reached anybody")
	}
	v.goesOn(3, good...)
	v.paid(good[0], 2)
	for _, c := range bad {
		c.start()
	}
	v.goesOn(2, v.folk...)
	v.t.Logf("seed %d: %d messages that nobody can read from two seats, %d transactions that are none: blocks went on, %.0f s", *seed, sent, refused, time.Since(began).Seconds())
}

// babble speaks to a chain node: every third time under no name, every third time with packets that are none, else with well-formed packets of
// nonsense on one channel after the other. It gives how much was sent.
func (v *village) babble(from, to *citizen, i int) (int, error) {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	raw, err := from.ns.dial(ctx, "tcp", net.JoinHostPort(to.ns.ip, "26656"))
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return 0, err
	}
	if i%3 == 0 {
		_, err := raw.Write(v.bytes(4096))
		return 1, err
	}
	key, err := p2p.LoadNodeKey(filepath.Join(from.Home, "chain", "node.json"))
	if err != nil {
		v.t.Fatal(err)
	}
	secret, err := conn.MakeSecretConnection(raw, key.PrivKey)
	if err != nil {
		return 0, err
	}
	channels := []byte{0x00, 0x20, 0x21, 0x22, 0x23, 0x30, 0x38, 0x40, 0x60, 0x61}
	me := p2p.DefaultNodeInfo{ProtocolVersion: p2p.NewProtocolVersion(8, 11, 0), DefaultNodeID: key.ID(), ListenAddr: "tcp://0.0.0.0:26656", Network: villageChain,
		Version: "0.40.0", Channels: channels, Moniker: from.Name, Other: p2p.DefaultNodeInfoOther{TxIndex: "on"}}
	if _, err := protoio.NewDelimitedWriter(secret).WriteMsg(me.ToProto()); err != nil {
		return 0, err
	}
	var theirs cometp2p.DefaultNodeInfo
	if _, err := protoio.NewDelimitedReader(secret, p2p.MaxNodeInfoSize()).ReadMsg(&theirs); err != nil {
		return 0, err
	}
	if i%3 == 1 {
		_, err := secret.Write(v.bytes(900))
		return 1, err
	}
	sent := 0
	for _, channel := range channels {
		p := &cometp2p.Packet{Sum: &cometp2p.Packet_PacketMsg{PacketMsg: &cometp2p.PacketMsg{ChannelID: int32(channel), EOF: true, Data: v.bytes(200)}}}
		if _, err := protoio.NewDelimitedWriter(secret).WriteMsg(p); err != nil {
			return sent, nil // they hung up
		}
		sent++
	}
	return sent, nil
}

func (v *village) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(v.rng.Uint32())
	}
	return b
}

// lies has two seats vote twice at one height.
func (v *village) lies() {
	v.t.Helper()
	began := time.Now()
	program, err := liar()
	if err != nil {
		v.t.Fatal(err)
	}
	bad, good := v.folk[1:3], append([]*citizen{v.folk[0]}, v.folk[3:]...)
	for _, c := range bad {
		c.Kill(v.t)
		c.write("chain/equivocate", "votes")
		c.runs(program)
		c.start()
	}
	for _, c := range bad {
		v.until(c.Name+" is found to have signed twice", func() bool { return slices.Contains(v.offenders(good[0]), string(c.node())) })
	}
	v.until("the seats of two are gone", func() bool {
		_, window := good[0].through()
		k, err := window.Committee(context.Background())
		return err == nil && len(k.Seats) == 5
	})
	v.goesOn(3, good...)
	v.paid(good[0], 3)
	_, window := good[0].through()
	for _, c := range bad {
		k, err := window.Committee(v.t.Context())
		if err != nil || slices.ContainsFunc(k.Seats, func(s ledger.Seat) bool { return bytes.Equal(s.Key, c.node()) }) {
			v.t.Errorf("%s still sits: %v", c.Name, err)
		}
		if ticket, err := window.Ticket(v.t.Context(), c.node()); err != nil || ticket.Held || ticket.Reason == "" {
			v.t.Errorf("%s signed twice and has the ticket %+v, %v", c.Name, ticket, err)
		}
		if n, err := window.Node(v.t.Context(), c.node()); err != nil || n.Standing != "barred" {
			v.t.Errorf("%s signed twice and is %+v, %v", c.Name, n, err)
		}
	}
	if got := v.offenders(good[0]); len(got) < 2 || slices.ContainsFunc(good, func(c *citizen) bool { return slices.Contains(got, string(c.node())) }) {
		v.t.Errorf("%d offences, one of an honest seat perhaps", len(got))
	}
	var told struct{ Seats []struct{ Node string } }
	if err := json.Unmarshal([]byte(good[0].Must(v.t, "chain", "committee", "-o", "json")), &told); err != nil || len(told.Seats) != 5 {
		v.t.Errorf("hpips chain committee: %+v, %v", told, err)
	}
	var verified struct {
		OK       bool
		Offences int
	}
	if err := json.Unmarshal([]byte(good[0].Must(v.t, "chain", "verify", "-o", "json")), &verified); err != nil || !verified.OK || verified.Offences < 2 {
		v.t.Errorf("hpips chain verify: %+v, %v", verified, err)
	}
	v.t.Logf("%s signed twice: recorded, tickets and seats gone; five go on, %.0f s", names(bad), time.Since(began).Seconds())
}

// offenders are the nodes of which a double signature is recorded.
func (v *village) offenders(through *citizen) (all []string) {
	var answer committeev1.QueryOffencesResponse
	if err := through.ask("/hpips.committee.v1.Query/Offences", &committeev1.QueryOffencesRequest{}, &answer); err != nil {
		v.t.Log(err)
	}
	for _, o := range answer.Offences {
		all = append(all, string(o.Node))
	}
	return all
}

// The control: where the seats of too many sign twice, in two networks that do not know each other, there are two histories, and the tests'
// comparison finds them.
func TestSoakChainForksAreFound(t *testing.T) {
	t.Parallel()
	program, err := liar()
	if err != nil {
		t.Fatal(err)
	}
	honest, liars := counted(1, 2), counted(2, 3) // on each side
	var folk []string
	for i := range 2*honest + liars {
		folk = append(folk, fmt.Sprintf("pc%d", i))
	}
	for i := range liars {
		folk = append(folk, fmt.Sprintf("copy%d", i))
	}
	v := newVillage(t, plan{names: folk, seats: 2*honest + liars, payers: 1, tune: lasting(uint32(2*honest + liars))})
	here, there := slices.Clone(v.folk[:honest]), slices.Clone(v.folk[honest:2*honest])
	two := v.folk[2*honest : 2*honest+liars]
	copies := v.folk[2*honest+liars:]
	v.take(copies, two)
	for _, c := range slices.Concat(two, copies) {
		c.runs(program)
		c.write("chain/equivocate", "copy")
	}
	here, there = append(here, two...), append(there, copies...)
	apart(here)
	apart(there)
	v.start()
	v.goesOn(2, v.folk...)
	v.agree(1, here...)
	v.agree(1, there...)
	at, all := v.fork(1, min(here[0].height(), there[0].height()), here[0], there[0])
	if at == 0 {
		t.Fatalf("%d of %d seats signed on both sides, and no fork is found", liars, 2*honest+liars)
	}
	t.Logf("%d of %d seats sign twice under a partition: a fork at block %d: %v", liars, 2*honest+liars, at, all)
}
