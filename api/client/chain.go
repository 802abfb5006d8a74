package client

import (
	"context"
	"net/http"
	"net/url"
)

// ChainStatus is how the node stands on its chain.
type ChainStatus struct {
	ID         string `json:"chainId"`
	Genesis    string `json:"genesis"` // SHA-256 in hex
	Height     int64  `json:"height"`
	Epoch      uint64 `json:"epoch"`
	Seats      int    `json:"seats"` // taken
	Seated     bool   `json:"seated"`
	CatchingUp bool   `json:"catchingUp"`
	Peers      int    `json:"peers"` // nodes of the chain that are connected
	RPC        string `json:"rpc,omitempty"`
	GRPC       string `json:"grpc,omitempty"`
	REST       string `json:"rest,omitempty"`
	Down       string `json:"down,omitempty"` // why the seat signs nothing
}

// Enrolment is a registration with the signatures of the keys that it names; the owner's is the wallet's to give.
type Enrolment struct {
	Word      []byte `json:"registration"` // canonical bytes of spec/sortition.Registration
	Signed    []byte `json:"signed"`       // what the owner signs
	Node      []byte `json:"nodeSignature"`
	Consensus []byte `json:"consensusSignature"`
	VRF       []byte `json:"vrfProof"`
	OwnerKey  []byte `json:"ownerKey,omitempty"`
	Owner     []byte `json:"ownerSignature,omitempty"`
}

// Carried names the transaction that brought a registration in.
type Carried struct {
	Tx string `json:"tx"`
}

// Registration gives what the owner signs to register the node on the chain.
func (c *Client) Registration(ctx context.Context, owner string) (Enrolment, error) {
	var e Enrolment
	err := c.call(ctx, http.MethodGet, "/v1/chain/registration", url.Values{"owner": {owner}}, nil, &e)
	return e, err
}

// Register brings a registration in that the owner has signed.
func (c *Client) Register(ctx context.Context, e Enrolment) (Carried, error) {
	var told Carried
	err := c.call(ctx, http.MethodPost, "/v1/chain/registration", nil, e, &told)
	return told, err
}

// StepDown gives up the node's seat.
func (c *Client) StepDown(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/chain/stepdown", nil, nil, nil)
}
