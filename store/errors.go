package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"modernc.org/sqlite"
)

var (
	// ErrNotFound means that neither this disk nor any peer asked had the content in time.
	ErrNotFound = errors.New("not found")
	// ErrFull means that the disk, or the quota on it, has no room for the block.
	ErrFull = errors.New("no space left")
	// ErrExists means that the target of an export is already there.
	ErrExists = errors.New("target exists")
	// ErrTooLarge means that content is larger than the caller or the configuration allows.
	ErrTooLarge = errors.New("too large")
	// ErrUnsafe means that a tree holds a name or link that could reach outside its folder.
	ErrUnsafe = errors.New("unsafe name")
	// ErrReference means that a text is no content address.
	ErrReference = errors.New("not a content address")
)

// hinted is an error with a sentence about what to do now.
type hinted struct {
	error
	advice string
}

// Hint says what a person can do about the error.
func (h hinted) Hint() string { return h.advice }

// Unwrap gives the error itself.
func (h hinted) Unwrap() error { return h.error }

// Error gives the message and the advice.
func (h hinted) Error() string { return h.error.Error() + " (" + h.advice + ")" }

func hint(err error, advice string) error { return hinted{err, advice} }

// sqliteFull is SQLITE_FULL of sqlite3.h.
const sqliteFull = 13

// explain gives errors of the disk a sentinel and a remedy; path is what was being written
// or read.
func explain(err error, path string) error {
	var lite *sqlite.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, errQuota),
		errors.As(err, &lite) && lite.Code()&0xff == sqliteFull:
		return hint(fmt.Errorf("%w for %s: %w", ErrFull, path, err),
			"free some space on that disk, or move the home folder (--home DIR)")
	case errors.Is(err, fs.ErrPermission):
		return hint(err, "check the owner and the mode of "+path)
	}
	return err
}

// missing turns the end of a search into ErrNotFound with the number of peers asked; other
// errors pass.
func (s *Store) missing(op string, c cid.Cid, err error) error {
	if err == nil {
		return nil
	}
	if !ipld.IsNotFound(err) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s %s: %w", op, c, err)
	}
	asked := 0
	if s.host != nil {
		asked = len(s.host.Network().Peers())
	}
	found := fmt.Errorf("%s %s: %w: asked %d peers", op, c, ErrNotFound, asked)
	if errors.Is(err, context.DeadlineExceeded) {
		found = fmt.Errorf("%s %s: %w within the time limit: asked %d peers: %w", op, c, ErrNotFound, asked, context.DeadlineExceeded)
	}
	return hint(found, "check the address, and that a node that has it is running and connected")
}
