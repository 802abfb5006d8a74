package placement

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/hpips/hpips/spec/spectest"
)

// TestVectors holds what this package computes against testdata, so that another implementation can check itself.
func TestVectors(t *testing.T) {
	spectest.Vectors(t, map[string]func(*testing.T) any{"logarithms": logVectors, "distances": farVectors, "holders": holderVectors, "parents": parentVectors, "weights": weightVectors})
}

func logVectors(*testing.T) any {
	type vector struct {
		X   uint64 `json:"x,string"`
		Log uint64 `json:"log2,string"` // in units of 2^-57
	}
	var all []vector
	for _, x := range []uint64{1, 2, 3, 5, 10, 1e9, 1<<32 - 1, 1 << 32, 0xb504f333f9de6484, 0x123456789abcdef, 1<<63 - 1, 1 << 63, math.MaxUint64 - 1, math.MaxUint64} {
		all = append(all, vector{x, log2(x)})
	}
	return all
}

func farVectors(*testing.T) any {
	type vector struct {
		Seed  spectest.Octets `json:"seed"`
		Node  spectest.Octets `json:"node"`
		Piece spectest.Octets `json:"piece"`
		At    spectest.Octets `json:"nodePoint"`
		Of    spectest.Octets `json:"piecePoint"`
		Far   uint64          `json:"far,string"`
	}
	var all []vector
	for _, name := range []string{"alice", "bob", "carol"} {
		seed, node, piece := digest("seed "+name), digest("node "+name), digest("piece "+name)
		at, of := NodePoint(seed, node), PiecePoint(seed, piece)
		all = append(all, vector{seed[:], node[:], piece[:], at[:], of[:], far(of, at)})
	}
	return all
}

func holderVectors(t *testing.T) any {
	type node struct {
		ID      spectest.Octets `json:"id"`
		Point   spectest.Octets `json:"point"`
		Owner   string          `json:"owner"`
		Network string          `json:"network"`
		Weight  uint64          `json:"weight"`
		Room    uint64          `json:"room"`
	}
	type drawn struct {
		Piece   spectest.Octets `json:"point"`
		Rules   Rules           `json:"rules"`
		Holders []int           `json:"holders"` // by their places among the nodes
	}
	list := nodes(24, func(i int) uint64 { return uint64(i % 6 * 100) })
	var all struct {
		Nodes  []node  `json:"nodes"`
		Pieces []drawn `json:"pieces"`
	}
	for i := range list {
		list[i].Owner, list[i].Network = fmt.Sprintf("owner %d", i/2), fmt.Sprintf("network %d", i%9)
		n := list[i]
		all.Nodes = append(all.Nodes, node{n.ID[:], n.Point[:], n.Owner, n.Network, n.Weight, n.Room})
	}
	for i := range 4 {
		for _, r := range []Rules{Archive(), {3, 1, 1, 0}, {51, 0, 0, 0}, {51, 2, 0, 0}, {51, 0, 0, 250}} {
			p := piece(i)
			d := drawn{p[:], r, []int{}}
			for _, h := range holders(t, p, list, r) {
				d.Holders = append(d.Holders, slices.IndexFunc(list, func(n Node) bool { return n.ID == h.ID }))
			}
			all.Pieces = append(all.Pieces, d)
		}
	}
	return all
}

func parentVectors(*testing.T) any {
	type vector struct {
		Fan     int   `json:"fan"`
		Holder  int   `json:"holder"`
		Parents []int `json:"parents"`
	}
	var all []vector
	for fan := MinFan; fan <= MaxFan; fan++ {
		for i := range 14 {
			all = append(all, vector{fan, i, slices.Collect(Parents(i, fan))})
		}
	}
	return all
}

func weightVectors(*testing.T) any {
	type vector struct {
		Offered uint64 `json:"offered,string"` // MiB
		Kept    uint64 `json:"kept,string"`
		Weight  uint64 `json:"weight,string"`
		Room    uint64 `json:"room,string"` // where as much is taken as is kept
	}
	var all []vector
	for _, offered := range []uint64{0, 1, 20 << 10, 64 << 10, 64<<10 + 1, 500 << 10, 1 << 20, 4 << 20, math.MaxUint64} {
		for _, kept := range []uint64{0, 1, 100 << 10, 1 << 20, math.MaxUint64} {
			all = append(all, vector{offered, kept, Weight(offered, kept), Room(offered, kept)})
		}
	}
	return all
}
