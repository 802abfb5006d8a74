// Package chaintest makes the people of chain tests: each name always has the same keys.
// It promises registrations and transactions that a chain takes, so that a test can spoil one thing at a time.
// A Chronicle is a whole chain of theirs, whose states a test can forge. It leaves running a chain node to the tests.
package chaintest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/client/tx"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/hpips/hpips/chain"
	registryv1 "github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/spec/sortition"
)

// Person owns one node.
type Person struct {
	Name                 string
	Node, Consensus, VRF ed25519.PrivateKey
	Owner                *secp256k1.PrivKey
	Capabilities         []byte // SHA-256 of what the node says that it has; none: it says nothing
}

// New gives the person of a name.
func New(name string) Person {
	key := func(use string) ed25519.PrivateKey {
		seed := sha256.Sum256([]byte(use + "/" + name))
		return ed25519.NewKeyFromSeed(seed[:])
	}
	return Person{
		Name: name, Node: key("node"), Consensus: key("consensus"), VRF: key("vrf"),
		Owner: secp256k1.GenPrivKeyFromSecret([]byte("owner/" + name)),
	}
}

// Account is the owner's address.
func (p Person) Account() sdk.AccAddress { return sdk.AccAddress(p.Owner.PubKey().Address()) }

// Address is the owner's address as text.
func (p Person) Address() string {
	text, err := sdk.Bech32ifyAddressBytes(chain.Prefix, p.Account())
	if err != nil {
		panic(err)
	}
	return text
}

// ID is the node's key.
func (p Person) ID() sortition.Key { return sortition.Key(p.Node.Public().(ed25519.PublicKey)) }

// ConsensusAddress is how the engine calls the node's vote key.
func (p Person) ConsensusAddress() []byte {
	sum := sha256.Sum256(p.Consensus.Public().(ed25519.PublicKey))
	return sum[:20]
}

// Registration is the word that binds the person's keys, with all signatures.
func (p Person) Registration(chainID string, height int64) (chain.GenesisNode, error) {
	r := sortition.Registration{
		Chain: chainID, Node: p.ID(), Consensus: sortition.Key(p.Consensus.Public().(ed25519.PublicKey)),
		VRF: sortition.Key(p.VRF.Public().(ed25519.PublicKey)), Owner: p.Address(), Capabilities: p.Capabilities, Height: height,
	}
	word, err1 := r.Bytes()
	node, err2 := r.Sign(p.Node)
	votes, err3 := r.Sign(p.Consensus)
	proof, err4 := r.Prove(p.VRF)
	signed, err5 := r.Signed()
	owner, err6 := p.Owner.Sign(signed)
	return chain.GenesisNode{
		Registration: word, NodeSignature: node, ConsensusSignature: votes, VRFProof: proof[:],
		OwnerKey: p.Owner.PubKey().Bytes(), OwnerSignature: owner,
	}, errors.Join(err1, err2, err3, err4, err5, err6)
}

// Register is the message by which a carrier brings the person's node in.
func (p Person) Register(chainID string, height int64, carrier Person) (*registryv1.MsgRegister, error) {
	n, err := p.Registration(chainID, height)
	return &registryv1.MsgRegister{
		Carrier: carrier.Address(), Registration: n.Registration, NodeSignature: n.NodeSignature, ConsensusSignature: n.ConsensusSignature,
		VrfProof: n.VRFProof, OwnerKey: n.OwnerKey, OwnerSignature: n.OwnerSignature,
	}, err
}

// Genesis is a development chain whose seats are the people's, each with 1,000 HPIPS out of community.
func Genesis(chainID string, people ...Person) (chain.Genesis, error) {
	g := chain.Genesis{Network: chain.Dev, ChainID: chainID, Time: time.Now()}
	for _, p := range people {
		n, err := p.Registration(chainID, 0)
		if err != nil {
			return g, fmt.Errorf("%s: %w", p.Name, err)
		}
		g.Seats = append(g.Seats, n)
		g.Grants = append(g.Grants, chain.Grant{Address: p.Address(), Amount: 1_000_000_000, From: "community", Label: "dev"})
	}
	return g, nil
}

// Message is one message of a transaction.
type Message = sdk.Msg

// Coins are uhpips.
func Coins(amount int64) sdk.Coins { return sdk.NewCoins(sdk.NewInt64Coin(chain.Base, amount)) }

// Sender is the address of the person's node, from which its free messages come.
func Sender(p Person) string {
	sum := sha256.Sum256(p.Node.Public().(ed25519.PublicKey))
	text, err := sdk.Bech32ifyAddressBytes(chain.Prefix, sum[:20])
	if err != nil {
		panic(err)
	}
	return text
}

// Send is a transfer.
func Send(from, to Person, amount int64) sdk.Msg { return SendTo(from, to.Account(), amount) }

// SendTo is a transfer to any account.
func SendTo(from Person, to sdk.AccAddress, amount int64) sdk.Msg {
	return banktypes.NewMsgSend(from.Account(), to, Coins(amount))
}

// Envelope is what a transaction carries besides its messages.
type Envelope struct {
	ChainID           string
	Account, Sequence uint64
	Gas               uint64 // 0: plenty
	Fee               sdk.Coins
	Granter           sdk.AccAddress // who pays the fee by a grant; none: the signer
	Memo              string
	Mode              signing.SignMode // 0: direct
}

// Sign makes a transaction of one signer.
func Sign(codec chain.Codec, p Person, e Envelope, messages ...sdk.Msg) ([]byte, error) {
	if e.Mode == 0 {
		e.Mode = signing.SignMode_SIGN_MODE_DIRECT
	}
	if e.Gas == 0 {
		e.Gas = 1_000_000
	}
	b := codec.Tx.NewTxBuilder()
	if err := b.SetMsgs(messages...); err != nil {
		return nil, err
	}
	b.SetGasLimit(e.Gas)
	b.SetFeeAmount(e.Fee)
	b.SetFeeGranter(e.Granter)
	b.SetMemo(e.Memo)
	if err := sign(codec.Tx, b, p, e); err != nil {
		return nil, fmt.Errorf("sign as %s: %w", p.Name, err)
	}
	return codec.Tx.TxEncoder()(b.GetTx())
}

// SignBytes are the bytes that a signer sees and signs.
func SignBytes(codec chain.Codec, p Person, e Envelope, messages ...sdk.Msg) ([]byte, error) {
	b := codec.Tx.NewTxBuilder()
	if err := b.SetMsgs(messages...); err != nil {
		return nil, err
	}
	b.SetGasLimit(1)
	signer := authsigning.SignerData{
		ChainID: e.ChainID, AccountNumber: e.Account, Sequence: e.Sequence, PubKey: p.Owner.PubKey(), Address: p.Address(),
	}
	return authsigning.GetSignBytesAdapter(context.Background(), codec.Tx.SignModeHandler(), e.Mode, signer, b.GetTx())
}

func sign(config client.TxConfig, b client.TxBuilder, p Person, e Envelope) error {
	empty := signing.SignatureV2{PubKey: p.Owner.PubKey(), Data: &signing.SingleSignatureData{SignMode: e.Mode}, Sequence: e.Sequence}
	if err := b.SetSignatures(empty); err != nil {
		return err
	}
	signer := authsigning.SignerData{
		ChainID: e.ChainID, AccountNumber: e.Account, Sequence: e.Sequence, PubKey: p.Owner.PubKey(), Address: p.Address(),
	}
	done, err := tx.SignWithPrivKey(context.Background(), e.Mode, signer, b, p.Owner, config, e.Sequence)
	if err != nil {
		return err
	}
	return b.SetSignatures(done)
}
