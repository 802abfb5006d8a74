//go:build equivocate

package full

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"

	"github.com/cometbft/cometbft/consensus"
	"github.com/cometbft/cometbft/p2p"
	cmtcons "github.com/cometbft/cometbft/proto/tendermint/consensus"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"
)

// wrap gives the engine a signer that does wrong, if the home has a file `equivocate`. This is built for tests only.
//
//   - "copy": it signs whatever it is asked to, without looking at what it signed before; two such homes with one key fork a chain.
//   - "votes": besides, each vote for a block is followed by one for another block, sent to all peers.
func wrap(s *signer, n *Node) cmttypes.PrivValidator {
	text, err := os.ReadFile(filepath.Join(s.home, "equivocate"))
	if err != nil {
		return s
	}
	return &liar{signer: s, node: n, votes: strings.TrimSpace(string(text)) == "votes"}
}

type liar struct {
	*signer
	node  *Node
	votes bool
}

func (l *liar) SignVote(chain string, vote *cmtproto.Vote) error {
	if err := l.put(chain, vote); err != nil {
		return err
	}
	if !l.votes || len(vote.BlockID.Hash) == 0 {
		return nil
	}
	other := *vote
	hash := sha256.Sum256(vote.BlockID.Hash)
	other.BlockID.Hash = hash[:]
	if err := l.put(chain, &other); err != nil {
		return err
	}
	l.node.engine.node.Switch().BroadcastAsync(p2p.Envelope{ChannelID: consensus.VoteChannel, Message: &cmtcons.Vote{Vote: &other}})
	return nil
}

func (l *liar) put(chain string, vote *cmtproto.Vote) (err error) {
	vote.Signature, err = l.pv.Key.PrivKey.Sign(cmttypes.VoteSignBytes(chain, vote))
	return err
}

func (l *liar) SignProposal(chain string, proposal *cmtproto.Proposal) (err error) {
	proposal.Signature, err = l.pv.Key.PrivKey.Sign(cmttypes.ProposalSignBytes(chain, proposal))
	return err
}
