package full

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/privval"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/spec/sortition"
)

// Why a restart list is refused. That too few signed it, or that a signature is wrong, says spec/sortition.
var (
	ErrRuns         = errors.New("the chain's files cannot be opened: does the node run?")
	ErrOtherChain   = errors.New("the list is for another chain")
	ErrOtherState   = errors.New("the list goes on from another state than this home's")
	ErrOtherGenesis = errors.New("this home's own export is another one")
	ErrEarly        = errors.New("too early to go on by hand")
	ErrSignedOther  = errors.New("this node has signed another list for the same height")
	ErrAside        = errors.New("files of an earlier restart are in the way")
)

const (
	genesisName = "genesis.json"
	nextName    = "genesis.next" // of an accepted list, until it takes the place of the old one
	listName    = "restart.list"
	pinName     = "genesis.sha256"
	pledgeName  = "restart.signed" // HEIGHT:SHA-256 of the last list that this node signed
)

// Halted is the chain folder of a node that does not run.
type Halted struct {
	chain.Standstill
	home string
	doc  *cmttypes.GenesisDoc
	app  *chain.App
}

// OpenHalted opens the folder of a chain node. Close lets go of it.
func OpenHalted(home string, log *slog.Logger) (*Halted, error) {
	text, err := os.ReadFile(filepath.Join(home, genesisName))
	if err != nil {
		return nil, fmt.Errorf("halted chain: %w", err)
	}
	doc, err := chain.ReadGenesis(text)
	if err != nil {
		return nil, fmt.Errorf("halted chain: %w", err)
	}
	data := filepath.Join(home, "data")
	if _, err := os.Stat(filepath.Join(data, "application.db")); err != nil {
		return nil, fmt.Errorf("halted chain: no node has run here: %w", err)
	}
	db, err := dbm.NewGoLevelDB("application", data, nil)
	if err != nil {
		return nil, fmt.Errorf("%w %w", ErrRuns, err)
	}
	app, err := chain.New(chain.Options{ChainID: doc.ChainID, DB: db, Log: sdkLog{log}})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	h := &Halted{home: home, doc: doc, app: app}
	if h.Standstill, err = app.Standstill(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// Close lets go of the files.
func (h *Halted) Close() error { return h.app.Close() }

// Propose makes a list, which nobody has signed: these nodes sit on, as soon as it may be.
func (h *Halted) Propose(seats []sortition.Key, now time.Time) (sortition.RestartList, error) {
	l := sortition.RestartList{Chain: h.ChainID, Height: h.Height, AppHash: [32]byte(h.AppHash), Seats: slices.Clone(seats)}
	l.Time = max(h.Earliest().Unix(), now.Unix())
	slices.SortFunc(l.Seats, func(a, b sortition.Key) int { return bytes.Compare(a[:], b[:]) })
	text, err := h.export(l)
	if err != nil {
		return l, err
	}
	l.Genesis = sha256.Sum256(text)
	_, err = l.Bytes()
	return l, err
}

// Check compares a list with this home's own state, and gives the genesis that it stands for. now bounds what it may say about time. It
// does not look at signatures.
func (h *Halted) Check(l sortition.RestartList, now time.Time) ([]byte, error) {
	first, last := h.Earliest().Unix(), max(h.Earliest().Unix(), now.Unix())+int64(h.Day/time.Second)
	switch {
	case l.Chain != h.ChainID:
		return nil, fmt.Errorf("%w: %s, this one is %s", ErrOtherChain, l.Chain, h.ChainID)
	case l.Height != h.Height || !bytes.Equal(l.AppHash[:], h.AppHash):
		return nil, fmt.Errorf("%w: block %d, %X; this home stands at block %d, %X", ErrOtherState, l.Height, l.AppHash, h.Height, h.AppHash)
	case l.Time < first:
		return nil, fmt.Errorf("%w: its first block is at %s, not before %s", ErrEarly, clock(l.Time), clock(first))
	case l.Time > last:
		return nil, fmt.Errorf("%w: its first block is at %s, more than a day ahead", ErrEarly, clock(l.Time))
	}
	text, err := h.export(l)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(text); sum != l.Genesis {
		return nil, fmt.Errorf("%w: %x, the list says %x", ErrOtherGenesis, sum, l.Genesis)
	}
	return text, nil
}

func (h *Halted) export(l sortition.RestartList) ([]byte, error) {
	doc, err := h.app.Restart(h.doc, l.Seats, time.Unix(l.Time, 0))
	if err != nil {
		return nil, err
	}
	return chain.GenesisBytes(doc)
}

func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

// Sign adds a node's signature to a list that says what this home's own state says. For one height a node signs one list: so there are
// never two that most have signed. instead breaks this rule, for a list that all have given up.
func (h *Halted) Sign(l sortition.RestartList, key ed25519.PrivateKey, instead bool, now time.Time) (sortition.RestartList, error) {
	if _, err := h.Check(l, now); err != nil {
		return l, err
	}
	text, err := l.Signed()
	if err != nil {
		return l, err
	}
	pledge := fmt.Sprintf("%d:%x\n", l.Height, sha256.Sum256(text))
	last, err := os.ReadFile(filepath.Join(h.home, pledgeName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return l, fmt.Errorf("sign restart list: %w", err)
	}
	if !instead && string(last) != pledge && strings.HasPrefix(string(last), strconv.FormatInt(l.Height, 10)+":") {
		return l, ErrSignedOther
	}
	if err := keep(filepath.Join(h.home, pledgeName), []byte(pledge)); err != nil {
		return l, err
	}
	return l.Sign(key)
}

// Accept makes a stopped home go on by a list, and says where what was before lies. What it checks:
//
//  1. The list is for this chain and this state, a day has passed, and this home's own export is the genesis that it names.
//  2. More than half of the nodes of the last three committees have signed it.
//  3. No vote of this home's is as high as the chain will begin: then the record of the last vote stays as it is, and guards on.
//
// What it does is put down first, in the folder that keeps what was before, so that after a loss of power it goes on when it is called again.
// A home that goes on by the list already stays as it is.
func Accept(home string, l sortition.RestartList, now time.Time, log *slog.Logger) (aside string, err error) {
	aside = filepath.Join(home, fmt.Sprintf("before-%d", l.Height))
	if text, err := os.ReadFile(filepath.Join(home, genesisName)); err == nil && sha256.Sum256(text) == l.Genesis {
		return aside, nil
	}
	text, err := begun(aside, l)
	if err != nil {
		return aside, err
	}
	if text == nil {
		if text, err = judge(home, l, now, log); err != nil {
			return aside, err
		}
		if err := begin(aside, l, text); err != nil {
			return aside, err
		}
	}
	return aside, exchange(home, aside, l)
}

// judge makes the three checks.
func judge(home string, l sortition.RestartList, now time.Time, log *slog.Logger) (text []byte, err error) {
	h, err := OpenHalted(home, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if l.Chain != h.ChainID { // before signatures, which are as wrong as the chain
		return nil, fmt.Errorf("%w: %s, this one is %s", ErrOtherChain, l.Chain, h.ChainID)
	}
	if err := l.Check(h.Voters); err != nil {
		return nil, err
	}
	if text, err = h.Check(l, now); err != nil {
		return nil, err
	}
	if now.Unix() < l.Time {
		return nil, fmt.Errorf("%w: the chain goes on at %s", ErrEarly, clock(l.Time))
	}
	return text, unvoted(home, l)
}

// unvoted is the third check.
func unvoted(home string, l sortition.RestartList) error {
	text, err := os.ReadFile(filepath.Join(home, voteFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var last privval.FilePVLastSignState
	if err == nil {
		err = cmtjson.Unmarshal(text, &last)
	}
	if err != nil {
		return fmt.Errorf("accept restart: record of the last vote: %w", err)
	}
	if last.Height >= l.First() {
		return fmt.Errorf("accept restart: this home has signed for height %d, the chain would begin at %d", last.Height, l.First())
	}
	return nil
}

// begun gives the genesis of a restart by this very list that was begun and not ended; nil: none was.
func begun(aside string, l sortition.RestartList) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(aside, nextName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("accept restart: %w", err)
	}
	if sha256.Sum256(text) != l.Genesis {
		return nil, nil // it was cut off while it was written, or another list was tried
	}
	written, err := os.ReadFile(filepath.Join(aside, listName))
	if err != nil {
		return nil, fmt.Errorf("accept restart: %w", err)
	}
	old, err := sortition.ParseRestartList(written)
	if err != nil {
		return nil, err
	}
	if _, err := old.Merge(l); err != nil {
		return nil, err
	}
	return text, nil
}

// begin writes down what was found good. From here on it is done without looking again.
func begin(aside string, l sortition.RestartList, text []byte) error {
	if _, err := os.Stat(filepath.Join(aside, "data")); err == nil {
		return fmt.Errorf("accept restart: %w: %s", ErrAside, aside)
	}
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return fmt.Errorf("accept restart: %w", err)
	}
	list, err := l.Bytes()
	if err != nil {
		return err
	}
	if err := keep(filepath.Join(aside, listName), list); err != nil {
		return err
	}
	return keep(filepath.Join(aside, nextName), text)
}

// exchange moves what was aside, and last of all puts the new genesis in the place of the old one.
func exchange(home, aside string, l sortition.RestartList) error {
	old, err := os.ReadFile(filepath.Join(home, genesisName))
	if err != nil {
		return fmt.Errorf("accept restart: %w", err)
	}
	if err := keep(filepath.Join(aside, genesisName), old); err != nil {
		return err
	}
	for _, name := range []string{"data", "snapshots", "trust", pinName, pledgeName} {
		from, to := filepath.Join(home, name), filepath.Join(aside, name)
		if _, err := os.Stat(to); err == nil && name != pinName {
			if _, err := os.Stat(from); err == nil {
				return fmt.Errorf("accept restart: %w: %s", ErrAside, to)
			}
			continue
		} else if err == nil {
			continue // the pin in the home is the new one already
		}
		if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("accept restart: %w", err)
		}
	}
	if err := keep(filepath.Join(home, pinName), []byte(hex.EncodeToString(l.Genesis[:])+"\n")); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(aside, nextName), filepath.Join(home, genesisName)); err != nil {
		return fmt.Errorf("accept restart: %w", err)
	}
	return errors.Join(syncFolder(aside), syncFolder(home))
}

// keep writes a file that is whole, and there after a loss of power.
func keep(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(name), err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(name), errors.Join(err, os.Remove(f.Name())))
	}
	return syncFolder(filepath.Dir(name))
}
