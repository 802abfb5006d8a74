package requester

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
)

// errNoHearing is for matters that are not this node's, or over.
var errNoHearing = errors.New("hearing: no such audit or dispute of this node's leases is open")

// Hear answers a juror; from is who is at the other end of the connection. It may be called at any time, also before Serve.
func (r *Requester) Hear(ctx context.Context, from peer.ID, req []byte) ([]byte, error) {
	if r.deps.Court == nil {
		return nil, errNoHearing
	}
	a, err := lease.ReadAsk(req)
	if err != nil {
		return nil, err
	}
	key, err := nodeKey(from)
	if err != nil {
		return nil, err
	}
	proof, err := sortition.ProofOf(a.Proof)
	if err != nil {
		return nil, fmt.Errorf("hearing: %w", err)
	}
	var h lease.Heard
	if a.Round > 0 {
		h, err = r.hearRound(ctx, a, key, proof)
	} else {
		h, err = r.hearPanel(ctx, a, key, proof)
	}
	if err != nil {
		return nil, err
	}
	return canon.Encode(h)
}

// nodeKey is the node key that a peer ID holds.
func nodeKey(p peer.ID) (key [32]byte, err error) {
	public, err := p.ExtractPublicKey()
	if err != nil {
		return key, fmt.Errorf("hearing: peer %s holds no key: %w", p, err)
	}
	raw, err := public.Raw()
	if err != nil || len(raw) != len(key) {
		return key, fmt.Errorf("hearing: the key of peer %s is not a node's", p)
	}
	return [32]byte(raw), nil
}

// hearRound gives a juror of a dispute the statement that it is about. What it finds, it tells the chain.
func (r *Requester) hearRound(ctx context.Context, a lease.Ask, juror [32]byte, proof sortition.Proof) (lease.Heard, error) {
	d, err := r.round(ctx, a)
	if err != nil {
		return lease.Heard{}, err
	}
	places := trust.Second
	if a.Round == 2 {
		places = trust.Third
	}
	if _, err := r.deps.Court.Admit(ctx, d.Matter, places, juror, proof); err != nil {
		return lease.Heard{}, fmt.Errorf("hearing: %w", err)
	}
	s, err := r.stated(ctx, d.Lease, d.Place, d.Place+1)
	return lease.Heard{Statements: []lease.Statement{s}}, err
}

// hearPanel is a juror's way through a panel: what to look at, its commitment, what it found.
func (r *Requester) hearPanel(ctx context.Context, a lease.Ask, juror [32]byte, proof sortition.Proof) (lease.Heard, error) {
	p, err := r.panel(ctx, a)
	if err != nil {
		return lease.Heard{}, err
	}
	j, err := r.deps.Court.Admit(ctx, p.matter(), p.hearing.Jurors, juror, proof)
	if err != nil {
		return lease.Heard{}, fmt.Errorf("hearing: %w", err)
	}
	switch {
	case a.Vote != nil:
		stage, err := r.bind(p, j, proof, *a.Vote)
		return lease.Heard{Stage: stage}, err
	case a.Voice != nil:
		return r.listen(p, j, *a.Voice)
	}
	r.mu.Lock()
	filled := p.of(juror) == nil && !p.takes(j)
	r.mu.Unlock()
	if filled {
		return lease.Heard{Stage: lease.StageFilled}, nil
	}
	all, err := r.statements(ctx, p)
	if err == nil && len(all) > 0 && r.byChance(ctx, all[0].Work.Module) {
		return lease.Heard{}, errChance
	}
	return lease.Heard{Statements: all}, err
}

// errChance is for panels about whose program jurors can tell nothing: nobody is asked to run it, so that nothing of it is disputed, and the audit is passed.
var errChance = errors.New("hearing: the program is not deterministic: no jury is asked about it any more")

