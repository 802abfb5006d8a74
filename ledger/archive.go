package ledger

import (
	"context"
	"encoding/binary"
	"encoding/hex"

	sdkquery "github.com/cosmos/cosmos-sdk/types/query"
	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/proto/gen/archivev1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
)

// Segment is an entry of the archive's list.
type Segment struct {
	Number uint64 `json:"number"`
	From   int64  `json:"from"`
	To     int64  `json:"to"`
	CID    string `json:"cid"`
	Root   string `json:"root"`   // of the audit tree over its bytes
	Bytes  uint64 `json:"bytes"`  // of its file
	Height int64  `json:"height"` // block in which it was recorded

	Entry proof.Entry      `json:"-"`
	Point *placement.Point `json:"-"` // nil until the first seed after it was recorded
}

func entryOf(e archivev1.Entry) proof.Entry {
	out := proof.Entry{Number: e.Number, From: e.From, To: e.To, Address: e.Address, Piece: proof.Piece{Size: e.Length}}
	copy(out.Piece.Root[:], e.Root)
	return out
}

// Segments lists the archive from a number on; 1 is the first.
func (l *Ledger) Segments(ctx context.Context, from uint64) ([]Segment, error) {
	all := []Segment{}
	for page := binary.BigEndian.AppendUint64(nil, from); ; {
		r, err := archivev1.NewQueryClient(l.now()).Segments(ctx, &archivev1.QuerySegmentsRequest{Pagination: &sdkquery.PageRequest{Key: page, Limit: 500}})
		if err != nil {
			return nil, err
		}
		for _, s := range r.Segments {
			e := entryOf(s.Entry)
			out := Segment{Number: e.Number, From: e.From, To: e.To, Root: hex.EncodeToString(e.Piece.Root[:]), Bytes: e.Piece.Size, Height: s.Height, Entry: e, Point: pointOf(s.Point)}
			if c, err := cid.Cast(e.Address); err == nil {
				out.CID = c.String()
			}
			all = append(all, out)
		}
		if r.Pagination == nil || len(r.Pagination.NextKey) == 0 {
			return all, nil
		}
		page = r.Pagination.NextKey
	}
}

// Saying is what a seat said of the next segment.
type Saying struct {
	Node  []byte
	Epoch uint64
	Entry proof.Entry
}

// NextSegment is what comes next in the archive, and what was said about it.
type NextSegment struct {
	Number uint64
	From   int64
	Said   []Saying
}

// NextSegment asks what comes next in the archive.
func (l *Ledger) NextSegment(ctx context.Context) (NextSegment, error) {
	r, err := archivev1.NewQueryClient(l.now()).Next(ctx, &archivev1.QueryNextRequest{})
	if err != nil {
		return NextSegment{}, err
	}
	n := NextSegment{Number: r.Number, From: r.From}
	for _, w := range r.Words {
		n.Said = append(n.Said, Saying{w.Node, w.Epoch, entryOf(w.Entry)})
	}
	return n, nil
}

// SaySegment says in an epoch what a seat made of the next segment. The message is free.
func SaySegment(node []byte, epoch uint64, e proof.Entry, signature []byte) Message {
	return &archivev1.MsgSegment{Sender: sender(node), Node: node, Epoch: epoch, Signature: signature,
		Entry: archivev1.Entry{Number: e.Number, From: e.From, To: e.To, Address: e.Address, Root: e.Piece.Root[:], Length: e.Piece.Size}}
}
