package audit

import (
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// The most of a message that is read.
const (
	MaxPanels = 16
	maxPath   = 64
)

// checkSigned tells whether a lease's payer signed what a message says without its signature.
func checkSigned(ctx sdk.Context, use voucher.Use, bare interface{ Marshal() ([]byte, error) }, signature, key []byte) error {
	b, err := bare.Marshal()
	if err == nil {
		err = voucher.CheckMessage(use, ctx.ChainID(), b, signature, key)
	}
	if err != nil {
		return ErrSignature.Wrap(err.Error())
	}
	return nil
}

// PanelMatter is what the jurors of a panel of an audit are drawn for.
func PanelMatter(chain string, a auditv1.Audit, panel uint64) trust.Matter {
	return trust.Matter{Chain: chain, Node: [32]byte(a.Node), Sequence: a.Sequence, Place: panel, Seed: [32]byte(a.Seed)}
}

// RoundMatter is what the jurors of a round of a dispute are drawn for.
func RoundMatter(chain string, d auditv1.Dispute) trust.Matter {
	return trust.Matter{Chain: chain, Node: [32]byte(d.Node), Sequence: d.Sequence, Place: d.Id, Round: uint64(d.Round), Seed: [32]byte(d.Seed)}
}

// Places is how many jurors a round has.
func Places(round uint32) int {
	if round == 1 {
		return trust.Second
	}
	return trust.Third
}

// key reads a node key or another value of 32 bytes.
func key(b []byte) (sortition.Key, error) {
	id, err := sortition.KeyOf(b)
	if err != nil {
		return id, ErrMalformed.Wrap(err.Error())
	}
	return id, nil
}
