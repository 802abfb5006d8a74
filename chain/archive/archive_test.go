package archive

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"cosmossdk.io/core/genesis"
	"pgregory.net/rapid"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/cosmos-sdk/testutil"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/archivev1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

const chainID = "hpips-test-1"

var bech32 = address.NewBech32Codec("hpips")

// node is somebody's, by the name of its owner.
type node string

func (n node) secret() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(string(n) + "'s node"))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (n node) key() sortition.Key { return sortition.Key(n.secret().Public().(ed25519.PublicKey)) }

// town is a chain whose seats are its nodes.
type town struct {
	t      rapid.TB
	ctx    sdk.Context
	keeper Keeper
	seats  []node
	epoch  uint64
}

func (s *town) Epoch(context.Context) uint64 { return s.epoch }

func (s *town) Sitting(context.Context) (keys []sortition.Key, err error) {
	for _, n := range s.seats {
		keys = append(keys, n.key())
	}
	return keys, nil
}

func founded(t rapid.TB, seats ...node) *town {
	key := storetypes.NewKVStoreKey(Name)
	s := &town{t: t, seats: seats, ctx: testutil.DefaultContext(key, storetypes.NewTransientStoreKey("t"))}
	s.ctx = s.ctx.WithChainID(chainID).WithBlockHeight(100).WithBlockTime(time.Unix(1_800_000_000, 0).UTC())
	s.keeper = NewKeeper(codec.NewProtoCodec(types.NewInterfaceRegistry()), runtime.NewKVStoreService(key), bech32, s)
	source, err := genesis.SourceFromRawJSON(Genesis())
	if err == nil {
		err = s.keeper.schema.InitGenesis(s.ctx, source)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// entry is what honest seats make of blocks; another flavour is another file.
func entry(number uint64, from, to int64, flavour string) archivev1.Entry {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %d %s", number, from, to, flavour))
	return archivev1.Entry{Number: number, From: from, To: to, Address: append([]byte{1, 0x70, 0x12, 0x20}, sum[:]...), Root: sum[:], Length: 1000}
}

// says is a node's message.
func (s *town) says(n node, e archivev1.Entry) *archivev1.MsgSegment {
	key := n.key()
	sum := sha256.Sum256(key[:])
	sender, err := bech32.BytesToString(sum[:20])
	if err != nil {
		s.t.Fatal(err)
	}
	m := &archivev1.MsgSegment{Sender: sender, Node: key[:], Entry: e, Epoch: s.epoch, Signature: make([]byte, ed25519.SignatureSize)}
	if words, err := entryOf(e); err == nil {
		if m.Signature, err = words.Sign(chainID, s.epoch, n.secret()); err != nil {
			s.t.Fatal(err)
		}
	}
	return m
}

func (s *town) say(n node, e archivev1.Entry) error { return s.keeper.say(s.ctx, s.says(n, e)) }

func (s *town) agreed() (all []archivev1.Segment) {
	res, err := queries{s.keeper}.Segments(s.ctx, &archivev1.QuerySegmentsRequest{})
	if err != nil {
		s.t.Fatal(err)
	}
	return res.Segments
}

func TestTwoThirdsRecordASegment(t *testing.T) {
	s := founded(t, "alice", "bob", "carol", "dave")
	first := entry(1, 1, 20, "")
	for _, n := range []node{"alice", "bob"} {
		if err := s.say(n, first); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.say("dave", entry(1, 1, 20, "wrong")); err != nil {
		t.Fatal(err)
	}
	if all := s.agreed(); len(all) != 0 {
		t.Fatalf("two of four recorded %+v", all)
	}
	if err := s.say("carol", first); err != nil {
		t.Fatal(err)
	}
	all := s.agreed()
	if len(all) != 1 || !all[0].Entry.Equal(first) || all[0].Height != 100 || all[0].Point != nil {
		t.Fatalf("recorded %+v", all)
	}
	seed := sortition.Seed{1}
	if err := s.keeper.Advance(s.ctx, seed); err != nil || s.agreed()[0].Point != nil {
		t.Errorf("placed by the seed of its own block: %v", err)
	}
	s.ctx = s.ctx.WithBlockHeight(101)
	want := placement.PiecePoint(seed, proof.Piece{Root: [32]byte(first.Root), Size: first.Length}.ID())
	if err := errors.Join(s.keeper.Advance(s.ctx, seed), s.keeper.Advance(s.ctx, sortition.Seed{2})); err != nil || !bytes.Equal(s.agreed()[0].Point, want[:]) {
		t.Errorf("placed at %x, want %x: %v", s.agreed()[0].Point, want, err)
	}
	next, err := queries{s.keeper}.Next(s.ctx, &archivev1.QueryNextRequest{})
	if err != nil || next.Number != 2 || next.From != 21 || len(next.Words) != 0 {
		t.Errorf("next is %+v: %v", next, err)
	}
}

// Mallory stands for one of four seats and says what she likes; nor does she hold the others up. When two of four are wrong by a broken disk, they say it again an epoch later.
func TestSeatsSpeakAgainInAnotherEpoch(t *testing.T) {
	s := founded(t, "alice", "bob", "carol", "mallory")
	good, bad := entry(1, 1, 20, ""), entry(1, 1, 20, "wrong")
	for n, e := range map[node]archivev1.Entry{"alice": good, "bob": good, "carol": bad, "mallory": bad} {
		if err := s.say(n, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.say("carol", good); !errors.Is(err, ErrTwice) {
		t.Errorf("carol speaks twice: %v", err)
	}
	kept := s.says("carol", bad)
	s.epoch++
	if err := s.keeper.say(s.ctx, kept); !errors.Is(err, ErrEpoch) { // mallory kept carol's word, and would speak for her first
		t.Errorf("carol's old word: %v", err)
	}
	kept.Epoch++
	if err := s.keeper.say(s.ctx, kept); !errors.Is(err, ErrSignature) {
		t.Errorf("carol's old word under a new date: %v", err)
	}
	if err := s.say("carol", good); err != nil {
		t.Fatal(err)
	}
	if all := s.agreed(); len(all) != 1 || !all[0].Entry.Equal(good) {
		t.Errorf("recorded %+v", all)
	}
}

// Words of those who do not sit any more count for nothing.
func TestFormerSeatsDoNotCount(t *testing.T) {
	s := founded(t, "alice", "bob", "mallory")
	bad := entry(1, 1, 20, "wrong")
	if err := errors.Join(s.say("alice", bad), s.say("mallory", bad)); err != nil {
		t.Fatal(err)
	}
	s.seats, s.epoch = []node{"bob", "carol", "dave"}, 1
	good := entry(1, 1, 20, "")
	if err := errors.Join(s.say("bob", bad), s.say("carol", good)); err != nil || len(s.agreed()) != 0 {
		t.Errorf("recorded %+v: %v", s.agreed(), err)
	}
	if err := s.say("mallory", good); !errors.Is(err, ErrSeat) {
		t.Errorf("mallory speaks: %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	s := founded(t, "alice", "bob", "carol", "dave")
	good := entry(1, 1, 20, "")
	with := func(change func(*archivev1.Entry)) archivev1.Entry {
		e := entry(1, 1, 20, "")
		change(&e)
		return e
	}
	for what, row := range map[string]struct {
		e    archivev1.Entry
		want error
	}{
		"another number":        {entry(2, 1, 20, ""), ErrNext},
		"number 0":              {entry(0, 1, 20, ""), ErrMalformed},
		"another beginning":     {entry(1, 2, 20, ""), ErrNext},
		"blocks to come":        {entry(1, 1, 101, ""), ErrFuture},
		"backwards":             {entry(1, 1, 0, ""), ErrMalformed},
		"too many blocks":       {entry(1, 1, 5000, ""), ErrMalformed},
		"no bytes":              {with(func(e *archivev1.Entry) { e.Length = 0 }), ErrMalformed},
		"too many bytes":        {with(func(e *archivev1.Entry) { e.Length = 1<<50 + 1 }), ErrMalformed},
		"a short root":          {with(func(e *archivev1.Entry) { e.Root = e.Root[1:] }), ErrMalformed},
		"a long root":           {with(func(e *archivev1.Entry) { e.Root = append(e.Root, 0) }), ErrMalformed},
		"a short address":       {with(func(e *archivev1.Entry) { e.Address = e.Address[:35] }), ErrMalformed},
		"an address of CBOR":    {with(func(e *archivev1.Entry) { e.Address[1] = 0x71 }), ErrMalformed},
		"an address of blake3":  {with(func(e *archivev1.Entry) { e.Address[2] = 0x1e }), ErrMalformed},
		"an address of its own": {with(func(e *archivev1.Entry) { e.Address[0] = 0 }), ErrMalformed},
	} {
		if err := s.say("alice", row.e); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", what, err, row.want)
		}
	}
	forged := s.says("alice", good)
	forged.Signature = s.says("bob", good).Signature
	foreign := s.says("alice", good)
	words, err := entryOf(good)
	if err == nil {
		foreign.Signature, err = words.Sign("hpips-other-1", 0, node("alice").secret())
	}
	if err != nil {
		t.Fatal(err)
	}
	other := s.says("alice", good)
	other.Sender = s.says("bob", good).Sender
	short := s.says("alice", good)
	short.Signature = short.Signature[:63]
	small := s.says("alice", good)
	small.Node = small.Node[:31]
	for what, row := range map[string]struct {
		m    *archivev1.MsgSegment
		want error
	}{
		"bob's signature": {forged, ErrSignature}, "another chain's": {foreign, ErrSignature}, "bob's address": {other, ErrSender}, "a short signature": {short, ErrMalformed},
		"a short key": {small, ErrMalformed}, "who has no seat": {s.says("mallory", good), ErrSeat}, "nothing": {nil, ErrMalformed},
	} {
		if err := s.keeper.say(s.ctx, row.m); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", what, err, row.want)
		}
	}
	if next, err := (queries{s.keeper}).Next(s.ctx, nil); err != nil || len(next.Words) != 0 || len(s.agreed()) != 0 {
		t.Errorf("refused, and kept: %+v, %+v: %v", next, s.agreed(), err)
	}
}

// Whatever a third of the seats says, and whoever comes and goes: entries follow one another, and each is what the honest made.
func TestTheListHasNoGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := []node{"alice", "bob", "carol", "dave", "erin", "frank", "mallory", "trent"}
		liars := all[6:]
		s := founded(t, all...)
		honest := func(number uint64, from int64) archivev1.Entry { return entry(number, from, from+int64(number%7), "") }
		for range rapid.IntRange(20, 200).Draw(t, "words") {
			if rapid.IntRange(0, 9).Draw(t, "epoch ends") == 0 {
				s.epoch++
				s.seats = append(slices.Clone(rapid.Permutation(all[:6]).Draw(t, "seats")[:5]), liars...)
			}
			s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 1)
			var seed sortition.Seed
			binary.BigEndian.PutUint64(seed[:], uint64(s.ctx.BlockHeight()))
			if err := s.keeper.Advance(s.ctx, seed); err != nil {
				t.Fatal(err)
			}
			number, from, err := s.keeper.Next(s.ctx)
			if err != nil {
				t.Fatal(err)
			}
			n := rapid.SampledFrom(all).Draw(t, "who")
			e := honest(number, from)
			if slices.Contains(liars, n) {
				e = entry(number, from, from+rapid.Int64Range(0, 9).Draw(t, "to"), "wrong")
			}
			err = s.say(n, e)
			if seated := slices.Contains(s.seats, n); err == nil && !seated || errors.Is(err, ErrSeat) == seated && err != nil && !errors.Is(err, ErrTwice) && !errors.Is(err, ErrFuture) {
				t.Fatalf("%s, seated %v: %v", n, seated, err)
			}
		}
		number, next := uint64(1), int64(1)
		for _, g := range s.agreed() {
			if !g.Entry.Equal(honest(number, next)) {
				t.Fatalf("entry %d is %+v", number, g.Entry)
			}
			if placed := len(g.Point) == 32; placed != (g.Height < s.ctx.BlockHeight()) {
				t.Fatalf("entry %d of block %d in block %d has point %x", number, g.Height, s.ctx.BlockHeight(), g.Point)
			}
			number, next = number+1, g.Entry.To+1
		}
	})
}

func FuzzEntry(f *testing.F) {
	good := entry(1, 1, 20, "")
	b, err := good.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var e archivev1.Entry
		if e.Unmarshal(b) != nil {
			return
		}
		words, err := entryOf(e)
		if err != nil {
			return
		}
		if words.Number != e.Number || !bytes.Equal(words.Piece.Root[:], e.Root) || words.Check() != nil {
			t.Errorf("%+v became %+v", e, words)
		}
	})
}
