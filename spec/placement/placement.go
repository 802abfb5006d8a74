// Package placement keeps who holds what: the order of all nodes for a piece, by weighted rendezvous hashing, the holders that are the first in it, and the tree in
// which they pull.
// It promises the same holders on every machine from the same nodes in any order, shares that fit the weights, and that little moves when nodes come and go; it is
// all whole numbers, the logarithm too.
// It leaves it to the chain which nodes there are, what they weigh and what is recorded, and to store how bytes are pulled.
package placement

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Copies is how many holders a segment of the chain's archive has.
const Copies = 51

// The limits of what is placed at once.
const (
	MaxNodes  = 1 << 22
	MaxWeight = 1 << 48
)

// Point is where a node or a piece stands: not its name, which its owner may choose, but what a seed made of that.
type Point [32]byte

const (
	nodePrefix  = "hpips/placed-node/v1\x00"
	piecePrefix = "hpips/placed-piece/v1\x00"
	pairPrefix  = "hpips/placement/v1\x00"
)

// NodePoint is a node's: SHA-256("hpips/placed-node/v1" 0x00 ‖ seed ‖ node key). The seed is the one after the block in which the node was registered, so nobody makes
// keys until one lands where a piece is. It stays for as long as the node is registered.
func NodePoint(seed, node [32]byte) Point { return point(nodePrefix, seed, node) }

// PiecePoint is a piece's: SHA-256("hpips/placed-piece/v1" 0x00 ‖ seed ‖ the piece's ID). The seed is the one after the block in which the piece was recorded, so nobody
// changes a piece until it lands on his nodes. It stays for the life of the piece.
func PiecePoint(seed, piece [32]byte) Point { return point(piecePrefix, seed, piece) }

func point(prefix string, seed, of [32]byte) Point {
	return sha256.Sum256(append(append([]byte(prefix), seed[:]...), of[:]...))
}

// Node is one that may hold pieces.
type Node struct {
	ID             [32]byte // its node key
	Point          Point
	Owner, Network string
	Weight         uint64 // its share of all pieces, as Weight reckons it of what it offers; 0: it takes none. MaxWeight at most
	Room           uint64 // MiB that it may still take; counts where rules have a size
}

// Rules say how many holders there are. An owner or a network has any number of them where its limit is 0. A node without room for the size is passed over.
type Rules struct {
	Copies, PerOwner, PerNetwork int
	Size                         uint64 // MiB of the piece; 0: any node has room
}

// Archive are the rules of the chain's archive: 51 copies, one for an owner and one for a network.
func Archive() Rules { return Rules{Copies: Copies, PerOwner: 1, PerNetwork: 1} }

// Holders gives who holds a piece, the best placed first: the first nodes of its order that have room, and whose owner and network stay within their limits. They are fewer than the
// rules ask for where there are not as many. The order in which nodes come in does not matter; nodes is not changed. A node that comes twice counts once. It refuses what is beyond
// the limits.
func Holders(piece Point, nodes []Node, r Rules) ([]Node, error) {
	q, err := line(piece, nodes, r.Size)
	if err != nil {
		return nil, err
	}
	var holders []Node
	taken, owners, networks := map[[32]byte]bool{}, map[string]int{}, map[string]int{}
	for len(holders) < r.Copies && len(q.list) > 0 {
		n := q.next()
		if taken[n.ID] || r.PerOwner > 0 && owners[n.Owner] >= r.PerOwner || r.PerNetwork > 0 && networks[n.Network] >= r.PerNetwork {
			continue
		}
		taken[n.ID] = true
		owners[n.Owner]++
		networks[n.Network]++
		holders = append(holders, n)
	}
	return holders, nil
}

// line queues every node that weighs something and has room.
func line(piece Point, nodes []Node, size uint64) (*queue, error) {
	if len(nodes) > MaxNodes {
		return nil, fmt.Errorf("placement: %d nodes, at most %d", len(nodes), MaxNodes)
	}
	q := &queue{nodes, make([]candidate, 0, len(nodes))}
	for i := range nodes {
		n := &nodes[i]
		if n.Weight > MaxWeight {
			return nil, fmt.Errorf("placement: a weight of %d, at most %d", n.Weight, int64(MaxWeight))
		}
		if n.Weight > 0 && n.Room >= size {
			q.list = append(q.list, candidate{far(piece, n.Point), n.Weight, i})
		}
	}
	for i := len(q.list)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
	return q, nil
}

// far is how far a piece and a node are from each other, for a node of weight 1: −log₂ u for a u that is drawn by their hash from (0, 1), in units of 2^-57.
func far(piece, node Point) uint64 {
	sum := sha256.Sum256(append(append([]byte(pairPrefix), piece[:]...), node[:]...))
	return 64<<logBits - log2(max(1, binary.BigEndian.Uint64(sum[:])))
}

const logBits = 57

// log2 is log₂ x in units of 2^-57, by squaring what is left behind the leading bit: a square of 2 or more is one more bit (Knuth, The Art of Computer Programming,
// section 1.2.2, exercise 25 and before it). Each square is cut to 64 bits, and so everywhere alike. x is 1 at least.
func log2(x uint64) uint64 {
	whole := bits.Len64(x) - 1
	m := x << (63 - whole) // 2^63 … 2^64 − 1: from 1 to below 2
	log := uint64(whole)
	for range logBits {
		hi, lo := bits.Mul64(m, m)
		two := hi >> 63 // 2 or more
		log = log<<1 | two
		m = hi<<(1-two) | lo>>63&(1-two)
	}
	return log
}
