package ledger

import (
	"context"

	sdkquery "github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/proof"
)

// PieceHolder is a node that keeps segments of the archive and parts of deals, and how it does.
type PieceHolder struct {
	Node     string `json:"node"`
	Standing string `json:"standing"` // holding, suspended: it missed its last days, or away: its pieces are others'
	Pieces   uint64 `json:"pieces"`
	Bytes    uint64 `json:"bytes"`             // of all of them, in whole KiB
	Proven   uint64 `json:"proven"`            // last day that it proved, from 1; 0: none
	Missed   uint32 `json:"missed"`            // days since
	Doubted  uint64 `json:"doubted,omitempty"` // until this day the chain itself looks at its answers

	Earning uint64 `json:"earning,omitempty"` // uhpips that its parts of deals bring for a proven day
	Leaving bool   `json:"leaving,omitempty"` // it takes nothing more, and hands over what it keeps
	Offer   uint64 `json:"offer"`             // MiB for parts of deals, with those that it has

	Key     []byte `json:"-"`
	Thinned bool   `json:"-"` // some of its pieces go at the end of the day, and are asked for until then
}

func holderOf(h storagev1.Holder) PieceHolder {
	out := PieceHolder{Node: NodeText(h.Node), Standing: "holding", Pieces: h.Pieces, Bytes: h.Leaves * proof.LeafSize, Proven: h.Proven, Missed: h.Missed, Doubted: h.Doubted,
		Earning: h.Rate, Leaving: h.Leaving > 0, Offer: h.Offer, Key: h.Node, Thinned: h.Thinned}
	switch {
	case h.Away || h.Joined == 0:
		out.Standing = "away"
	case h.Missed > 0:
		out.Standing = "suspended"
	}
	return out
}

// PieceHolders lists all that ever held pieces, by their keys.
func (l *Ledger) PieceHolders(ctx context.Context) ([]PieceHolder, error) {
	all := []PieceHolder{}
	for page := []byte(nil); ; {
		r, err := storagev1.NewQueryClient(l.now()).Holders(ctx, &storagev1.QueryHoldersRequest{Pagination: &sdkquery.PageRequest{Key: page, Limit: 500}})
		if err != nil {
			return nil, err
		}
		for _, h := range r.Holders {
			all = append(all, holderOf(h))
		}
		if r.Pagination == nil || len(r.Pagination.NextKey) == 0 {
			return all, nil
		}
		page = r.Pagination.NextKey
	}
}

// Copies are those of one segment.
type Copies struct {
	Line   [][32]byte // who is to keep it, of all that are there, the best placed first
	Held   [][32]byte // who said that it has it
	Wanted int
	May    bool // the node that was asked about may say that it has it
}

// Copies asks who is to keep a segment and who does, and whether a node may; node may be nil. It is not found while the segment has no place.
func (l *Ledger) Copies(ctx context.Context, segment uint64, node []byte) (Copies, error) {
	r, err := storagev1.NewQueryClient(l.now()).Copies(ctx, &storagev1.QueryCopiesRequest{Segment: segment, Node: node})
	if err != nil {
		return Copies{}, err
	}
	return Copies{keysOf(r.Line), keysOf(r.Held), int(r.Wanted), r.May}, nil
}

func keysOf(raw [][]byte) (keys [][32]byte) {
	for _, b := range raw {
		var key [32]byte
		copy(key[:], b)
		keys = append(keys, key)
	}
	return keys
}

// Kept says what a piece of a holder's row is: a segment of the archive, or, where that is 0, a part of a deal.
type Kept struct {
	Segment uint64
	Part    proof.Part
}

// Task is what a holder is asked on a day. Without leaves nothing is asked.
type Task struct {
	Challenge proof.Challenge
	Leaves    []proof.Leaf // in the order of the challenge
	Of        []Kept       // of which they are
	Auditors  [][32]byte   // drawn for this holder and day
	Needed    int          // of their signatures; 0: there are no auditors
	Holder    PieceHolder
}

// Due tells whether the holder has still to answer.
func (t Task) Due() bool { return len(t.Leaves) > 0 && t.Holder.Proven != t.Challenge.Day }

// Doubted tells whether the answer itself has to go to the chain.
func (t Task) Doubted() bool { return t.Needed == 0 || t.Holder.Doubted >= t.Challenge.Day }

// Task asks what a holder is asked today.
func (l *Ledger) Task(ctx context.Context, node [32]byte) (Task, error) {
	r, err := storagev1.NewQueryClient(l.now()).Asked(ctx, &storagev1.QueryAskedRequest{Node: node[:]})
	if err != nil {
		return Task{}, err
	}
	t := Task{Challenge: proof.Challenge{Holder: node, Day: r.Day}, Auditors: keysOf(r.Auditors), Needed: int(r.Needed), Holder: holderOf(r.Holder)}
	copy(t.Challenge.Seed[:], r.Seed)
	for _, p := range r.Places {
		leaf := proof.Leaf{Of: proof.Piece{Size: p.Length}, Place: p.Leaf}
		copy(leaf.Of.Root[:], p.Root)
		t.Leaves, t.Of = append(t.Leaves, leaf), append(t.Of, Kept{p.Segment, proof.Part{Deal: p.Deal, Number: p.Part}})
	}
	return t, nil
}

// SayHold says that a node is there to keep pieces, and which segments it has. The message is free.
func SayHold(node []byte, h proof.Hold, signature []byte) Message {
	return &storagev1.MsgHold{Sender: sender(node), Node: node, Epoch: h.Epoch, Segments: h.Segments, Signature: signature}
}

// Witness is an auditor's signature.
type Witness struct {
	Auditor   [32]byte
	Signature []byte
}

// VouchFor brings what a day's auditors signed about a holder, in the order of their keys. The message is free.
func VouchFor(node []byte, day uint64, by []Witness) Message {
	m := &storagev1.MsgVouch{Sender: sender(node), Node: node, Day: day}
	for _, w := range by {
		m.Witnesses = append(m.Witnesses, storagev1.Witness{Auditor: w.Auditor[:], Signature: w.Signature})
	}
	return m
}

// ProveStored brings a holder's answer to the chain. The message is free.
func ProveStored(node, answer []byte) Message {
	return &storagev1.MsgProve{Sender: sender(node), Answer: answer}
}

// AccuseHolder brings a wrong answer that its holder signed. The message is free.
func AccuseHolder(node, answer []byte) Message {
	return &storagev1.MsgAccuse{Sender: sender(node), Answer: answer}
}

// DoubtHolder makes a holder bring its answers to the chain itself, to the end of the next day; from pays the fee.
func DoubtHolder(from string, node []byte) Message {
	return &storagev1.MsgDoubt{Sender: from, Node: node}
}
