package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkquery "github.com/cosmos/cosmos-sdk/types/query"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/spec/sortition"
)

// inforce tells which parameters were in force in a block, and whose a node was then. It asks no module of money what it keeps:
//
//  1. Genesis says with which parameters and nodes the chain began.
//  2. Passed proposals say which parameters were set; the block that carried one out says so, and it counts from the next block on.
//  3. Registrations, which their nodes signed, say whose a node was from their transaction on.
//
// Upgrades set no parameters.
type inforce struct {
	l       *Ledger
	oldest  int64 // block that the node holds
	escrow  []change[escrowv1.Params]
	reward  []change[rewardv1.Params]
	bond    []change[bondv1.Params]
	first   map[string]string  // owners of genesis, by node
	changes map[string][]owned // by node, in their order
}

// change is what a block set for those after it.
type change[P any] struct {
	height int64
	params P
	early  bool // before the oldest block that is held, nobody knows when
}

// owned is one registration.
type owned struct {
	height int64
	index  uint32
	owner  string
}

func (l *Ledger) inforce(ctx context.Context) (*inforce, error) {
	st, err := l.rpc.Status(ctx)
	if err != nil {
		return nil, l.unreachable(ctx, err)
	}
	f := &inforce{l: l, oldest: max(st.SyncInfo.EarliestBlockHeight, 1), first: map[string]string{}, changes: map[string][]owned{}}
	if err := f.genesis(ctx); err != nil { // 1
		return nil, err
	}
	return f, f.votes(ctx) // 2
}

func (f *inforce) genesis(ctx context.Context) error {
	r, err := f.l.rpc.Genesis(ctx)
	if err != nil {
		return f.l.unreachable(ctx, err)
	}
	type params struct {
		Params []struct {
			Value json.RawMessage `json:"value"`
		} `json:"params"`
	}
	var state struct {
		Registry struct {
			Nodes []struct {
				Value struct {
					ID    []byte `json:"id"`
					Owner string `json:"owner"`
				} `json:"value"`
			} `json:"nodes"`
		} `json:"registry"`
		Escrow params `json:"escrow"`
		Reward params `json:"reward"`
		Bond   params `json:"bond"`
	}
	if err := json.Unmarshal(r.Genesis.AppState, &state); err != nil {
		return fmt.Errorf("genesis: %w", err)
	}
	for _, n := range state.Registry.Nodes {
		f.first[string(n.Value.ID)] = n.Value.Owner
	}
	escrow, reward, bond := escrowv1.Params{}, rewardv1.Params{}, bondv1.Params{}
	for _, one := range []struct {
		name string
		from params
		to   proto.Message
	}{{"escrow", state.Escrow, &escrow}, {"reward", state.Reward, &reward}, {"bond", state.Bond, &bond}} {
		if len(one.from.Params) != 1 {
			return fmt.Errorf("genesis: %d parameters of %s", len(one.from.Params), one.name)
		}
		if err := f.l.words.codec.UnmarshalJSON(one.from.Params[0].Value, one.to); err != nil {
			return fmt.Errorf("genesis: parameters of %s: %w", one.name, err)
		}
	}
	f.escrow, f.reward, f.bond = []change[escrowv1.Params]{{params: escrow}}, []change[rewardv1.Params]{{params: reward}}, []change[bondv1.Params]{{params: bond}}
	return nil
}

// votes adds what passed proposals set, in the order in which they were carried out.
func (f *inforce) votes(ctx context.Context) error {
	var passed []*govv1.Proposal
	if err := pages(func(p *sdkquery.PageRequest) (*sdkquery.PageResponse, error) {
		r, err := govv1.NewQueryClient(f.l.now()).Proposals(ctx, &govv1.QueryProposalsRequest{ProposalStatus: govv1.StatusPassed, Pagination: p})
		if err != nil {
			return nil, err
		}
		passed = append(passed, r.Proposals...)
		return r.Pagination, nil
	}); err != nil {
		return err
	}
	head, err := f.l.head(ctx)
	if err != nil {
		return err
	}
	passed = slices.DeleteFunc(passed, func(p *govv1.Proposal) bool { return p.Status != govv1.StatusPassed || p.VotingEndTime == nil })
	slices.SortStableFunc(passed, func(a, b *govv1.Proposal) int { return a.VotingEndTime.Compare(*b.VotingEndTime) })
	for _, p := range passed {
		var all []sdk.Msg
		for _, packed := range p.Messages {
			var m sdk.Msg
			if err := f.l.words.registry.UnpackAny(packed, &m); err != nil {
				return fmt.Errorf("proposal %d: %w", p.Id, err)
			}
			all = append(all, m)
		}
		set := slices.DeleteFunc(flat(all, 0), func(m sdk.Msg) bool {
			switch m.(type) {
			case *escrowv1.MsgUpdateParams, *rewardv1.MsgUpdateParams, *bondv1.MsgUpdateParams:
				return false
			}
			return true
		})
		if len(set) == 0 {
			continue
		}
		height, err := f.carriedOut(ctx, p.Id, *p.VotingEndTime, head)
		if err != nil {
			return err
		}
		for _, m := range set {
			switch m := m.(type) {
			case *escrowv1.MsgUpdateParams:
				f.escrow = append(f.escrow, change[escrowv1.Params]{height, m.Params, height == 0})
			case *rewardv1.MsgUpdateParams:
				f.reward = append(f.reward, change[rewardv1.Params]{height, m.Params, height == 0})
			case *bondv1.MsgUpdateParams:
				f.bond = append(f.bond, change[bondv1.Params]{height, m.Params, height == 0})
			}
		}
	}
	return nil
}