// bind gives a juror a place, or tells whether all are taken.
func (r *Requester) bind(p *panel, j Juror, proof sortition.Proof, v lease.Vote) (lease.Stage, error) {
	if err := p.matter().CheckVoice(j.Node, v.Commitment, v.Work, v.Signature); err != nil {
		return "", fmt.Errorf("hearing: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s, waiting := p.of(j.Node), !p.full()
	switch {
	case s == nil && !p.takes(j):
		return lease.StageFilled, nil
	case s == nil:
		s = &seat{juror: j, vote: v, word: Testimony{Juror: j.Node, Proof: proof, Signature: v.Signature}}
		p.seats = append(p.seats, s)
	case s.vote.Commitment != v.Commitment || s.vote.Work != v.Work:
		return "", errors.New("hearing: this juror is bound to something else")
	case s.spoken:
		return lease.StageHeard, nil
	}
	if waiting { // from when all are bound it is heard of by what it reveals
		s.heard = r.now()
	}
	if p.full() {
		return lease.StageCommitted, nil
	}
	return lease.StageWaiting, nil
}

// listen takes what a juror found once all are bound.
func (r *Requester) listen(p *panel, j Juror, v lease.Voice) (lease.Heard, error) {
	r.mu.Lock()
	s := p.of(j.Node)
	full := p.full()
	r.mu.Unlock()
	switch {
	case s == nil:
		return lease.Heard{}, errors.New("hearing: this juror has no place")
	case !full:
		return lease.Heard{}, errors.New("hearing: nobody reveals before all are bound")
	case uint64(len(v.Says)) != p.count() || trust.Commitment(trust.Sum(v.Says), j.Node, v.Salt) != s.vote.Commitment:
		return lease.Heard{}, errors.New("hearing: that does not open the commitment")
	}
	r.mu.Lock()
	if !s.spoken { // whoever judges reads it
		s.word.Says, s.word.Salt, s.spoken = v.Says, v.Salt, true
	}
	all := p.spoken() && !p.judged
	r.mu.Unlock()
	if all {
		select {
		case r.heard <- struct{}{}: // attend tells the chain
		default:
		}
	}
	return lease.Heard{Stage: lease.StageHeard}, nil
}

// statements are those of a panel's draws.
func (r *Requester) statements(ctx context.Context, p *panel) ([]lease.Statement, error) {
	leaves, err := r.drawn(ctx, p)
	if err != nil {
		return nil, err
	}
	all := make([]lease.Statement, len(leaves))
	for i, l := range leaves {
		if i > 0 && leaves[i-1].place == l.place {
			all[i] = all[i-1]
			continue
		}
		if all[i], err = r.Statement(ctx, l.lease, l.Index); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// stated is the statement of the leaf at a place under the root of size.
func (r *Requester) stated(ctx context.Context, of [32]byte, place, size uint64) (lease.Statement, error) {
	id, _, err := r.known(ctx, of)
	if err != nil {
		return lease.Statement{}, err
	}
	shown, err := r.Leaf(ctx, id, place, size)
	if err != nil {
		return lease.Statement{}, err
	}
	return r.Statement(ctx, id, shown.Index)
}

// placed is a leaf that a draw fell on.
type placed struct {
	pay.Shown
	lease string
	place uint64
}

// drawn are the leaves that the draws of a panel fall on, in the order of the draws.
func (r *Requester) drawn(ctx context.Context, p *panel) ([]placed, error) {
	h := p.hearing
	id, _, err := r.known(ctx, h.Lease)
	if err != nil {
		return nil, err
	}
	d := h.draw()
	all := make([]placed, p.count())
	for i := range all {
		at, byPlace := d.At(p.first() + uint64(i))
		if !byPlace {
			if at, err = r.journal.placeAt(ctx, id, at); err != nil {
				return nil, err
			}
		}
		if i > 0 && all[i-1].place == at {
			all[i] = all[i-1]
			continue
		}
		shown, err := r.Leaf(ctx, id, at, h.size())
		if err != nil {
			return nil, err
		}
		all[i] = placed{shown, id, at}
	}
	return all, nil
}
