// Package replica keeps an object of a user in pieces at many holders: copies, or a Reed–Solomon code over the leaves of its UnixFS tree, by the scheme of spec/erasure.
// It promises that the leaves stay what they are, so that a healthy object is read as any content of IPFS without a word of this room; that any Need pieces give it back with its own addresses; that pieces and manifest follow from object
// and scheme alone, byte by byte; and that it needs memory for one stripe, 1 MiB for each piece at most, beside the lists in the manifest.
// It leaves who holds a piece to spec/placement, what is paid and audited to the chain and spec/proof, and how blocks travel to store and to the caller's Source.
package replica

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/erasure"
	"github.com/hpips/hpips/store/holder"
)

// The limits of what can be kept in pieces, and of what is read from outside.
const (
	MaxBlock    = 1 << 20  // bytes of a block of the object: the leaf of the profile unixfs-v1-2025
	MaxBlocks   = 1 << 20  // leaves, and nodes above them: 1 TiB in full leaves
	MaxManifest = 64 << 20 // bytes: 660 GiB in full leaves with RS(20,60)
	maxDepth    = 2048     // nodes above one another, as deep as store measures a tree
)

var (
	// ErrProfile is why an object cannot be kept in pieces as it is: its blocks are not such as the profile unixfs-v1-2025 makes.
	ErrProfile = errors.New("not in the profile unixfs-v1-2025")
	// ErrManifest means that the bytes are no manifest, or that it is not true to its object.
	ErrManifest = errors.New("not a manifest of pieces")
	// ErrLarge means that the object has more blocks than a manifest may list.
	ErrLarge = errors.New("too large to be kept in pieces as one object")
)

// ErrMissing is why an object, or a piece of it, does not come back: of some stripe fewer pieces were to be had than are needed.
type ErrMissing struct {
	Have, Need int   // pieces that gave their part of that stripe, and how many have to
	Pieces     int   // that there are
	Missing    []int // those that did not, by number from 0
	Cause      error // what the last of them that was asked answered; nil where none was
}

// Error tells how many pieces are missing, and which.
func (e ErrMissing) Error() string {
	names := make([]string, len(e.Missing))
	for i, m := range e.Missing {
		names[i] = strconv.Itoa(m)
	}
	text := fmt.Sprintf("%d of %d pieces are missing (%s): %d are there, %d are needed: %d more of their holders have to come back",
		len(e.Missing), e.Pieces, strings.Join(names, ", "), e.Have, e.Need, e.Need-e.Have)
	if e.Cause != nil {
		text += ": the last one that was asked: " + e.Cause.Error()
	}
	return text
}

// Unwrap gives what the last holder answered.
func (e ErrMissing) Unwrap() error { return e.Cause }

// Source brings a block of a piece from who holds that. It may bring anything: bytes are checked, and who sent others, or nothing, is not asked again while others will do. It may be called at the same time for different pieces.
type Source func(ctx context.Context, piece int, c cid.Cid) ([]byte, error)

// Made is what came of an object.
type Made struct {
	Manifest Manifest
	Pieces   []holder.Held // one for each holder: what a deal records
	Folder   cid.Cid       // has all of them as files 000, 001, …; pinned where they were made
}

// check frames what Check finds.
func check(s erasure.Scheme) error {
	if err := s.Check(); err != nil {
		return fmt.Errorf("%w: --copies N and --rs K/N choose another", err)
	}
	return nil
}
