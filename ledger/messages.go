package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	sdkmath "cosmossdk.io/math"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// Pay moves an amount from one account to another.
func Pay(from, to string, a money.Amount) (Message, error) {
	for _, text := range []string{from, to} {
		if err := CheckAddress(text); err != nil {
			return nil, err
		}
	}
	if a == 0 {
		return nil, &job.Failure{Code: job.CodeUsage, Message: "nothing is no amount to send", Hint: "the least is 0.000001 HPIPS"}
	}
	return &banktypes.MsgSend{FromAddress: from, ToAddress: to, Amount: coins(a)}, nil
}

// Burn destroys an amount of the holder's own for ever.
func Burn(holder string, a money.Amount) Message {
	return &supplyv1.MsgBurn{Holder: holder, Amount: sdkmath.NewIntFromUint64(uint64(a))}
}

// Release pays out of one of the five accounts. Only a vote may do it.
func Release(from, to string, a money.Amount) (Message, error) {
	if err := CheckAddress(to); err != nil {
		return nil, err
	}
	return &supplyv1.MsgRelease{Authority: Authority(), From: from, To: to, Amount: sdkmath.NewIntFromUint64(uint64(a))}, nil
}

// Authority is the address in whose name a vote that passed acts.
func Authority() string { return addressText(authtypes.NewModuleAddress(govtypes.ModuleName)) }

// Signatures are all that a registration needs beside its word.
type Signatures struct {
	Node, Consensus, VRF, OwnerKey, Owner []byte
}

// Register brings a node in. The carrier pays and signs the transaction; word is the canonical registration.
func Register(carrier string, word []byte, s Signatures) Message {
	return &registryv1.MsgRegister{Carrier: carrier, Registration: word, NodeSignature: s.Node, ConsensusSignature: s.Consensus, VrfProof: s.VRF,
		OwnerKey: s.OwnerKey, OwnerSignature: s.Owner}
}

// ChangeKeys gives a node that is registered new keys, by the same word.
func ChangeKeys(carrier string, word []byte, s Signatures) Message {
	return &registryv1.MsgChangeKeys{Carrier: carrier, Registration: word, NodeSignature: s.Node, ConsensusSignature: s.Consensus, VrfProof: s.VRF,
		OwnerKey: s.OwnerKey, OwnerSignature: s.Owner}
}

// Retire takes a node out for its owner.
func Retire(owner string, node []byte) Message {
	return &registryv1.MsgRetire{Owner: owner, Node: node}
}

// Errands are the messages that a spending key may send in its owner's name. None of them moves HPIPS or votes.
func Errands() []string {
	return []string{"/hpips.registry.v1.MsgRegister", "/hpips.registry.v1.MsgChangeKeys", "/hpips.registry.v1.MsgDescribe"}
}

// Allow lets spender run the errands of owner, open leases in the owner's name and add to them, and pay the fees of all that out of the owner's account: within
// any day no more than daily, shared out by money.Divide. Whoever steals the spending key gets nothing but these. Less than least (LeastBudget) is refused, because
// it would allow nothing. An allowance that is there is replaced, and its day begins anew; old says that there is one.
func Allow(owner, spender string, daily, least money.Amount, day time.Duration, old bool) ([]Message, error) {
	if err := CheckAddress(spender); err != nil {
		return nil, err
	}
	if daily == 0 {
		return nil, errors.New("an allowance of nothing: revoke it instead")
	}
	if daily < least {
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s HPIPS a day are too few to open a lease and pay for it", daily),
			Hint: fmt.Sprintf("the least is %s HPIPS a day: two fifths of it are for deposits of new leases, a fifth is for fees", least)}
	}
	fees := coins(money.Divide(daily).FeesInPeriod())
	limit, err := feegrant.NewAllowedMsgAllowance(&feegrant.PeriodicAllowance{Period: day, PeriodSpendLimit: fees, PeriodCanSpend: fees},
		[]string{"/cosmos.authz.v1beta1.MsgExec"})
	if err != nil {
		return nil, fmt.Errorf("allowance: %w", err)
	}
	packed, err := codectypes.NewAnyWithValue(limit)
	if err != nil {
		return nil, fmt.Errorf("allowance: %w", err)
	}
	var all []Message
	if old {
		all = append(all, &feegrant.MsgRevokeAllowance{Granter: owner, Grantee: spender})
	}
	all = append(all, &feegrant.MsgGrantAllowance{Granter: owner, Grantee: spender, Allowance: packed})
	for _, errand := range Errands() {
		right, err := codectypes.NewAnyWithValue(authz.NewGenericAuthorization(errand))
		if err != nil {
			return nil, fmt.Errorf("allowance: %w", err)
		}
		all = append(all, &authz.MsgGrant{Granter: owner, Grantee: spender, Grant: authz.Grant{Authorization: right}})
	}
	rights, err := budgets(daily, day)
	if err != nil {
		return nil, fmt.Errorf("allowance: %w", err)
	}
	for _, right := range rights {
		all = append(all, &authz.MsgGrant{Granter: owner, Grantee: spender, Grant: authz.Grant{Authorization: right}})
	}
	return all, nil
}

