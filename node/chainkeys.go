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
func LoadChainKeys(home string) (ChainKeys, error) {
	var k ChainKeys
	for _, one := range []struct {
		name string
		to   *ed25519.PrivateKey
	}{{"node.key", &k.Node}, {vrfKeyFile, &k.VRF}} {
		key, err := loadKey(home, one.name)
		if err != nil {
			return k, err
		}
		raw, err := key.Raw()
		if err != nil {
			return k, fmt.Errorf("%s: %w", one.name, err)
		}
		*one.to = raw
	}
	var err error
	k.Consensus, err = loadConsensusKey(filepath.Join(home, "keys", consensusKeyFile))
	return k, err
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
			return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("the key %s is damaged", file), Hint: "put your copy of it there; without one, delete it and register the new key (hpips chain ticket says how)"}
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
