package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/hpips/hpips/spec/job"
)

// The keys of a home with which its node takes part in a chain, beside keys/node.key.
const (
	consensusKeyFile = "consensus.key" // signs votes; as CometBFT writes it
	vrfKeyFile       = "vrf.key"       // draws; as keys/node.key is written
)

// ChainKeys are the three keys that a node registers on a chain.
type ChainKeys struct {
	Node, Consensus, VRF ed25519.PrivateKey
}

// LoadChainKeys reads the keys of a home, or makes those that are not there.
func LoadChainKeys(home string) (k ChainKeys, err error) {
	if k.Node, err = loadRawKey(home, "node.key"); err != nil {
		return k, err
	}
	if k.VRF, err = loadRawKey(home, vrfKeyFile); err != nil {
		return k, err
	}
	k.Consensus, err = loadConsensusKey(filepath.Join(home, "keys", consensusKeyFile))
	return k, err
}

func loadRawKey(dir, name string) (ed25519.PrivateKey, error) {
	key, err := loadKey(dir, name)
	if err != nil {
		return nil, err
	}
	raw, err := key.Raw()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return raw, nil
}

// Folders of a home's keys besides those in use: the keys that the chain is to be told of, and those that it was told to forget.
const (
	nextKeysDir = "next"
	oldKeysDir  = "old"
)

// NextChainKeys gives the keys that a home will have: new ones for votes, for the draw, or both, and for the rest those in use. New ones are
// on the disk, beside those in use, when it returns; they stay the same until TakeNextChainKeys, so it may be called again. What an earlier
// call made and this one does not ask for counts as asked for: the chain may know it already.
func NextChainKeys(home string, consensus, vrf bool) (ChainKeys, error) {
	k, err := LoadChainKeys(home)
	if err != nil {
		return k, err
	}
	next := filepath.Join(home, "keys", nextKeysDir)
	if consensus || there(filepath.Join(next, "keys", consensusKeyFile)) {
		if k.Consensus, err = loadConsensusKey(filepath.Join(next, "keys", consensusKeyFile)); err != nil {
			return k, err
		}
	}
	if vrf || there(filepath.Join(next, "keys", vrfKeyFile)) {
		if k.VRF, err = loadRawKey(next, vrfKeyFile); err != nil {
			return k, err
		}
	}
	return k, errors.Join(syncFolder(filepath.Join(next, "keys")), syncFolder(next), syncFolder(filepath.Dir(next)))
}

// TakeNextChainKeys puts the keys of NextChainKeys in the place of those in use, which are kept under keys/old by the height at which the
// chain took the new ones. A node that runs goes on with the old ones until it starts again. It may be repeated; without next keys it does nothing.
func TakeNextChainKeys(home string, height int64) error {
	keys := filepath.Join(home, "keys")
	next, old := filepath.Join(keys, nextKeysDir, "keys"), filepath.Join(keys, oldKeysDir)
	if err := os.MkdirAll(old, 0o700); err != nil {
		return fmt.Errorf("keep old keys: %w", err)
	}
	for _, name := range []string{consensusKeyFile, vrfKeyFile} {
		if !there(filepath.Join(next, name)) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(keys, name))
		if err != nil {
			return fmt.Errorf("keep old keys: %w", err)
		}
		if kept := filepath.Join(old, fmt.Sprintf("%d-%s", height, name)); !there(kept) {
			if err := errors.Join(writeWhole(kept, text), syncFolder(old)); err != nil {
				return err
			}
		}
		if err := os.Rename(filepath.Join(next, name), filepath.Join(keys, name)); err != nil {
			return fmt.Errorf("take new keys: %w", err)
		}
	}
	return errors.Join(syncFolder(keys), os.RemoveAll(filepath.Join(keys, nextKeysDir)))
}

func there(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// syncFolder makes sure that what was put into a folder is there after a loss of power. Windows does that by itself.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// filePV is CometBFT's form of a key that signs votes (privval.FilePVKey, JSON).
type filePV struct {
	Address string   `json:"address"` // hex of the first 20 bytes of SHA-256 of the public key
	PubKey  typedKey `json:"pub_key"`
	PrivKey typedKey `json:"priv_key"`
}

type typedKey struct {
	Type  string `json:"type"`
	Value []byte `json:"value"`
}

const (
	cometPublic  = "tendermint/PubKeyEd25519"
	cometPrivate = "tendermint/PrivKeyEd25519"
)

func loadConsensusKey(file string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(file)
	switch {
	case err == nil:
		var f filePV
		err := json.Unmarshal(text, &f)
		if err != nil || f.PrivKey.Type != cometPrivate || len(f.PrivKey.Value) != ed25519.PrivateKeySize ||
			!ed25519.NewKeyFromSeed(f.PrivKey.Value[:ed25519.SeedSize]).Equal(ed25519.PrivateKey(f.PrivKey.Value)) {
			return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("the key %s is damaged", file), Hint: "put your copy of it there; without one, delete it, start the node, and tell the chain of the new key: hpips chain keys"}
		}
		return f.PrivKey.Value, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("consensus key: %w", err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("consensus key: %w", err)
	}
	sum := sha256.Sum256(public)
	text, err = json.MarshalIndent(filePV{
		Address: strings.ToUpper(hex.EncodeToString(sum[:20])),
		PubKey:  typedKey{cometPublic, public},
		PrivKey: typedKey{cometPrivate, private},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("consensus key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("consensus key: %w", err)
	}
	return private, writeWhole(file, append(text, '\n'))
}
