package full

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cometbft/cometbft/crypto"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/privval"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"
)

// signer guards the key of the node's votes. Two rules keep the owner from losing the seat for a double signature:
//
//  1. What is signed is on the disk, file and folder, before the signature leaves; nothing is signed twice for one height and round.
//  2. A home that may exist twice is silent. It stands down when it was copied or restored (it finds itself in another place, or its
//     record is gone or older than a signature of its key), and when it sees its key sign what it did not. It signs again when one
//     whole epoch went by, seen live, without a signature of its key; or as much time when the chain stands still.
type signer struct {
	pv    *privval.FilePV
	home  string
	log   *slog.Logger
	epoch func() uint64
	wait  time.Duration

	mu     sync.Mutex
	record record
	made   map[int64][][]byte // votes that this process signed, by height
	from   int64              // the first height of which it knows all of them
	before int64              // the last height at which the process before signed
	since  time.Time          // since when no block was made, and this process waits
	closed bool
}

// record is what the signer keeps besides the last vote.
type record struct {
	Place string `json:"place"`           // where this home was when it last signed
	Voted bool   `json:"voted,omitempty"` // there is a last vote
	Down  string `json:"down,omitempty"`  // why it is silent
	Epoch uint64 `json:"epoch,omitempty"` // in which its key was last seen elsewhere
}

const (
	voteFile   = "signed.json"
	recordFile = "signer.json"
	keepVotes  = 1000 // heights
)

var errDown = errors.New("the seat stands down")

func openSigner(c Config) (*signer, error) {
	s := &signer{home: c.Home, log: c.Log, made: map[int64][][]byte{}, since: time.Now()}
	s.pv = privval.NewFilePV(ed25519.PrivKey(c.Consensus), "", filepath.Join(c.Home, voteFile))
	place, err := place(c.Home)
	if err != nil {
		return nil, err
	}
	why, known, err := s.read()
	if err != nil {
		return nil, fmt.Errorf("open signer: %w", err)
	}
	switch {
	case !known:
	case why != "":
		s.record.Down = why
	case s.record.Place != place:
		s.record.Down = "this home comes from another computer or folder"
	}
	s.record.Place = place
	return s, s.save()
}

