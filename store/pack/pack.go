// Package pack keeps records, each of some bytes under a multihash, one behind the other in a few large files. It promises that what was appended before a Sync
// that succeeded survives a power cut, that records are told apart although others beside them were damaged, and that room is given back by files. It leaves to
// the caller to remember where each record lies, to say what is still wanted, and to hash what it reads.
package pack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/multiformats/go-multihash"
)

// Place is where a record lies: in which file, behind how many bytes, with how many bytes of data.
type Place struct {
	Pack uint32
	At   int64
	Size int
}

// End is the first byte behind the room of a record under a hash of so many bytes.
func (p Place) End(hash int) int64 { return p.At + room(hash, p.Size) }

// Packs are the files of one folder. All methods may be called at the same time. The caller sees to it that no other process has the folder.
type Packs struct {
	dir  string
	size int64 // bytes from which on a file takes no further record

	write func(f *os.File, data []byte, at int64) error // for tests
	sync  func(f *os.File) error

	mu      sync.Mutex
	last    uint32           // the highest number that a file has or had
	current *file            // takes the next record; nil until there is one
	fresh   bool             // the next record begins a new file
	open    map[uint32]*file // those with records that may not be durable, and the current one
	entries bool             // files were made that the folder may not durably list
}

// file is one that is written to. Its fields are guarded by Packs.mu.
type file struct {
	f       *os.File
	id      uint32
	end     int64 // first byte not promised to a record
	good    int64 // first byte behind all records that are written
	writers int   // records being written
	dirty   bool  // something was written since the last sync
}

const suffix = ".pack"

// Open opens the folder and makes it when it is absent. Files take records until they have size bytes. last is the highest number of a file that the caller
// remembers, so that no new file takes the place of one that was lost.
func Open(dir string, size int64, last uint32) (*Packs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &Packs{dir: dir, size: size, last: last, open: make(map[uint32]*file), entries: true,
		write: func(f *os.File, data []byte, at int64) error { _, err := f.WriteAt(data, at); return err },
		sync:  func(f *os.File) error { return f.Sync() }}
	all, err := p.List()
	if len(all) > 0 {
		p.last = max(last, all[len(all)-1].ID)
	}
	return p, err
}

func (p *Packs) path(id uint32) string {
	return filepath.Join(p.dir, fmt.Sprintf("%08d", id)+suffix)
}

// File is one file of the folder.
type File struct {
	ID   uint32
	Size int64 // bytes, the room behind its last record included
}

// List gives the files by their numbers; what has another name is not ours.
func (p *Packs) List() ([]File, error) {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, err
	}
	var all []File
	for _, e := range entries {
		name, ours := strings.CutSuffix(e.Name(), suffix)
		id, err := strconv.ParseUint(name, 10, 32)
		if !ours || err != nil || filepath.Join(p.dir, e.Name()) != p.path(uint32(id)) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, File{uint32(id), up(info.Size())})
	}
	slices.SortFunc(all, func(a, b File) int { return int(int64(a.ID) - int64(b.ID)) })
	return all, nil
}

// Append writes a record behind the others, which every reader sees at once and which is durable after the next Sync. After an error nothing was appended.
func (p *Packs) Append(h multihash.Multihash, data []byte) (Place, error) {
	head, err := header(h, len(data))
	if err != nil {
		return Place{}, err
	}
	f, at, err := p.begin(room(len(h), len(data)))
	if err != nil {
		return Place{}, err
	}
	err = p.write(f.f, head, at)
	if err == nil {
		err = p.write(f.f, data, at+int64(len(head)))
	}
	if err == nil {
		startWriting(f.f, at, int64(len(head)+len(data)))
	}
	place := Place{f.id, at, len(data)}
	p.mu.Lock()
	defer p.mu.Unlock()
	f.writers--
	f.dirty = true
	if err == nil {
		f.good = max(f.good, place.End(len(h)))
	}
	if f.writers == 0 && f.end > f.good { // what was begun last did not succeed: its room is free again
		f.end = f.good
		err = errors.Join(err, f.f.Truncate(f.end))
	}
	return place, err
}

