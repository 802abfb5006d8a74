package ledger

import (
	"context"
	"time"

	"github.com/hpips/hpips/proto/gen/bondv1"
)

// Bond is what is held of a node's pay, as security for its results and its seat.
type Bond struct {
	Assets  []Bonded      `json:"assets"`
	Share   float64       `json:"share"`           // of each pay, until a bond is whole
	Returns time.Duration `json:"-"`               // after it was asked for and the last lease, seat and audit ended
	Seconds uint64        `json:"returnSeconds"`   // the same
	Leaves  bool          `json:"leaves"`          // it was asked for
	Due     *time.Time    `json:"due,omitempty"`   // returns then, if nothing comes between
	Busy    string        `json:"busy,omitempty"`  // what is in the way: lease, seat or audit
	Enough  bool          `json:"enoughForTicket"` // in HPIPS, and neither leaving nor slashed
}

// Bonded is a node's bond in one asset, in base units.
type Bonded struct {
	Denom   string `json:"denom"`
	Held    string `json:"held"`
	Target  string `json:"target"`
	Counts  string `json:"counts"`  // behind its results: nothing while the node leaves
	Slashed bool   `json:"slashed"` // and not whole again
	Before  string `json:"before"`  // what it had before it was slashed; 0: it was not, or is whole again
}

// Bond asks for the bonds of a node. One that never was paid has none.
func (l *Ledger) Bond(ctx context.Context, node []byte) (Bond, error) {
	r, err := bondv1.NewQueryClient(l.now()).Node(ctx, &bondv1.QueryNodeRequest{Node: node})
	if err != nil {
		return Bond{}, err
	}
	rules, err := bondv1.NewQueryClient(l.now()).Params(ctx, &bondv1.QueryParamsRequest{})
	if err != nil {
		return Bond{}, err
	}
	p := rules.Params
	b := Bond{Assets: []Bonded{}, Share: float64(p.HoldPermille) / 1000, Returns: time.Duration(p.ReturnSeconds) * time.Second, Seconds: p.ReturnSeconds, Busy: r.Busy, Enough: r.Enough}
	for _, s := range r.Bonds {
		b.Assets = append(b.Assets, Bonded{s.Bond.Denom, s.Bond.Held.String(), s.Target.String(), s.Counts.String(), s.Bond.Before.IsPositive(), s.Bond.Before.String()})
	}
	if r.Leaving != nil {
		due := time.Unix(r.Leaving.Due, 0).UTC()
		b.Leaves, b.Due = true, &due
	}
	return b, nil
}

// Bonds asks for what is held as bonds of an account's nodes, by asset.
func (l *Ledger) Bonds(ctx context.Context, address string) ([]Coin, error) {
	r, err := bondv1.NewQueryClient(l.now()).Account(ctx, &bondv1.QueryAccountRequest{Address: address})
	if err != nil {
		return nil, err
	}
	return coinsOf(r.Bonds), nil
}

// Leave asks for all bonds of an owner's node.
func Leave(owner string, node []byte) Message { return &bondv1.MsgLeave{Owner: owner, Node: node} }

// Stay takes that back.
func Stay(owner string, node []byte) Message { return &bondv1.MsgStay{Owner: owner, Node: node} }