// flat is messages with those that they carry in another's name.
func flat(all []sdk.Msg, depth int) []sdk.Msg {
	var list []sdk.Msg
	for _, m := range all {
		if carrier, ok := m.(interface{ GetMessages() ([]sdk.Msg, error) }); ok && depth < 5 {
			if inner, err := carrier.GetMessages(); err == nil {
				list = append(list, flat(inner, depth+1)...)
			}
			continue
		}
		list = append(list, m)
	}
	return list
}

// carriedOut finds the block that carried a passed proposal out: the first with a seed after its vote. 0: it is older than all that are held.
func (f *inforce) carriedOut(ctx context.Context, id uint64, ended time.Time, head int64) (int64, error) {
	from, err := f.l.blockFrom(ctx, f.oldest, head, ended)
	if err != nil {
		return 0, err
	}
	for h := from; h <= head; h++ {
		r, err := f.l.rpc.BlockResults(ctx, &h)
		if err != nil {
			return 0, f.l.missing(ctx, h, err)
		}
		for _, e := range events(r.FinalizeBlockEvents) {
			if e.Type == "active_proposal" && e.Attributes["proposal_id"] == strconv.FormatUint(id, 10) && e.Attributes["proposal_result"] == "proposal_passed" {
				return h, nil
			}
		}
		b, err := f.l.rpc.Block(ctx, &h)
		if err != nil {
			return 0, f.l.missing(ctx, h, err)
		}
		if txs := b.Block.Txs; len(txs) == 0 {
			continue
		} else if _, seeded, _ := sortition.ParseSeedTx(txs[0]); !seeded {
			continue
		}
		if from == f.oldest && from > 1 {
			return 0, nil
		}
		break
	}
	return 0, differ("proposal %d passed by %s, and no block says that it was carried out", id, ended.UTC().Format(time.RFC3339))
}

// lease gives the rules of leases that a block's transactions went by.
func (f *inforce) lease(height int64) (escrowv1.Params, error) { return inBlock(f, f.escrow, height) }

// day gives the rules by which a block ended a day.
func (f *inforce) day(height int64) (rewardv1.Params, error) { return inBlock(f, f.reward, height) }

// holds gives the rules by which a block held pay.
func (f *inforce) holds(height int64) (bondv1.Params, error) { return inBlock(f, f.bond, height) }

func inBlock[P any](f *inforce, all []change[P], height int64) (P, error) {
	now := all[0].params
	for _, c := range all[1:] {
		switch {
		case c.early && height < f.oldest:
			return now, noBlock(height)
		case c.height < height:
			now = c.params
		}
	}
	return now, nil
}

// owner tells whose a node was after a transaction, by its registrations up to there; "" if nobody's.
func (f *inforce) owner(ctx context.Context, node []byte, height int64, index uint32) (string, error) {
	key := string(node)
	if _, known := f.changes[key]; !known {
		all, err := f.registrations(ctx, node)
		if err != nil {
			return "", err
		}
		f.changes[key] = all
	}
	owner := f.first[key]
	for _, c := range f.changes[key] {
		if c.height < height || c.height == height && c.index <= index {
			owner = c.owner
		}
	}
	return owner, nil
}

func (f *inforce) registrations(ctx context.Context, node []byte) ([]owned, error) {
	found, err := f.l.withEvent(ctx, fmt.Sprintf("hpips_node.node='%x'", node))
	if err != nil {
		return nil, err
	}
	all := []owned{}
	for _, tx := range found {
		t, err := f.l.words.tx.TxDecoder()(tx.Tx)
		if err != nil {
			return nil, fmt.Errorf("transaction %s: %w", tx.Hash, err)
		}
		for _, m := range flat(t.GetMsgs(), 0) {
			var word, signature []byte
			switch m := m.(type) {
			case *registryv1.MsgRegister:
				word, signature = m.Registration, m.NodeSignature
			case *registryv1.MsgChangeKeys:
				word, signature = m.Registration, m.NodeSignature
			}
			r, err := sortition.ParseRegistration(word)
			if err != nil || !bytes.Equal(r.Node[:], node) {
				continue
			}
			if signed, err := r.Signed(); err != nil || !ed25519.Verify(node, signed, signature) {
				return nil, differ("transaction %s: node %x did not sign its registration", tx.Hash, node)
			}
			all = append(all, owned{tx.Height, tx.Index, r.Owner})
		}
	}
	return all, nil
}