// begin gives room for a record in the current file.
func (p *Packs) begin(room int64) (*file, int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil && p.current.end >= p.size {
		p.current = nil // synced and closed with the next Sync
	}
	if p.current == nil {
		f, err := p.next()
		if err != nil {
			return nil, 0, err
		}
		p.current, p.open[f.id] = f, f
	}
	f := p.current
	at := f.end
	f.end += room
	f.writers++
	return f, at, nil
}

// next opens the file that takes the next record: the last one while there is room in it and nobody is writing to it, or a new one. mu is held.
func (p *Packs) next() (*file, error) {
	if info, err := os.Stat(p.path(p.last)); err == nil && !p.fresh && info.Size() < p.size && p.open[p.last] == nil {
		f, err := os.OpenFile(p.path(p.last), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		end := up(info.Size())
		return &file{f: f, id: p.last, end: end, good: end}, nil
	}
	f, err := os.OpenFile(p.path(p.last+1), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	p.last++
	p.entries, p.fresh = true, false
	return &file{f: f, id: p.last}, nil
}

// Seal makes the next record begin a new file.
func (p *Packs) Seal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current, p.fresh = nil, true
}

// Sync makes all records durable whose Append has returned. After an error nobody knows which of those since the last Sync are on the disk; the next ones begin
// a new file.
func (p *Packs) Sync() error {
	p.mu.Lock()
	var dirty []*file
	for _, f := range p.open {
		if f.dirty {
			dirty = append(dirty, f)
			f.dirty = false
			f.writers++ // keeps it open
		}
	}
	entries := p.entries
	p.entries = false
	p.mu.Unlock()
	var err error
	for _, f := range dirty {
		err = errors.Join(err, p.sync(f.f))
	}
	if entries && err == nil {
		err = syncFolder(p.dir)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range dirty {
		f.writers--
	}
	if err != nil {
		p.current, p.fresh, p.entries = nil, true, true
	}
	for _, f := range p.open {
		if f != p.current && f.writers == 0 && !f.dirty {
			delete(p.open, f.id)
			err = errors.Join(err, f.f.Close())
		}
	}
	return err
}

// syncFolder makes the entries of a folder durable.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // NTFS has no sync of folders; its journal orders their entries
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Close syncs and closes. Nobody may be using the packs.
func (p *Packs) Close() error {
	err := p.Sync()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.open {
		err = errors.Join(err, f.f.Close())
	}
	clear(p.open)
	p.current = nil
	return err
}

// Settled lists the files to which nothing is written and nothing will be: all but the current one and those that await a Sync.
func (p *Packs) Settled() ([]File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, err := p.List()
	return slices.DeleteFunc(all, func(f File) bool {
		return p.open[f.ID] != nil || f.ID == p.last && p.current == nil && !p.fresh
	}), err
}

// Last is the file that has the highest number; the next record may go into it. When there is none its size is 0.
func (p *Packs) Last() File {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, err := os.Stat(p.path(p.last))
	if err != nil {
		return File{}
	}
	return File{p.last, up(info.Size())}
}

// Cut gives back the room behind all that is wanted of a settled file, and makes the rest durable: up(end) bytes are left of it, and with end 0 nothing.
func (p *Packs) Cut(id uint32, end int64) error {
	if end == 0 {
		return os.Remove(p.path(id))
	}
	f, err := os.OpenFile(p.path(id), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(up(end)), f.Sync(), f.Close())
}

// Has tells whether a file reaches to the end of a record; what is in it is not read.
func (p *Packs) Has(h multihash.Multihash, at Place) bool {
	info, err := os.Stat(p.path(at.Pack))
	return err == nil && info.Size() >= at.At+int64(fixed+len(h)+at.Size)
}
