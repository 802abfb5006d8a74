package ledger

import (
	"bytes"
	"context"
	"strconv"

	sdkquery "github.com/cosmos/cosmos-sdk/types/query"
	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/proto/gen/dealv1"
	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/erasure"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/proof"
)

// Deal is an object of a user that others keep for pay. Days are the chain's.
type Deal struct {
	Number   uint64       `json:"number"`
	Payer    string       `json:"payer"`
	CID      string       `json:"cid"`
	Manifest string       `json:"manifest"` // its address: with it and any Need parts the object is back
	Need     int          `json:"need"`
	Parts    int          `json:"parts"`
	Bytes    uint64       `json:"bytes"` // of all parts together
	Price    uint64       `json:"price"` // uhpips for a MiB that began and a day
	Made     uint64       `json:"made"`  // day
	Last     uint64       `json:"last"`  // last day that is paid
	Deposit  money.Amount `json:"deposit"`
	Spent    money.Amount `json:"spent"`   // by holders that keep their part no more
	Kept     int          `json:"kept"`    // parts that somebody keeps
	Renewed  int          `json:"renewed"` // lost parts are made anew when fewer than so many are kept
	Danger   int          `json:"danger"`  // and without waiting for a turn when no more than so many are
	State    string       `json:"state"`   // kept: all parts are; whole: enough are to give the object back; danger: no more than Danger; lost: not so many as it takes; waiting: it is new

	Scheme erasure.Scheme `json:"-"`
	Root   cid.Cid        `json:"-"`
	List   cid.Cid        `json:"-"` // the manifest's address
	Origin [32]byte       `json:"-"` // key of the node that had all parts when the deal was made
	Pieces []proof.Piece  `json:"-"` // as audits see them, one for each part
	Over   bool           `json:"-"`
}

// DealPart is one of a deal's parts, and who keeps it.
type DealPart struct {
	Number int    `json:"number"`
	Node   string `json:"node,omitempty"`
	Since  uint64 `json:"since"`  // day since which that node has it, or nobody
	Proven uint64 `json:"proven"` // last day that its holder proved, from 1; 0: none
	Missed uint32 `json:"missed"` // days since
	State  string `json:"state"`  // kept, missed, leaving, open, or waits: it is nobody's, and enough others are kept
	Why    string `json:"why,omitempty"`

	Key [32]byte `json:"-"`
}

// MiB is how many of each part are paid for: those that began.
func (d Deal) MiB() (sum uint64) {
	for _, p := range d.Pieces {
		sum += (p.Leaves() + proof.SpanLeaves - 1) / proof.SpanLeaves
	}
	return sum
}

// Daily is what a day of all parts costs.
func (d Deal) Daily() money.Amount { return money.Amount(d.MiB() * d.Price) }

func dealOf(d dealv1.Deal) Deal {
	out := Deal{
		Number: d.Number, Payer: d.Payer, Need: int(d.Need), Parts: int(d.Parts), Price: d.Price, Made: d.Made, Last: d.Last, Deposit: money.Amount(d.Deposit), Spent: money.Amount(d.Spent),
		Scheme: erasure.Scheme{Need: int(d.Need), Pieces: int(d.Parts)}, Over: d.Over,
	}
	out.Renewed, out.Danger = out.Scheme.Threshold(), out.Scheme.Danger()
	copy(out.Origin[:], d.Origin)
	out.Root, out.List = addressOf(d.Object), addressOf(d.Manifest)
	out.CID, out.Manifest = out.Root.String(), out.List.String()
	for n := range out.Parts {
		p := d.Pieces[min(n, len(d.Pieces)-1)]
		piece := proof.Piece{Size: p.Length}
		copy(piece.Root[:], p.Root)
		out.Pieces = append(out.Pieces, piece)
		out.Bytes += p.Length
	}
	return out
}

// addressOf reads what the chain has checked.
func addressOf(b []byte) cid.Cid {
	c, err := cid.Cast(b)
	if err != nil {
		return cid.Undef
	}
	return c
}

