package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	"github.com/ipfs/boxo/verifcid"
	"github.com/ipfs/go-cid"
)

const maxRef = 8 << 10 // bytes of a reference

// Resolve turns "CID", "CID/path", "ipfs://CID/path" or "/ipfs/CID/path" into the CID that
// it means, walking directories, over the network when need be. A text of another form is
// ErrReference, a name that a directory lacks is ErrNotFound.
func (s *Store) Resolve(ctx context.Context, ref string) (cid.Cid, error) {
	c, names, err := parseRef(ref)
	if err != nil {
		return cid.Undef, err
	}
	for i, name := range names {
		if c, err = s.child(ctx, c, name); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("no entry %q there: %w", name, ErrNotFound)
			}
			return cid.Undef, fmt.Errorf("resolve %s: at %q: %w", ref, strings.Join(names[:i+1], "/"), err)
		}
	}
	return c, nil
}

// parseRef splits a reference into its root and the names below it.
func parseRef(ref string) (cid.Cid, []string, error) {
	bad := func(why string) (cid.Cid, []string, error) {
		shown := ref
		if len(shown) > 80 {
			shown = shown[:80] + "…"
		}
		return cid.Undef, nil, hint(fmt.Errorf("%w: %q: %s", ErrReference, shown, why),
			"give a CID, ipfs://CID/path or /ipfs/CID/path")
	}
	if len(ref) > maxRef {
		return bad("too long")
	}
	rest, isURL := strings.CutPrefix(ref, "ipfs://")
	if !isURL {
		rest = strings.TrimPrefix(ref, "/ipfs/")
	}
	root, path, _ := strings.Cut(rest, "/")
	c, err := cid.Decode(root)
	if err != nil {
		return bad(err.Error())
	}
	if err := verifcid.ValidateCid(verifcid.DefaultAllowlist, c); err != nil {
		return bad(err.Error())
	}
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return c, nil, nil
	}
	names := strings.Split(path, "/")
	for i, name := range names {
		if isURL {
			if name, err = url.PathUnescape(name); err != nil {
				return bad(err.Error())
			}
			names[i] = name
		}
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || len(name) > maxName {
			return bad(fmt.Sprintf("name %q in the path", name))
		}
	}
	return c, names, nil
}

// child looks one name up in the directory c; fs.ErrNotExist when it is not there.
func (s *Store) child(ctx context.Context, c cid.Cid, name string) (cid.Cid, error) {
	node, err := s.dag.Get(ctx, c)
	if err != nil {
		return cid.Undef, s.missing("look up", c, err)
	}
	dir, ok := node.(*merkledag.ProtoNode)
	if !ok {
		return cid.Undef, errNoDir
	}
	info, err := unixfs.FSNodeFromBytes(dir.Data())
	if err != nil {
		return cid.Undef, err
	}
	switch info.Type() {
	case unixfs.TDirectory:
		link, err := dir.GetNodeLink(name)
		if errors.Is(err, merkledag.ErrLinkNotFound) {
			return cid.Undef, fs.ErrNotExist
		}
		if err != nil {
			return cid.Undef, err
		}
		return link.Cid, nil
	case unixfs.THAMTShard:
		shard, err := hamt.NewHamtFromDag(s.dag, node)
		if err != nil {
			return cid.Undef, err
		}
		link, err := shard.Find(ctx, name)
		if err != nil {
			return cid.Undef, err // os.ErrNotExist when absent
		}
		return link.Cid, nil
	}
	return cid.Undef, errNoDir
}

var errNoDir = errors.New("not a directory")
