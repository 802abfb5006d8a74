package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"cosmossdk.io/core/appmodule"
	errorsmod "cosmossdk.io/errors"
	"pgregory.net/rapid"

	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/sortition"
)

func TestAliceCarriesBobIn(t *testing.T) {
	s, alice, bob := founded(t), person("alice"), person("bob")
	s.epoch = 7
	if _, err := s.msgs.Register(s.ctx, bob.register(t, "laptop")); err != nil {
		t.Fatal(err)
	}
	n := s.node(bob, "laptop")
	if n.Owner != bob.address() || n.KeysHeight != 100 || n.RegisteredHeight != 100 || n.KeysEpoch != 7 || n.Standing != registryv1.STANDING_ACTIVE {
		t.Errorf("registered as %+v", n)
	}
	back, known, err := s.keeper.ByConsensusAddress(s.ctx, consensusAddress(public(bob.key("laptop votes"))))
	if err != nil || !known || !bytes.Equal(back.Id, n.Id) {
		t.Errorf("by its consensus address: %v %v %x", known, err, back.Id)
	}
	if owner, err := s.keeper.Owner(s.ctx, public(alice.key("pc"))); err != nil || owner != alice.address() {
		t.Errorf("alice's pc is %q's, %v", owner, err)
	}
	if owner, err := s.keeper.Owner(s.ctx, public(bob.key("nothing"))); err != nil || owner != "" {
		t.Errorf("nobody's node is %q's, %v", owner, err)
	}
	if len(s.ctx.EventManager().Events()) != 1 {
		t.Errorf("events: %v", s.ctx.EventManager().Events())
	}
}

func TestCarolsRegistrationsAreRefused(t *testing.T) {
	bob, carol := person("bob"), person("carol")
	word := func(change func(*sortition.Registration)) func(*registryv1.MsgRegister) {
		return func(m *registryv1.MsgRegister) {
			r := carol.word("mill", "mill")
			change(&r)
			*m = *carol.sign(t, r, "mill", "mill")
		}
	}
	rows := map[string]struct {
		spoil func(*registryv1.MsgRegister)
		want  *errorsmod.Error
	}{
		"forged node signature":      {func(m *registryv1.MsgRegister) { m.NodeSignature, _ = carol.word("mill", "mill").Sign(bob.key("x")) }, ErrProof},
		"forged consensus signature": {func(m *registryv1.MsgRegister) { m.ConsensusSignature = m.NodeSignature }, ErrProof},
		"forged proof": {func(m *registryv1.MsgRegister) {
			p, err := carol.word("mill", "mill").Prove(bob.key("x"))
			if err != nil {
				t.Fatal(err)
			}
			m.VrfProof = p[:]
		}, ErrProof},
		"cut proof":              {func(m *registryv1.MsgRegister) { m.VrfProof = m.VrfProof[:79] }, ErrProof},
		"no proof":               {func(m *registryv1.MsgRegister) { m.VrfProof = nil }, ErrProof},
		"no node signature":      {func(m *registryv1.MsgRegister) { m.NodeSignature = nil }, ErrProof},
		"long signature":         {func(m *registryv1.MsgRegister) { m.ConsensusSignature = append(m.ConsensusSignature, 0) }, ErrProof},
		"another's signature":    {func(m *registryv1.MsgRegister) { m.OwnerSignature, _ = bob.account.Sign(m.Registration) }, ErrProof},
		"no owner signature":     {func(m *registryv1.MsgRegister) { m.OwnerSignature = nil }, ErrProof},
		"another's owner key":    {func(m *registryv1.MsgRegister) { m.OwnerKey = bob.account.PubKey().Bytes() }, ErrOwner},
		"bob as owner":           {word(func(r *sortition.Registration) { r.Owner = bob.address() }), ErrOwner},
		"short owner key":        {func(m *registryv1.MsgRegister) { m.OwnerKey = m.OwnerKey[:32] }, ErrOwner},
		"no owner key":           {func(m *registryv1.MsgRegister) { m.OwnerKey = nil }, ErrOwner},
		"owner key off curve":    {func(m *registryv1.MsgRegister) { m.OwnerKey = make([]byte, 33) }, ErrOwner},
		"foreign chain":          {word(func(r *sortition.Registration) { r.Chain = "hpips-other-1" }), ErrChain},
		"height to come":         {word(func(r *sortition.Registration) { r.Height = 101 }), ErrHeight},
		"alice's node key":       {func(m *registryv1.MsgRegister) { *m = *person("alice").register(t, "pc") }, ErrKeyUsed},
		"oversized":              {func(m *registryv1.MsgRegister) { m.Registration = bytes.Repeat([]byte{0xa1}, 100_000) }, ErrWord},
		"one byte more":          {func(m *registryv1.MsgRegister) { m.Registration = append(m.Registration, 0) }, ErrWord},
		"empty word":             {func(m *registryv1.MsgRegister) { m.Registration = nil }, ErrWord},
		"carried by nobody":      {func(m *registryv1.MsgRegister) { m.Carrier = "" }, ErrAddress},
		"carried by a stranger":  {func(m *registryv1.MsgRegister) { m.Carrier = bob.address() }, ErrCarrier},
		"carried by herself":     {func(m *registryv1.MsgRegister) { m.Carrier = carol.address() }, ErrCarrier},
		"carried from elsewhere": {func(m *registryv1.MsgRegister) { m.Carrier = "cosmos1ghekyjucln7y67ntx7cf27m9dpuxxemn4c8g4r" }, ErrAddress},
	}
	for name, row := range rows {
		s := founded(t)
		before := s.export()
		m := carol.register(t, "mill")
		row.spoil(m)
		if _, err := s.msgs.Register(s.ctx, m); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
		if s.export() != before {
			t.Errorf("%s: something was written", name)
		}
	}
	s := founded(t)
	late := s.ctx.WithBlockHeight(90 + sortition.RegistrationBlocks + 1)
	if _, err := s.msgs.Register(late, carol.register(t, "mill")); !errors.Is(err, ErrHeight) {
		t.Errorf("stale: %v", err)
	}
	if _, err := s.msgs.Register(late.WithBlockHeight(90+sortition.RegistrationBlocks), carol.register(t, "mill")); err != nil {
		t.Errorf("at the last height: %v", err)
	}
}