// Disallow takes an allowance back.
func Disallow(owner, spender string) []Message {
	all := []Message{&feegrant.MsgRevokeAllowance{Granter: owner, Grantee: spender}}
	for _, errand := range append(Errands(), leaseMessages...) {
		all = append(all, &authz.MsgRevoke{Granter: owner, Grantee: spender, MsgTypeUrl: errand})
	}
	return all
}

// Errand is an order by which a spending key sends messages in its owner's name, who pays the fee.
func Errand(spender Signer, owner string, messages ...Message) (Order, error) {
	packed := make([]*codectypes.Any, len(messages))
	for i, m := range messages {
		var err error
		if packed[i], err = codectypes.NewAnyWithValue(m); err != nil {
			return Order{}, fmt.Errorf("errand: %w", err)
		}
	}
	return Order{Signer: spender, Payer: owner, Messages: []Message{&authz.MsgExec{Grantee: spender.Address(), Msgs: packed}}}, nil
}

// Propose puts messages to the vote.
func Propose(proposer, title, summary string, deposit money.Amount, messages ...Message) (Message, error) {
	packed := make([]*codectypes.Any, len(messages))
	for i, m := range messages {
		var err error
		if packed[i], err = codectypes.NewAnyWithValue(m); err != nil {
			return nil, fmt.Errorf("proposal: %w", err)
		}
	}
	p := &govv1.MsgSubmitProposal{Messages: packed, InitialDeposit: coins(deposit), Proposer: proposer, Title: title, Summary: summary}
	if len(packed) == 0 {
		p.Metadata = "text" // the chain wants either
	}
	return p, nil
}

// ballots are the words for a vote.
var ballots = map[string]govv1.VoteOption{"yes": govv1.OptionYes, "no": govv1.OptionNo, "abstain": govv1.OptionAbstain, "veto": govv1.OptionNoWithVeto}

// Vote votes on a proposal: yes, no, abstain or veto.
func Vote(voter string, proposal uint64, choice string) (Message, error) {
	option, ok := ballots[choice]
	if !ok {
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%.20q is no vote", choice), Hint: "vote yes, no, abstain or veto"}
	}
	return &govv1.MsgVote{ProposalId: proposal, Voter: voter, Option: option}, nil
}

// TakeTicket takes out or renews a node's ticket. It is free.
func TakeTicket(node []byte, slot uint64, receipts [][]byte, signature []byte) Message {
	return &committeev1.MsgTicket{Sender: sender(node), Node: node, Slot: slot, Receipts: receipts, Signature: signature}
}

// ClaimSeat brings a winning draw forward. It is free.
func ClaimSeat(node []byte, epoch uint64, proof []byte) Message {
	return &committeev1.MsgClaim{Sender: sender(node), Node: node, Epoch: epoch, Proof: proof}
}

// StepDown asks to leave the seat. It is free.
func StepDown(node []byte, epoch uint64, signature []byte) Message {
	return &committeev1.MsgStepDown{Sender: sender(node), Node: node, Epoch: epoch, Signature: signature}
}

// sender is the address in whose name a node's free messages come: the beginning of the digest of its key.
func sender(node []byte) string {
	sum := sha256.Sum256(node)
	return addressText(sum[:20])
}
