package archive

import (
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
)

// summer passes bytes on and finds what they are called: the CID that they have as a file of the store, and their piece. It keeps one leaf of them.
type summer struct {
	to     io.Writer
	pieces *proof.Outliner
	leaf   []byte
	parts  []store.Link
	size   int64
}

func newSummer(to io.Writer) *summer {
	return &summer{to: to, pieces: proof.NewOutliner(), leaf: make([]byte, 0, leafSize)}
}

func (s *summer) Write(b []byte) (int, error) {
	if s.size += int64(len(b)); s.size > maxCAR {
		return 0, fmt.Errorf("a segment of more than %d bytes", maxCAR)
	}
	if _, err := s.pieces.Write(b); err != nil {
		return 0, err
	}
	for rest := b; len(rest) > 0; {
		n := min(len(rest), leafSize-len(s.leaf))
		s.leaf, rest = append(s.leaf, rest[:n]...), rest[n:]
		if len(s.leaf) == leafSize {
			if err := s.roll(); err != nil {
				return 0, err
			}
		}
	}
	return s.to.Write(b)
}

func (s *summer) roll() error {
	c, err := store.LeafCID(s.leaf)
	if err != nil {
		return err
	}
	n := uint64(len(s.leaf))
	s.parts, s.leaf = append(s.parts, store.Link{CID: c, Size: n, Total: n}), s.leaf[:0]
	return nil
}

// cid ends the file.
func (s *summer) cid() (cid.Cid, error) {
	if len(s.leaf) > 0 || len(s.parts) == 0 {
		if err := s.roll(); err != nil {
			return cid.Undef, err
		}
	}
	if len(s.parts) == 1 {
		return s.parts[0].CID, nil
	}
	node, _, err := store.FileNode(s.parts)
	if err != nil {
		return cid.Undef, err
	}
	return node.Cid(), nil
}
