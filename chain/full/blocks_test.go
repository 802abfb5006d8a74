package full

import (
	"bytes"
	"errors"
	"testing"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/chain/chaintest"
)

// Alice makes blocks, bob was there when they were made, and carol asked for them later: each has the same bytes, which are those that were signed.
func TestABlockIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	alice := chaintest.New("alice")
	doc := genesis(t, quick(1, 20), alice)
	a, _ := serve(t, home(t, alice, doc))
	follow := func(name string) *Node {
		c := home(t, chaintest.New(name), doc)
		c.Consensus, c.VRF, c.Peers = nil, nil, []string{a.Address()}
		n, _ := serve(t, c)
		return n
	}
	bob := follow("bob")
	send, err := chaintest.Sign(a.App().Codec(), alice, chaintest.Envelope{ChainID: testChain, Account: 14}, chaintest.Send(alice, chaintest.New("bob"), 5))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Client().BroadcastTxSync(t.Context(), send); err != nil {
		t.Fatal(err)
	}
	const last = 5
	until(t, "blocks", func() bool { return a.Blocks().Height() >= last })
	carol := follow("carol")
	for who, n := range map[string]*Node{"bob": bob, "carol": carol} {
		until(t, who+"'s blocks", func() bool { return n.Blocks().Height() >= last })
		for h := int64(1); h <= last; h++ {
			want, err1 := a.Blocks().Block(h)
			got, err2 := n.Blocks().Block(h)
			if err := errors.Join(err1, err2); err != nil || len(got) == 0 || !bytes.Equal(got, want) {
				t.Fatalf("%s has another block %d: %v", who, h, err)
			}
			id := a.engine.node.BlockStore().LoadBlockMeta(h).BlockID
			if parts := cmttypes.NewPartSetFromData(got, cmttypes.BlockPartSizeBytes).Header(); !parts.Equals(id.PartSetHeader) {
				t.Errorf("block %d: these bytes were not signed", h)
			}
			var read cmtproto.Block
			if err := proto.Unmarshal(got, &read); err != nil {
				t.Fatal(err)
			}
			if b, err := cmttypes.BlockFromProto(&read); err != nil || !b.HashesTo(id.Hash) || b.Height != h {
				t.Errorf("block %d is read as another: %v", h, err)
			}
		}
	}
	if _, err := bob.Blocks().Block(0); !errors.Is(err, ErrPruned) {
		t.Errorf("block 0: %v", err)
	}
	if _, err := bob.Blocks().Block(bob.Blocks().Height() + 1000); !errors.Is(err, ErrNoBlock) {
		t.Errorf("a block of tomorrow: %v", err)
	}
}
