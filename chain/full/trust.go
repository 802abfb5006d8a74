package full

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"

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
	alone, err := app.Alone(c.Doc, ed25519.PrivKey(c.Consensus).PubKey().Address())
	if err != nil || alone {
		return err
	}
	return fmt.Errorf("%w: the genesis is %d days old, more than the trusting period of %d days: name a block that you know to be right with --trust HEIGHT:HASH",
		ErrNoTrust, int(age.Hours()/24), int(c.period().Hours()/24))
}
