package full

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/hpips/hpips/chain"
)

// TrustPeriod is how long a former committee's word is taken for a header: as long as a double signature costs it its seat. Who was
// away for longer needs a trust point from somebody it knows.
const TrustPeriod = 14 * 24 * time.Hour

// Trust is a block that is known to be right, from the owner, from the program, from anybody but the peer that serves the history.
type Trust struct {
	Height int64
	Hash   []byte
}

// ParseTrust reads HEIGHT:HASH.
func ParseTrust(text string) (Trust, error) {
	height, hash, found := strings.Cut(strings.TrimSpace(text), ":")
	t := Trust{}
	var err error
	if t.Height, err = strconv.ParseInt(height, 10, 64); err != nil || t.Height < 1 || !found {
		return Trust{}, fmt.Errorf("trust point %.80q: want HEIGHT:HASH", text)
	}
	if t.Hash, err = hex.DecodeString(hash); err != nil || len(t.Hash) != 32 {
		return Trust{}, fmt.Errorf("trust point %.80q: the hash is 64 hexadecimal digits", text)
	}
	return t, nil
}

// trustField is the name of the trust point in a genesis file. It stands beside the genesis and is no part of it: the genesis and its SHA-256 are the same
// with and without, and nobody signs it. Whoever takes the file takes the word of who gave it; so it counts in a file that the owner has named, and
// never in one that came from a peer.
const trustField = "trust"

// GenesisTrust reads the trust point of a genesis file; nil: it has none.
func GenesisTrust(file []byte) (*Trust, error) {
	var beside struct {
		Trust *string `json:"trust"`
	}
	if err := json.Unmarshal(file, &beside); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	if beside.Trust == nil {
		return nil, nil
	}
	t, err := ParseTrust(*beside.Trust)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	return &t, nil
}

// WithTrust is a genesis, as chain.GenesisBytes writes it, with a trust point beside it.
func WithTrust(genesis []byte, t Trust) ([]byte, error) {
	rest, ok := bytes.CutPrefix(genesis, []byte("{"))
	if had, err := GenesisTrust(genesis); err != nil || had != nil || !ok {
		return nil, errors.Join(err, errors.New("genesis: a trust point is added to one without"))
	}
	return slices.Concat([]byte("{\n  \""+trustField+"\": \""+t.String()+"\","), rest), nil
}

func (t Trust) String() string { return fmt.Sprintf("%d:%X", t.Height, t.Hash) }

// agrees tells whether a block may be the one that is trusted.
func (t *Trust) agrees(height int64, hash []byte) error {
	if t == nil || t.Height != height || bytes.Equal(t.Hash, hash) {
		return nil
	}
	return fmt.Errorf("%w: block %d has the hash %X, the trust point says %X", ErrForged, height, hash, t.Hash)
}

func (c Config) period() time.Duration {
	if c.TrustPeriod > 0 {
		return c.TrustPeriod
	}
	return TrustPeriod
}

// mayStart refuses to take a history on the word of committees that nobody can hold to account any more: a chain without local blocks
// whose genesis is older than the trusting period needs a trust point. Whoever sits in the genesis alone has nobody to be misled by.
func mayStart(c Config, app *chain.App, now time.Time) error {
	age := now.Sub(c.Doc.GenesisTime)
	if c.Trust != nil || age <= c.period() {
		return nil
	}
	alone, err := app.Alone(c.Doc, c.address())
	if err != nil || alone {
		return err
	}
	return fmt.Errorf("%w: the genesis is %d days old, more than the trusting period of %d days: name a block that you know to be right with "+
		"hpips chain join GENESIS --trust HEIGHT:HASH",
		ErrNoTrust, days(age), days(c.period()))
}

// mayGoOn is mayStart for a node that holds blocks: its trust point does not contradict them, and if the newest is older than the trusting
// period, the trust point is no older than that. A chain that stood still meanwhile goes on from the newest, once the owner has named it.
// A development network, whose nodes one desk holds, may be switched off for as long as one likes.
func mayGoOn(c Config, app *chain.App, blocks held, now time.Time) error {
	if c.Trust != nil {
		if known := blocks.LoadBlockMeta(c.Trust.Height); known != nil {
			if err := c.Trust.agrees(c.Trust.Height, known.BlockID.Hash); err != nil {
				return err
			}
		}
	}
	newest := blocks.LoadBlockMeta(blocks.Height())
	if newest == nil || c.Dev {
		return nil
	}
	height, age := newest.Header.Height, now.Sub(newest.Header.Time)
	if age <= c.period() || c.Trust != nil && c.Trust.Height >= height {
		return nil
	}
	alone, err := app.Alone(c.Doc, c.address())
	if err != nil || alone {
		return err
	}
	return fmt.Errorf("%w: the newest block here, %s, is %d days old, more than the trusting period of %d days: name a newer one that you know to be right with "+
		"hpips chain join GENESIS --trust HEIGHT:HASH; or this one, if the chain has stood still since", ErrNoTrust, Trust{height, newest.BlockID.Hash}, days(age), days(c.period()))
}

// held are the blocks that a node has.
type held interface {
	Height() int64
	LoadBlockMeta(height int64) *cmttypes.BlockMeta
}

func (c Config) address() []byte { return ed25519.PrivKey(c.Consensus).PubKey().Address() }

func days(d time.Duration) int { return int(d.Hours() / 24) }