// read loads the record and the last vote. It says whether there was a record, and what is wrong with the vote that belongs to it.
func (s *signer) read() (why string, known bool, err error) {
	text, err := os.ReadFile(filepath.Join(s.home, recordFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", false, err
	default:
		known = true
		if err := json.Unmarshal(text, &s.record); err != nil {
			why = "the signer's record is damaged"
		}
	}
	text, err = os.ReadFile(filepath.Join(s.home, voteFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if s.record.Voted && why == "" {
			why = "the record of the last vote is gone"
		}
		return why, known, nil
	case err != nil:
		return "", false, err
	}
	var last privval.FilePVLastSignState
	if err := cmtjson.Unmarshal(text, &last); err != nil {
		return "the record of the last vote is damaged", true, nil
	}
	to := &s.pv.LastSignState
	to.Height, to.Round, to.Step, to.Signature, to.SignBytes = last.Height, last.Round, last.Step, last.Signature, last.SignBytes
	s.before = last.Height
	return why, true, nil
}

// save writes the record; it is there after a loss of power.
func (s *signer) save() error {
	text, err := json.Marshal(s.record)
	if err != nil {
		return fmt.Errorf("save signer: %w", err)
	}
	f, err := os.CreateTemp(s.home, recordFile+"-*")
	if err != nil {
		return fmt.Errorf("save signer: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.home, recordFile))
	}
	if err != nil {
		return fmt.Errorf("save signer: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return syncFolder(s.home)
}

// attend tells the signer the chain's time, once the state is open.
func (s *signer) attend(epoch func() uint64, wait time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch, s.wait = epoch, wait
	if s.record.Down == "" {
		return nil
	}
	s.log.Warn("the seat signs nothing until one epoch has gone by without its signature", "cause", s.record.Down)
	s.record.Epoch = max(s.record.Epoch, epoch())
	return s.save()
}

// GetPubKey names the key.
func (s *signer) GetPubKey() (crypto.PubKey, error) { return s.pv.GetPubKey() }

// SignVote signs a vote, unless the seat stands down or has signed another one for this height, round and step.
func (s *signer) SignVote(chain string, vote *cmtproto.Vote) error {
	return s.sign(func() error {
		if err := s.pv.SignVote(chain, vote); err != nil {
			return err
		}
		s.remember(vote.Height, vote.Signature)
		return nil
	})
}

// SignProposal signs a proposal under the same conditions.
func (s *signer) SignProposal(chain string, proposal *cmtproto.Proposal) error {
	return s.sign(func() error { return s.pv.SignProposal(chain, proposal) })
}

func (s *signer) sign(do func() error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if r := recover(); r != nil { // the engine's code has no other way to say that the disk is full
			err = fmt.Errorf("sign: %v", r)
		}
	}()
	if s.closed {
		return errors.New("sign: the node is closing")
	}
	if s.record.Down != "" {
		return errDown
	}
	if !s.record.Voted {
		s.record.Voted = true
		if err := s.save(); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	return syncFolder(s.home)
}

// remember keeps a vote to know it again. Not those of the height at which the process before ended: what else it signed there is not known, and
// comes back from peers when they go on with that height.
func (s *signer) remember(height int64, signature []byte) {
	if height <= s.before {
		return
	}
	if s.from == 0 {
		s.from = height
	}
	s.made[height] = append(s.made[height], signature)
	for ; s.from <= height-keepVotes; s.from++ { // heights of an earlier term too, however long ago it was
		delete(s.made, s.from)
	}
}

// see looks at a signature of the key, wherever it came from, and stands down if it is another's.
func (s *signer) see(height int64, signature []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := &s.pv.LastSignState
	why := ""
	switch {
	case height > last.Height:
		why = fmt.Sprintf("its key signed height %d, this home signed nothing after %d", height, last.Height)
	case s.from > 0 && height >= s.from && !s.mine(height, signature):
		why = fmt.Sprintf("its key signed something else at height %d", height)
	}
	if why != "" {
		s.stand(why)
	}
}

func (s *signer) mine(height int64, signature []byte) bool {
	for _, made := range s.made[height] {
		if bytes.Equal(made, signature) {
			return true
		}
	}
	return bytes.Equal(s.pv.LastSignState.Signature, signature)
}

// stand makes the seat silent from now on.
func (s *signer) stand(why string) {
	if s.record.Down == "" {
		s.log.Warn("the seat signs nothing until one epoch has gone by without its signature", "cause", why)
		s.record.Down = why
	}
	s.again()
}

// again begins the waiting anew.
func (s *signer) again() {
	epoch := s.record.Epoch
	if s.epoch != nil {
		epoch = s.epoch()
	}
	s.since = time.Now()
	if epoch == s.record.Epoch {
		return
	}
	s.record.Epoch = epoch
	if err := s.save(); err != nil {
		s.log.Error("the signer's record cannot be written", "err", err)
	}
}

// rise lets the seat sign again if it has waited long enough. While the node catches up it waits no time at all: what it sees is old.
func (s *signer) rise(synced bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.record.Down == "" {
		return false
	}
	if !synced {
		s.again()
		return false
	}
	now := s.epoch()
	if (now < s.record.Epoch || now-s.record.Epoch < 2) && time.Since(s.since) < s.wait { // whatever number a damaged record holds
		return false
	}
	s.record.Down, s.record.Epoch = "", 0
	if err := s.save(); err != nil {
		s.log.Error("the signer's record cannot be written", "err", err)
	}
	s.log.Info("the seat signs again")
	return true
}

// moves notes that the chain makes blocks. Then the waiting is counted in epochs; time counts only while none is made.
func (s *signer) moves() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
}

// down says why the seat is silent.
func (s *signer) down() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.Down
}

func (s *signer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// watch prepares looking at the engine's votes and blocks for signatures of the node's key. It begins before the engine does.
func (n *Node) watch() (func(context.Context), error) {
	const name, room = "signer", 4000
	bus := n.engine.node.EventBus()
	blocks, err := bus.Subscribe(context.Background(), name, cmttypes.EventQueryNewBlock, room)
	if err != nil {
		return nil, fmt.Errorf("watch blocks: %w", err)
	}
	votes, err := bus.Subscribe(context.Background(), name, cmttypes.EventQueryVote, room)
	if err != nil {
		return nil, fmt.Errorf("watch votes: %w", err)
	}
	me := n.signer.pv.GetAddress()
	return func(ctx context.Context) {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-blocks.Canceled():
				n.lost(ctx, blocks.Err())
				return
			case <-votes.Canceled():
				n.lost(ctx, votes.Err())
				return
			case m := <-blocks.Out():
				n.signer.moves()
				if b, ok := m.Data().(cmttypes.EventDataNewBlock); ok {
					n.seeCommit(me, b.Block.LastCommit)
				}
			case m := <-votes.Out():
				if v, ok := m.Data().(cmttypes.EventDataVote); ok && bytes.Equal(v.Vote.ValidatorAddress, me) {
					n.signer.see(v.Vote.Height, v.Vote.Signature)
				}
			case <-tick.C:
				if n.signer.rise(!n.engine.node.ConsensusReactor().WaitSync()) && n.calm() > n.engine.quiet {
					n.fail(ErrSignAgain)
				}
			}
		}
	}, nil
}

// lost ends Serve when the engine drops what the signer must see: to sign on without looking would be no guard.
func (n *Node) lost(ctx context.Context, err error) {
	if ctx.Err() == nil {
		n.fail(fmt.Errorf("watch votes: %w", err))
	}
}

func (n *Node) seeCommit(me []byte, c *cmttypes.Commit) {
	if c == nil {
		return
	}
	for _, s := range c.Signatures {
		if s.BlockIDFlag != cmttypes.BlockIDFlagAbsent && bytes.Equal(s.ValidatorAddress, me) {
			n.signer.see(c.Height, s.Signature)
		}
	}
}

// place names this home on this computer. A copy has another one.
func place(home string) (string, error) {
	path, err := filepath.Abs(home)
	if err != nil {
		return "", fmt.Errorf("open signer: %w", err)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	sum := sha256.Sum256([]byte("hpips/place/v1\x00" + computer() + "\x00" + path))
	return hex.EncodeToString(sum[:]), nil
}