// Deal reads one that has not ended, and who keeps its parts.
func (l *Ledger) Deal(ctx context.Context, number uint64) (Deal, []DealPart, error) {
	r, err := dealv1.NewQueryClient(l.now()).Deal(ctx, &dealv1.QueryDealRequest{Number: number})
	if err != nil {
		return Deal{}, nil, err
	}
	d := dealOf(r.Deal)
	var parts []DealPart
	fresh := false // a part was never taken
	for n, p := range r.Parts {
		out := DealPart{Number: n, Since: p.Since, Why: p.Why, State: "open"}
		fresh = fresh || p.Why == "new"
		if len(p.Node) == 0 && p.Opened == 0 {
			out.State = "waits"
		}
		if len(p.Node) > 0 {
			t, err := l.Task(ctx, [32]byte(p.Node))
			if err != nil {
				return d, nil, err
			}
			out.Key, out.Node, out.Proven, out.Missed, out.State = [32]byte(p.Node), NodeText(p.Node), t.Holder.Proven, t.Holder.Missed, "kept"
			switch {
			case t.Holder.Leaving:
				out.State = "leaving"
			case t.Holder.Missed > 0:
				out.State = "missed"
			}
			d.Kept++
		}
		parts = append(parts, out)
	}
	switch {
	case d.Kept == d.Parts:
		d.State = "kept"
	case fresh && d.Kept < d.Need:
		d.State = "waiting"
	case d.Kept >= d.Need && (fresh || d.Kept > d.Danger):
		d.State = "whole"
	case d.Kept >= d.Need:
		d.State = "danger"
	default:
		d.State = "lost"
	}
	return d, parts, nil
}

// Keepers are the keys of the nodes that keep parts of an object, those first that have its own leaves.
func (l *Ledger) Keepers(ctx context.Context, object cid.Cid) (keys [][32]byte, err error) {
	list, err := l.DealsAbout(ctx, object)
	if err != nil {
		return nil, err
	}
	var others [][32]byte
	for _, d := range list {
		r, err := dealv1.NewQueryClient(l.now()).Deal(ctx, &dealv1.QueryDealRequest{Number: d.Number})
		if IsNotFound(err) {
			continue // it ended just now
		}
		if err != nil {
			return nil, err
		}
		for n, p := range r.Parts {
			switch {
			case len(p.Node) != 32:
			case n < d.Need || !d.Scheme.Coded():
				keys = append(keys, [32]byte(p.Node))
			default:
				others = append(others, [32]byte(p.Node))
			}
		}
	}
	return append(keys, others...), nil
}

// LastKept tells whether a part that nobody keeps was a node's before: it may take it up again.
func (l *Ledger) LastKept(ctx context.Context, p proof.Part, node []byte) (bool, error) {
	r, err := dealv1.NewQueryClient(l.now()).Deal(ctx, &dealv1.QueryDealRequest{Number: p.Deal})
	if err != nil || p.Number >= uint64(len(r.Parts)) || r.Deal.Over {
		return false, err
	}
	part := r.Parts[p.Number]
	return len(part.Node) == 0 && bytes.Equal(part.Last, node), nil
}

// DealsOf lists the deals that an account pays for, in the order in which they were made.
func (l *Ledger) DealsOf(ctx context.Context, payer string) ([]Deal, error) {
	return l.deals(ctx, dealv1.QueryDealsRequest{Payer: payer})
}

// DealsAbout lists the deals about an object.
func (l *Ledger) DealsAbout(ctx context.Context, object cid.Cid) ([]Deal, error) {
	return l.deals(ctx, dealv1.QueryDealsRequest{Object: object.Bytes()})
}

func (l *Ledger) deals(ctx context.Context, q dealv1.QueryDealsRequest) ([]Deal, error) {
	all := []Deal{}
	for page := []byte(nil); ; {
		q.Pagination = &sdkquery.PageRequest{Key: page, Limit: 100}
		r, err := dealv1.NewQueryClient(l.now()).Deals(ctx, &q)
		if err != nil {
			return nil, err
		}
		for _, d := range r.Deals {
			all = append(all, dealOf(d))
		}
		if r.Pagination == nil || len(r.Pagination.NextKey) == 0 {
			return all, nil
		}
		page = r.Pagination.NextKey
	}
}

// Offers are what a node may take of deals now, and who there is to take some.
type Offers struct {
	Parts    []proof.Part
	Nodes    int // that are there
	Eligible int // of them that offer room, and may keep parts of one deal: those of one owner, or of one network, may count once
}