func TestAKeyServesOneNodeForEver(t *testing.T) {
	s, bob, carol := founded(t), person("bob"), person("carol")
	if _, err := s.msgs.Register(s.ctx, bob.register(t, "laptop")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.msgs.ChangeKeys(s.ctx, bob.change(t, "laptop", "new")); err != nil {
		t.Fatal(err)
	}
	// carol knows bob's secrets, old and new, and puts them to every use.
	stolen := bob
	stolen.account = carol.account
	rows := map[string]func(*sortition.Registration){
		"node":                 func(r *sortition.Registration) { r.Node = public(bob.key("laptop")) },
		"old votes":            func(r *sortition.Registration) { r.Consensus = public(bob.key("laptop votes")) },
		"new votes":            func(r *sortition.Registration) { r.Consensus = public(bob.key("new votes")) },
		"old draws":            func(r *sortition.Registration) { r.VRF = public(bob.key("laptop draws")) },
		"votes used for draws": func(r *sortition.Registration) { r.VRF = public(bob.key("laptop votes")) },
		"node used for votes":  func(r *sortition.Registration) { r.Consensus = public(bob.key("laptop")) },
	}
	for name, use := range rows {
		r := carol.word("mill", "mill")
		use(&r)
		if _, err := s.msgs.Register(s.ctx, stolen.sign(t, r, "laptop", "laptop")); !errors.Is(err, ErrKeyUsed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.msgs.Retire(s.ctx, &registryv1.MsgRetire{Owner: bob.address(), Node: s.node(bob, "laptop").Id}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.msgs.Register(s.ctx, bob.register(t, "laptop")); !errors.Is(err, ErrKeyUsed) {
		t.Errorf("again after retiring: %v", err)
	}
}

func TestChangedKeysCountFromNowAndOldOnesAreStillAnsweredFor(t *testing.T) {
	s, bob, carol := founded(t), person("bob"), person("carol")
	if _, err := s.msgs.Register(s.ctx, bob.register(t, "laptop")); err != nil {
		t.Fatal(err)
	}
	s.epoch = 9
	s.ctx = s.ctx.WithBlockHeight(150)
	first := bob.change(t, "laptop", "new")
	if _, err := s.msgs.ChangeKeys(s.ctx, first); err != nil {
		t.Fatal(err)
	}
	n := s.node(bob, "laptop")
	if n.KeysHeight != 150 || n.KeysEpoch != 9 || n.RegisteredHeight != 100 {
		t.Errorf("changed to %+v", n)
	}
	for _, keys := range []string{"laptop votes", "new votes"} {
		back, known, err := s.keeper.ByConsensusAddress(s.ctx, consensusAddress(public(bob.key(keys))))
		if err != nil || !known || !bytes.Equal(back.Id, n.Id) {
			t.Errorf("%s: %v, %v", keys, known, err)
		}
	}
	// Only the draws change; the consensus key may stay.
	r := bob.word("laptop", "new")
	r.VRF = public(bob.key("third draws"))
	m := bob.sign(t, r, "laptop", "new")
	p, err := r.Prove(bob.key("third draws"))
	if err != nil {
		t.Fatal(err)
	}
	m.VrfProof = p[:]
	if _, err := s.msgs.ChangeKeys(s.ctx, (*registryv1.MsgChangeKeys)(m)); err != nil {
		t.Errorf("other draws alone: %v", err)
	}
	for name, row := range map[string]struct {
		m    *registryv1.MsgChangeKeys
		want error
	}{
		"again":           {(*registryv1.MsgChangeKeys)(m), ErrKeyUsed},
		"first again":     {first, ErrKeyUsed},
		"unknown node":    {carol.change(t, "mill", "mill"), ErrUnknown},
		"carol's account": {carolTakes(t, bob, carol), ErrOwner},
	} {
		if _, err := s.msgs.ChangeKeys(s.ctx, row.m); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.keeper.Bar(s.ctx, public(bob.key("laptop"))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.msgs.ChangeKeys(s.ctx, bob.change(t, "laptop", "fourth")); !errors.Is(err, ErrStanding) {
		t.Errorf("barred: %v", err)
	}
}

// Bob made a word and never sent it; carol finds it after he has sent a later one.
func TestAnEarlierWordDoesNotReplaceALaterOne(t *testing.T) {
	s, bob := founded(t), person("bob")
	if _, err := s.msgs.Register(s.ctx, bob.register(t, "laptop")); err != nil {
		t.Fatal(err)
	}
	at := func(height int64, keys string) *registryv1.MsgChangeKeys {
		r := bob.word("laptop", keys)
		r.Height = height
		return (*registryv1.MsgChangeKeys)(bob.sign(t, r, "laptop", keys))
	}
	lost, sent, same := at(94, "lost"), at(95, "sent"), at(95, "same")
	if _, err := s.msgs.ChangeKeys(s.ctx, sent); err != nil {
		t.Fatal(err)
	}
	before := s.export()
	if _, err := s.msgs.ChangeKeys(s.ctx, lost); !errors.Is(err, ErrHeight) {
		t.Errorf("the earlier word: %v", err)
	}
	if s.export() != before {
		t.Error("the earlier word changed something")
	}
	if _, err := s.msgs.ChangeKeys(s.ctx, same); err != nil {
		t.Errorf("another word of the same height: %v", err)
	}
}

func TestATicketGoesWithTheKeysAndWithTheNode(t *testing.T) {
	s, bob := founded(t), person("bob")
	laptop := public(bob.key("laptop"))
	if _, err := s.msgs.Register(s.ctx, bob.register(t, "laptop")); err != nil {
		t.Fatal(err)
	}
	if len(s.forgotten) > 0 {
		t.Errorf("a newcomer's ticket was taken: %v", s.forgotten)
	}
	if _, err := s.msgs.ChangeKeys(s.ctx, bob.change(t, "laptop", "new")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.msgs.ChangeKeys(s.ctx, bob.change(t, "laptop", "new")); err == nil {
		t.Fatal("the same keys again were taken")
	}
	if _, err := s.msgs.Retire(s.ctx, &registryv1.MsgRetire{Owner: bob.address(), Node: laptop[:]}); err != nil {
		t.Fatal(err)
	}
	if want := []sortition.Key{laptop, laptop}; !slices.Equal(s.forgotten, want) {
		t.Errorf("tickets taken: %v, want %v", s.forgotten, want)
	}
}

// carolTakes is bob's node with new keys, signed by all of them, but for carol's account.
func carolTakes(t *testing.T, bob, carol people) *registryv1.MsgChangeKeys {
	r := bob.word("laptop", "hers")
	r.Owner = carol.address()
	thief := bob
	thief.account = carol.account
	return (*registryv1.MsgChangeKeys)(thief.sign(t, r, "laptop", "hers"))
}

func TestACarrierBringsInThreeADayForEachNodeOfEarlierDays(t *testing.T) {
	s, alice, bob := founded(t), person("alice"), person("bob")
	in := func(p people, pc string, carrier people) error {
		m := p.register(t, pc)
		m.Carrier = carrier.address()
		_, err := s.msgs.Register(s.ctx, m)
		return err
	}
	for i, pc := range []string{"1", "2", "3"} {
		if err := in(alice, pc, alice); err != nil {
			t.Fatalf("node %d: %v", i, err)
		}
	}
	// Her own three of today do not carry yet.
	if err := in(alice, "4", alice); !errors.Is(err, ErrCarried) {
		t.Errorf("a fourth today: %v", err)
	}
	s.day = 1
	for i := range 12 {
		if err := in(bob, string(rune('a'+i)), alice); err != nil {
			t.Fatalf("node %d of the next day: %v", i, err)
		}
	}
	if err := in(bob, "z", alice); !errors.Is(err, ErrCarried) {
		t.Errorf("a thirteenth: %v", err)
	}
	if err := in(bob, "z", bob); !errors.Is(err, ErrCarrier) {
		t.Errorf("bob carries on his first day: %v", err)
	}
	s.day = 2
	if err := in(bob, "z", bob); err != nil {
		t.Errorf("bob carries on his second day: %v", err)
	}
	// Who takes nodes out carries less; who has none left, nobody.
	for _, pc := range []string{"pc", "1", "2", "3"} {
		if _, err := s.msgs.Retire(s.ctx, &registryv1.MsgRetire{Owner: alice.address(), Node: s.node(alice, pc).Id}); err != nil {
			t.Fatal(err)
		}
	}
	if err := in(bob, "y", alice); !errors.Is(err, ErrCarrier) {
		t.Errorf("alice without nodes: %v", err)
	}
}

func TestOnlyTheOwnerDescribesAndRetires(t *testing.T) {
	s, alice, carol := founded(t), person("alice"), person("carol")
	id, digest := s.node(alice, "pc").Id, bytes.Repeat([]byte{7}, 32)
	for name, row := range map[string]struct {
		owner      string
		node, says []byte
		want       error
	}{
		"carol":       {carol.address(), id, digest, ErrOwner},
		"nobody":      {"", id, digest, ErrAddress},
		"short":       {alice.address(), id, digest[:31], ErrWord},
		"no node":     {alice.address(), nil, digest, ErrUnknown},
		"other node":  {alice.address(), bytes.Repeat([]byte{9}, 500), digest, ErrUnknown},
		"alice":       {alice.address(), id, digest, nil},
		"alice, none": {alice.address(), id, nil, nil},
	} {
		if _, err := s.msgs.Describe(s.ctx, &registryv1.MsgDescribe{Owner: row.owner, Node: row.node, Capabilities: row.says}); !errors.Is(err, row.want) {
			t.Errorf("%s describes: %v", name, err)
		}
	}
	if _, err := s.msgs.Retire(s.ctx, &registryv1.MsgRetire{Owner: carol.address(), Node: id}); !errors.Is(err, ErrOwner) {
		t.Errorf("carol retires: %v", err)
	}
	if _, err := s.msgs.Retire(s.ctx, &registryv1.MsgRetire{Owner: alice.address(), Node: id}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.msgs.Retire(s.ctx, &registryv1.MsgRetire{Owner: alice.address(), Node: id}); !errors.Is(err, ErrStanding) {
		t.Errorf("twice: %v", err)
	}
	if err := s.keeper.Bar(s.ctx, public(alice.key("pc"))); err != nil || s.node(alice, "pc").Standing != registryv1.STANDING_BARRED {
		t.Errorf("barred after retiring: %v", err)
	}
	if err := s.keeper.Bar(s.ctx, public(carol.key("mill"))); !errors.Is(err, ErrUnknown) {
		t.Errorf("bar a stranger: %v", err)
	}
}

func TestParametersAreAVotes(t *testing.T) {
	s := bare(t)
	if p, err := s.keeper.Params(s.ctx); err != nil || p != DefaultParams() {
		t.Errorf("of an empty store: %+v, %v", p, err)
	}
	for who, row := range map[string]struct {
		count uint32
		want  error
	}{authority: {5, nil}, person("carol").address(): {5, ErrAuthority}} {
		_, err := s.msgs.UpdateParams(s.ctx, &registryv1.MsgUpdateParams{Authority: who, Params: registryv1.Params{CarriedPerDay: row.count}})
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v", who, err)
		}
	}
	if _, err := s.msgs.UpdateParams(s.ctx, &registryv1.MsgUpdateParams{Authority: authority}); !errors.Is(err, ErrParams) {
		t.Errorf("none a day: %v", err)
	}
	q := queries{s.keeper}
	if r, err := q.Params(s.ctx, nil); err != nil || r.Params.CarriedPerDay != 5 {
		t.Errorf("asked: %+v, %v", r, err)
	}
}

func TestNodesAreListedInPages(t *testing.T) {
	s, alice, bob := founded(t), person("alice"), person("bob")
	for _, pc := range []string{"1", "2", "3"} {
		if _, err := s.msgs.Register(s.ctx, bob.register(t, pc)); err != nil {
			t.Fatal(err)
		}
	}
	q := queries{s.keeper}
	for owner, want := range map[string]int{"": 4, bob.address(): 3, alice.address(): 1, person("carol").address(): 0} {
		var got int
		p := &query.PageRequest{Limit: 2}
		for range 4 {
			r, err := q.Nodes(s.ctx, &registryv1.QueryNodesRequest{Owner: owner, Pagination: p})
			if err != nil || len(r.Nodes) > 2 {
				t.Fatalf("%q: %v", owner, err)
			}
			if got += len(r.Nodes); r.Pagination == nil || r.Pagination.NextKey == nil {
				break
			}
			p.Key = r.Pagination.NextKey
		}
		if got != want {
			t.Errorf("%q has %d nodes, want %d", owner, got, want)
		}
	}
	if _, err := q.Node(s.ctx, &registryv1.QueryNodeRequest{Id: []byte("x")}); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
	if r, err := q.Node(s.ctx, &registryv1.QueryNodeRequest{Id: s.node(bob, "1").Id}); err != nil || r.Node.Owner != bob.address() {
		t.Errorf("bob's: %v", err)
	}
}

func TestGenesisGoesOutAndIn(t *testing.T) {
	s, alice, bob := founded(t), person("alice"), person("bob")
	if _, err := s.msgs.Register(s.ctx, bob.register(t, "laptop")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.msgs.ChangeKeys(s.ctx, bob.change(t, "laptop", "new")); err != nil {
		t.Fatal(err)
	}
	out := s.export()
	again := bare(t)
	again.fill(json.RawMessage(out))
	if back := again.export(); back != out {
		t.Errorf("out:\n%s\nback:\n%s", out, back)
	}
	if _, known, err := again.keeper.ByConsensusAddress(again.ctx, consensusAddress(public(bob.key("laptop votes")))); !known || err != nil {
		t.Errorf("the old key is forgotten: %v", err)
	}
	var m Module
	var _ appmodule.HasGenesis = m
	if _, err := Genesis(DefaultParams(), []registryv1.Node{alice.first("pc"), alice.first("pc")}); !errors.Is(err, ErrKeyUsed) {
		t.Errorf("the same node twice: %v", err)
	}
}

// Random histories: who takes part is counted rightly, and a day brings in at most three for each node that took part before.
func TestWhateverHappensTheCountsStand(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := bare(t)
		folk := []people{person("alice"), person("bob"), person("carol")}
		state, err := Genesis(DefaultParams(), []registryv1.Node{folk[0].first("pc"), folk[0].first("mac"), folk[1].first("pc")})
		if err != nil {
			r.Fatal(err)
		}
		s.fill(state)
		who, serial, morning, entered := rapid.SampledFrom(folk), 0, 3, 0
		takingPart := func() (ids [][]byte, counts map[string]uint64) {
			counts = map[string]uint64{}
			err := s.keeper.nodes.Walk(s.ctx, nil, func(id []byte, n registryv1.Node) (bool, error) {
				if n.Standing == registryv1.STANDING_ACTIVE {
					ids = append(ids, id)
					counts[n.Owner]++
				}
				return false, nil
			})
			if err != nil {
				r.Fatal(err)
			}
			return ids, counts
		}
		r.Repeat(map[string]func(*rapid.T){
			"": func(r *rapid.T) {
				_, counts := takingPart()
				for _, p := range folk {
					if n, _, err := found(s.keeper.active.Get(s.ctx, p.address())); err != nil || n != counts[p.address()] {
						r.Fatalf("%s: %d counted, %d there, %v", p.name, n, counts[p.address()], err)
					}
				}
				if entered > 3*morning {
					r.Fatalf("%d came in on a day that began with %d", entered, morning)
				}
			},
			"register": func(r *rapid.T) {
				serial++
				m := who.Draw(r, "owner").register(t, fmt.Sprint(serial))
				m.Carrier = who.Draw(r, "carrier").address()
				if _, err := s.msgs.Register(s.ctx, m); err == nil {
					entered++
				}
			},
			"day": func(*rapid.T) {
				ids, _ := takingPart()
				s.day, morning, entered = s.day+1, len(ids), 0
			},
			"retire": func(r *rapid.T) {
				if ids, _ := takingPart(); len(ids) > 0 {
					id := rapid.SampledFrom(ids).Draw(r, "node")
					_, _ = s.msgs.Retire(s.ctx, &registryv1.MsgRetire{Owner: who.Draw(r, "owner").address(), Node: id})
				}
			},
			"bar": func(r *rapid.T) { // whoever it is, retired ones too
				var all [][]byte
				err := s.keeper.nodes.Walk(s.ctx, nil, func(id []byte, _ registryv1.Node) (bool, error) {
					all = append(all, id)
					return false, nil
				})
				if err := errors.Join(err, s.keeper.Bar(s.ctx, sortition.Key(rapid.SampledFrom(all).Draw(r, "node")))); err != nil {
					r.Fatal(err)
				}
			},
		})
	})
}

// Whatever somebody sends as a registration, it is taken only if it is bob's own word as he signed it; nothing panics.
func FuzzRegister(f *testing.F) {
	bob := person("bob")
	good := bob.register(f, "laptop")
	f.Add(good.Carrier, good.Registration, good.NodeSignature, good.ConsensusSignature, good.VrfProof, good.OwnerKey, good.OwnerSignature)
	f.Add("", []byte{}, []byte{}, []byte{}, []byte{}, []byte{}, []byte{})
	f.Add("hpips1", bytes.Repeat([]byte{0xff}, 600), make([]byte, 64), make([]byte, 64), make([]byte, 80), append([]byte{2}, make([]byte, 32)...), make([]byte, 64))
	s := founded(f)
	f.Fuzz(func(t *testing.T, carrier string, word, node, consensus, vrf, key, owner []byte) {
		ctx, _ := s.ctx.CacheContext()
		_, err := s.msgs.Register(ctx, &registryv1.MsgRegister{Carrier: carrier, Registration: word, NodeSignature: node, ConsensusSignature: consensus,
			VrfProof: vrf, OwnerKey: key, OwnerSignature: owner})
		if err == nil {
			if !bytes.Equal(word, good.Registration) || !bytes.Equal(key, good.OwnerKey) {
				t.Fatalf("taken: %x", word)
			}
			return
		}
		if space, code, _ := errorsmod.ABCIInfo(err, false); code == 1 || space != Name {
			t.Fatalf("no registered code: %s %d %v", space, code, err)
		}
	})
}

// A node's place comes from the first seed after the block in which it was registered, and stays, whatever its keys are.
func TestPlacesComeFromLaterSeeds(t *testing.T) {
	s, bob := founded(t), person("bob")
	s.ctx = s.ctx.WithBlockHeight(101)
	if _, err := s.msgs.Register(s.ctx, bob.register(t, "laptop")); err != nil {
		t.Fatal(err)
	}
	for height, seed := range []sortition.Seed{{1}, {2}, {3}} {
		s.ctx = s.ctx.WithBlockHeight(101 + int64(height))
		if err := s.keeper.Advance(s.ctx, seed); err != nil {
			t.Fatal(err)
		}
		if n := s.node(bob, "laptop"); height == 0 && n.Point != nil {
			t.Fatalf("placed by the seed of its own block at %x", n.Point)
		}
	}
	if _, err := s.msgs.ChangeKeys(s.ctx, bob.change(t, "laptop", "new")); err != nil {
		t.Fatal(err)
	}
	if err := s.keeper.Advance(s.ctx.WithBlockHeight(104), sortition.Seed{4}); err != nil {
		t.Fatal(err)
	}
	first := placement.NodePoint(sortition.Seed{1}, public(person("alice").key("pc"))) // of the genesis
	later := placement.NodePoint(sortition.Seed{2}, public(bob.key("laptop")))
	if a, b := s.node(person("alice"), "pc").Point, s.node(bob, "laptop").Point; !bytes.Equal(a, first[:]) || !bytes.Equal(b, later[:]) {
		t.Errorf("placed at %x and %x, want %x and %x", a, b, first, later)
	}
}
