package execution

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine/image"
	"github.com/hpips/hpips/store"
)

// ErrStalled is for content that is given up.
var ErrStalled = errors.New("nobody sent any of it in time")

// Source is what contents are brought from; *store.Store is one.
type Source interface {
	Resolve(ctx context.Context, ref string) (cid.Cid, error)
	Fetch(ctx context.Context, c cid.Cid, progress func(store.Progress), from ...peer.ID) (int64, error)
	Export(ctx context.Context, c cid.Cid, hostPath string, limit int64, progress func(store.Progress)) error
}

// Bring puts content at a new path of this machine. Past limit bytes it errs with store.ErrTooLarge, after patience without progress with ErrStalled, and
// with what moved errs with. moved is told the bytes that have come so far, and once more from 0 on when they are written to the path.
func Bring(outer context.Context, s Source, ref, host string, limit int64, patience time.Duration, moved func(bytes int64) error, from ...peer.ID) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	stall := time.AfterFunc(patience, func() { cancel(ErrStalled) })
	defer stall.Stop()
	progress := func(p store.Progress) {
		stall.Reset(patience)
		err := moved(p.Bytes)
		if err == nil && p.Bytes > limit+limit/8+(1<<20) { // blocks weigh a little more than their content
			err = store.ErrTooLarge
		}
		if err != nil {
			cancel(err)
		}
	}
	err := func() error {
		c, err := s.Resolve(ctx, ref)
		if err != nil {
			return err
		}
		if _, err := s.Fetch(ctx, c, progress, from...); err != nil {
			return err
		}
		if err := moved(0); err != nil {
			return err
		}
		return s.Export(ctx, c, host, limit, progress)
	}()
	if err != nil && ctx.Err() != nil && outer.Err() == nil {
		return context.Cause(ctx) // why it was ended here says more
	}
	return err
}

// Key is the identity of a program as an engine wants it: the SHA-256 of its file, or of the index of a container image, which names all of the image by its digests.
func Key(path string) (string, error) {
	if info, err := os.Stat(path); err != nil {
		return "", err
	} else if info.IsDir() {
		path = filepath.Join(path, image.Index)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
