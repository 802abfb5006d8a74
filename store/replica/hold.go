package replica

import (
	"context"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/holder"
)

// Kept is a piece on this disk: what its holder answers audits for, and from what.
type Kept struct {
	holder.Held
	Outline proof.Outline
}

// Load brings the manifest with an address, from this disk or from peers, and reads it. It holds no pin.
func Load(ctx context.Context, s *store.Store, c cid.Cid, from ...peer.ID) (Manifest, error) {
	fail := func(err error) (Manifest, error) { return Manifest{}, fmt.Errorf("manifest %s: %w", c, err) }
	if _, err := s.FetchWithin(ctx, c, MaxManifest+MaxBlock, nil, from...); err != nil {
		return fail(err)
	}
	r, err := s.Open(ctx, c)
	if err != nil {
		return fail(err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, MaxManifest+1))
	if err != nil {
		return fail(err)
	}
	m, err := Parse(b)
	if err != nil {
		return fail(err)
	}
	if m.cid != c {
		return fail(fmt.Errorf("%w: as a file of the profile it is %s", ErrManifest, m.cid))
	}
	return m, nil
}

// Hold brings a piece to this disk from peers, makes it durable and pins it under a name. recorded, if not nil, is what a deal says of it: another piece is holder.ErrPiece, and is not pinned. It may be called again and goes on
// where it stopped. What the piece is made of is checked, and not what it is good for: that the parity in the manifest is that of its leaves is known to who made it, and to who needs it.
func Hold(ctx context.Context, s *store.Store, m Manifest, piece int, name string, recorded *proof.Piece, from ...peer.ID) (Kept, error) {
	k, err := m.hold(ctx, s, piece, name, recorded, from)
	if err != nil {
		return Kept{}, fmt.Errorf("hold piece %d of %s: %w", piece, m.Root, err)
	}
	return k, nil
}

func (m *Manifest) hold(ctx context.Context, s *store.Store, piece int, name string, recorded *proof.Piece, from []peer.ID) (Kept, error) {
	if err := m.has(piece); err != nil {
		return Kept{}, err
	}
	release, err := s.Reserve(ctx)
	if err != nil {
		return Kept{}, err
	}
	defer release()
	links, err := s.Join(ctx, m.files(piece))
	if err != nil {
		return Kept{}, err
	}
	most := 2*int64(links[0].Size) + MaxBlock // with the nodes above its blocks
	if _, err := s.FetchWithin(ctx, links[0].CID, most, nil, from...); err != nil {
		return Kept{}, err
	}
	if err := m.holds(ctx, s); err != nil {
		return Kept{}, err
	}
	return m.keep(ctx, s, piece, links[0].CID, name, recorded)
}

// keep reads a piece whose blocks are here, and pins it.
func (m *Manifest) keep(ctx context.Context, s *store.Store, piece int, c cid.Cid, name string, recorded *proof.Piece) (Kept, error) {
	o, err := holder.Read(ctx, s, c)
	if err != nil {
		return Kept{}, err
	}
	k := Kept{holder.Held{CID: c, Piece: o.Piece()}, o}
	if recorded != nil && k.Piece != *recorded {
		return Kept{}, holder.ErrPiece
	}
	if want := m.Size(piece); k.Piece.Size != want {
		return Kept{}, fmt.Errorf("%w: piece %d has %d bytes, and should have %d", ErrManifest, piece, k.Piece.Size, want)
	}
	return k, s.Pin(ctx, c, name)
}
