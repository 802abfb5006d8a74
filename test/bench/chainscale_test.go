//go:build linux

package bench

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/hpips/hpips/chain"
	fullnode "github.com/hpips/hpips/chain/full"
	"github.com/hpips/hpips/proto/gen/committeev1"
)

// What a committee costs each of its PCs, seen two ways: whole committees of real nodes in this process, as large as the machine carries, and the
// parts that grow with the seats alone, for committees of any size.
func TestChainScale(t *testing.T) {
	for _, n := range []int{4, either(7, 25), either(10, 50), either(13, 100)} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { committees(t, n) })
	}
	for _, n := range []int{100, 200, 300} {
		commits(t, n)
	}
}

// committees runs so many nodes, each connected to a few others as on a real network, and lets them make blocks without transfers. Two
// cores carry all of them, so the time between blocks is not that of a real committee; processor time and bytes of a node are.
func committees(t *testing.T, n int) {
	seats := people("seat", n)
	doc := founding(t, seats, nil, func(g *chain.Genesis) {
		g.Tune = func(p *committeev1.Params) {
			p.Seats, p.HeartbeatSeconds, p.EpochBlocks, p.ClaimBlocks = uint32(n), 1, 720, 540
		}
	})
	before := heap()
	began := time.Now()
	w := ours(t, doc, seats, func(c *fullnode.Config) { c.Dev = false })
	first := time.Since(began)
	start := height(t, w.clients[0])
	t.Logf("%d nodes: first block on all after %v; load %s", n, first.Round(time.Millisecond), load(t))
	settings := w.nodes[0].Settings()
	stored := func() int64 { return disk(t, filepath.Join(settings.DBDir(), "blockstore.db")) }
	sentBefore, cpuBefore, storedBefore, at := w.sent(t), ownCPU(t), stored(), time.Now()
	blocks := int64(either(4, 8))
	w.await(t, start+blocks)
	took, cpu, sent := time.Since(at), ownCPU(t)-cpuBefore, w.sent(t)-sentBefore
	made := float64(height(t, w.clients[0]) - start)
	name := fmt.Sprintf("chain-scale-%d", n)
	figure(t, name+"-interval", took.Seconds()/made, "s a block, all nodes on this machine's cores")
	figure(t, name+"-cpu", cpu.Seconds()*1e3/made/float64(n), "ms of processor time a block and node")
	figure(t, name+"-sent", float64(sent)/made/float64(n)/1e3, "kB sent a block and node")
	figure(t, name+"-blocks", float64(stored()-storedBefore)/made/1e3, "kB a block on a node's disk")
	figure(t, name+"-heap", (heap()-before)/float64(n), "MB of live memory a node")
	var rounds int32
	for h := start + 1; h <= start+blocks; h++ {
		c, err := w.clients[0].Commit(t.Context(), &h)
		must(t, err)
		rounds = max(rounds, c.Commit.Round)
	}
	figure(t, name+"-rounds", float64(rounds+1), "rounds for the slowest block")
}

// sent is what all nodes have sent to each other so far, in bytes.
func (w *town) sent(t *testing.T) (sum int64) {
	t.Helper()
	for _, c := range w.clients {
		net, err := c.NetInfo(t.Context())
		must(t, err)
		for _, p := range net.Peers {
			sum += p.ConnectionStatus.SendMonitor.Bytes
		}
	}
	return sum
}

// heap is what lives in memory now, in megabytes.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / megabyte
}

// commits measures what grows with the seats alone: the bytes of a block's signatures, and the time to check them one by one, as they come in, and
// together, as light clients and joiners do.
func commits(t *testing.T, n int) {
	var signers []cmttypes.PrivValidator
	var set []*cmttypes.Validator
	for range n {
		key := ed25519.GenPrivKey()
		signers, set = append(signers, cmttypes.NewMockPVWithParams(key, false, false)), append(set, cmttypes.NewValidator(key.PubKey(), 1))
	}
	validators := cmttypes.NewValidatorSet(set)
	byAddress := map[string]cmttypes.PrivValidator{}
	for _, s := range signers {
		key, err := s.GetPubKey()
		must(t, err)
		byAddress[string(key.Address())] = s
	}
	id := cmttypes.BlockID{Hash: make([]byte, 32), PartSetHeader: cmttypes.PartSetHeader{Total: 1, Hash: make([]byte, 32)}}
	id.Hash[0], id.PartSetHeader.Hash[0] = 1, 1
	votes := cmttypes.NewVoteSet(benchChain, 5, 0, cmtproto.PrecommitType, validators)
	wire := 0
	var adding time.Duration
	for i, v := range validators.Validators {
		vote := &cmttypes.Vote{Type: cmtproto.PrecommitType, Height: 5, BlockID: id, Timestamp: time.Unix(1_800_000_000, 123456789), ValidatorAddress: v.Address, ValidatorIndex: int32(i)}
		p := vote.ToProto()
		must(t, byAddress[string(v.Address)].SignVote(benchChain, p))
		vote.Signature = p.Signature
		wire += p.Size()
		began := time.Now()
		_, err := votes.AddVote(vote)
		must(t, err)
		adding += time.Since(began)
	}
	commit := votes.MakeExtendedCommit(cmttypes.ABCIParams{}).ToCommit()
	var checks []float64
	for range either(3, 20) {
		began := time.Now()
		must(t, validators.VerifyCommit(benchChain, id, 5, commit))
		checks = append(checks, time.Since(began).Seconds()*1e3)
	}
	name := fmt.Sprintf("chain-commit-%d", n)
	figure(t, name, float64(commit.ToProto().Size())/1e3, "kB of signatures in a block")
	figure(t, name+"-vote", float64(wire)/float64(n), "bytes of a vote on the wire")
	figure(t, name+"-votes", 2*adding.Seconds()*1e3, "ms to take in all votes of a block, two of each seat, by the clock")
	figure(t, name+"-check", median(checks), "ms to check all signatures of a commit together, by the clock")
}
