package seat

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/sortition"
)

// maxSlotFile bounds the testimony for one slot: that of 64 observers is far more than rules ask for.
const (
	maxSlotFile  = maxTestimony * sortition.MaxReceipt
	maxTestimony = 64
)

// receipts keeps the testimony for this node: a file for each slot, named by its number, that holds the receipts as they were signed.
type receipts struct {
	dir  string
	self sortition.Key

	mu    sync.Mutex
	slots map[uint64]map[sortition.Key]kept // by observer
}

// kept is one receipt.
type kept struct {
	chain   string
	network string
	bytes   []byte
}

// openReceipts reads what an earlier life gathered. A file that is no testimony is told of and removed: it can be gathered again.
func openReceipts(log *slog.Logger, dir string, self sortition.Key) (*receipts, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("testimony: %w", err)
	}
	k := &receipts{dir: dir, self: self, slots: map[uint64]map[sortition.Key]kept{}}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("testimony: %w", err)
	}
	for _, e := range list {
		slot, err := strconv.ParseUint(e.Name(), 10, 64)
		if err == nil {
			err = k.load(slot)
		}
		if err != nil {
			log.Warn("Testimony cannot be read and is gathered anew", "file", e.Name(), "err", err)
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("testimony: %w", err)
			}
		}
	}
	return k, nil
}

func (k *receipts) load(slot uint64) error {
	name := k.file(slot)
	fi, err := os.Stat(name)
	if err != nil {
		return err
	}
	if fi.Size() > maxSlotFile {
		return fmt.Errorf("%d bytes", fi.Size())
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var list [][]byte
	if err := canon.Decode(text, maxSlotFile, &list); err != nil {
		return err
	}
	for _, b := range list {
		r, err := sound(b)
		if err != nil {
			return err
		}
		if r.Node != k.self || r.Slot != slot {
			return errors.New("it is about something else")
		}
		k.put(r, b)
	}
	return nil
}

func (k *receipts) file(slot uint64) string {
	return filepath.Join(k.dir, strconv.FormatUint(slot, 10))
}

func (k *receipts) put(r sortition.Receipt, b []byte) {
	if k.slots[r.Slot] == nil {
		k.slots[r.Slot] = map[sortition.Key]kept{}
	}
	k.slots[r.Slot][r.Observer] = kept{r.Chain, r.Network, b}
}

// add keeps one receipt for good.
func (k *receipts) add(r sortition.Receipt, b []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.slots[r.Slot]) >= maxTestimony {
		return errors.New("testimony: there is enough for this slot")
	}
	k.put(r, b)
	var list [][]byte
	for _, one := range k.slots[r.Slot] {
		list = append(list, one.bytes)
	}
	text, err := canon.Encode(list)
	if err != nil {
		return fmt.Errorf("testimony: %w", err)
	}
	name := k.file(r.Slot)
	if err := write(name+".new", text); err != nil {
		return fmt.Errorf("testimony: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("testimony: %w", err)
	}
	return nil
}

func write(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// of returns the testimony for a slot, by observer.
func (k *receipts) of(chain string, slot uint64) map[sortition.Key]kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := map[sortition.Key]kept{}
	for o, one := range k.slots[slot] {
		if one.chain == chain {
			all[o] = one
		}
	}
	return all
}

// forget deletes the testimony for slots before one.
func (k *receipts) forget(before uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	maps.DeleteFunc(k.slots, func(slot uint64, _ map[sortition.Key]kept) bool {
		if slot >= before {
			return false
		}
		if err := os.Remove(k.file(slot)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("testimony: %w", err))
		}
		return true
	})
	return errors.Join(errs...)
}
