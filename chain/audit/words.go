package audit

import (
	"crypto/sha256"
	"encoding/binary"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// What a payer's voucher key signs begins with the name of its word.
const (
	attestPrefix  = "hpips/attestation/v1\x00"
	disputePrefix = "hpips/dispute/v1\x00"
)

// The most of a message that is read.
const (
	MaxPanels = 16
	maxPath   = 64
)

// signed is what the voucher key signs of a message: the chain, and the SHA-256 of its bytes without the signature.
func signed(chain string, bytes []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(len(chain)))
	sum := sha256.Sum256(bytes)
	return append(append(b, chain...), sum[:]...)
}

// SignAttest signs an attestation with the lease's voucher key.
func SignAttest(chain string, m *auditv1.MsgAttest, secret []byte) error {
	bytes, err := attestBytes(m)
	if err == nil {
		m.Signature, err = voucher.SignWord(attestPrefix, signed(chain, bytes), secret)
	}
	return err
}

func attestBytes(m *auditv1.MsgAttest) ([]byte, error) {
	bare := *m
	bare.Signature = nil
	return bare.Marshal()
}

// SignDispute signs a dispute with the lease's voucher key.
func SignDispute(chain string, m *auditv1.MsgDispute, secret []byte) error {
	bytes, err := disputeBytes(m)
	if err == nil {
		m.Signature, err = voucher.SignWord(disputePrefix, signed(chain, bytes), secret)
	}
	return err
}

func disputeBytes(m *auditv1.MsgDispute) ([]byte, error) {
	bare := *m
	bare.Signature = nil
	return bare.Marshal()
}

// checkSigned tells whether a lease's payer signed.
func checkSigned(ctx sdk.Context, prefix string, bytes []byte, err error, signature, key []byte) error {
	if err == nil {
		err = voucher.CheckWord(prefix, signed(ctx.ChainID(), bytes), signature, key)
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