// Offers asks for parts that a node may take, of deals after a number; node may be nil: only the numbers are asked for.
func (l *Ledger) Offers(ctx context.Context, node []byte, after uint64) (Offers, error) {
	r, err := storagev1.NewQueryClient(l.now()).Offers(ctx, &storagev1.QueryOffersRequest{Node: node, After: after})
	if err != nil {
		return Offers{}, err
	}
	out := Offers{Nodes: int(r.Nodes), Eligible: int(r.Eligible)}
	for _, p := range r.Offers {
		out.Parts = append(out.Parts, proof.Part{Deal: p.Deal, Number: p.Number})
	}
	return out, nil
}

// KeptParts are the parts of deals that a node keeps, those too that go at the end of the day, and how many bytes each has.
func (l *Ledger) KeptParts(ctx context.Context, node []byte) (map[proof.Part]uint64, error) {
	all := map[proof.Part]uint64{}
	for page := []byte(nil); ; {
		r, err := storagev1.NewQueryClient(l.now()).Row(ctx, &storagev1.QueryRowRequest{Node: node, Pagination: &sdkquery.PageRequest{Key: page, Limit: 1000}})
		if err != nil {
			return nil, err
		}
		for _, h := range r.Pieces {
			if h.Deal > 0 {
				all[proof.Part{Deal: h.Deal, Number: h.Part}] = h.Length
			}
		}
		if r.Pagination == nil || len(r.Pagination.NextKey) == 0 {
			return all, nil
		}
		page = r.Pagination.NextKey
	}
}

// StoredPrice is what the community fund pays for a MiB of the archive and a day, in uhpips: what keeping costs, as the last vote saw it.
func (l *Ledger) StoredPrice(ctx context.Context) (uint64, error) {
	r, err := rewardv1.NewQueryClient(l.now()).Params(ctx, &rewardv1.QueryParamsRequest{})
	if err != nil {
		return 0, err
	}
	return r.Params.StoredPrice, nil
}

// Terms are those of a deal that is to be made.
type Terms struct {
	Payer            string
	Object, Manifest cid.Cid
	Scheme           erasure.Scheme
	Pieces           []proof.Piece // one for each part; of copies the first is that of all
	Price            uint64        // uhpips for a MiB that began and a day
	Days             uint64
	Origin           [32]byte // key of the node that has all parts
}

// Pin makes a deal.
func Pin(t Terms) Message {
	m := &dealv1.MsgPin{Payer: t.Payer, Object: t.Object.Bytes(), Manifest: t.Manifest.Bytes(), Need: uint32(t.Scheme.Need), Parts: uint32(t.Scheme.Pieces), //nolint:gosec // a scheme has at most 255
		Price: t.Price, Days: t.Days, Origin: t.Origin[:]}
	for _, p := range t.Pieces {
		m.Pieces = append(m.Pieces, dealv1.Piece{Root: p.Root[:], Length: p.Size})
		if !t.Scheme.Coded() {
			break
		}
	}
	return m
}

// Pinned is the number of the deal that a transaction made; false: it made none.
func Pinned(r Receipt) (uint64, bool) {
	for _, e := range r.Events {
		if n, err := strconv.ParseUint(e.Attributes["deal"], 10, 64); e.Type == "hpips_deal" && err == nil {
			return n, true
		}
	}
	return 0, false
}

// ExtendDeal pays for more days of one's own deal.
func ExtendDeal(payer string, deal, days uint64) Message {
	return &dealv1.MsgExtend{Payer: payer, Deal: deal, Days: days}
}

// Unpin ends one's own deal with this day.
func Unpin(payer string, deal uint64) Message {
	return &dealv1.MsgUnpin{Payer: payer, Deal: deal}
}

// SayKeep says which parts of deals a node has; or how much it offers for them, and whether it leaves. The message is free.
func SayKeep(node []byte, k proof.Keep, signature []byte) Message {
	m := &storagev1.MsgKeep{Sender: sender(node), Node: node, Epoch: k.Epoch, Leaves: k.Leaves, Offer: k.Offer, Signature: signature}
	for _, p := range k.Parts {
		m.Parts = append(m.Parts, storagev1.Part{Deal: p.Deal, Number: p.Number})
	}
	return m
}
