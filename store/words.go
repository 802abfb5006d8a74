package store

import (
	"sync"
	"time"

	"github.com/ipfs/go-cid"
)

// Kind is what a name in a directory stands for.
type Kind string

// The three kinds that UnixFS and every operating system share.
const (
	Regular   Kind = "file"
	Directory Kind = "directory"
	Symlink   Kind = "symlink"
)

// Entry is one thing added or listed.
type Entry struct {
	Name  string  // base name; empty for a stream
	CID   cid.Cid // of its root block
	Kind  Kind
	Size  uint64 // bytes of content: of a file its length, of a directory the sum below it when just added, else 0
	Total uint64 // bytes of all blocks of its DAG, as the links to it record; 0 when unknown
}

// Link names an existing entry in a directory to be made.
type Link struct {
	Name  string
	CID   cid.Cid
	Size  uint64 // bytes of content
	Total uint64 // bytes of all blocks; 0 lets Dir find out

	here int // 1 + the mark since which its whole DAG is on this disk; 0 when that is not known
}

// Link makes the entry a link under its own name.
func (e Entry) Link() Link { return Link{Name: e.Name, CID: e.CID, Size: e.Size, Total: e.Total} }

// File is one entry of a whole tree.
type File struct {
	Path string // slash-separated, relative to the root; empty when the root is a file
	CID  cid.Cid
	Size uint64 // bytes; for a leaf as the directory claims it
	Kind Kind
}

// Progress tells how far an operation is. TotalBytes is 0 while unknown.
type Progress struct {
	Files      int64
	Bytes      int64
	TotalBytes int64
	Name       string // the entry last finished
}

// meter adds up progress and passes it on at most ten times a second, never twice at once.
type meter struct {
	mu   sync.Mutex
	tell func(Progress)
	last time.Time
	now  Progress
}

const meterEvery = 100 * time.Millisecond

func newMeter(tell func(Progress), total int64) *meter {
	return &meter{tell: tell, now: Progress{TotalBytes: total}}
}

func (m *meter) add(files, bytes int64, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Files += files
	m.now.Bytes += bytes
	if name != "" {
		m.now.Name = name
	}
	if m.tell == nil {
		return
	}
	if t := time.Now(); t.Sub(m.last) >= meterEvery {
		m.last = t
		m.tell(m.now)
	}
}

// done tells the final state and returns the bytes counted.
func (m *meter) done() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tell != nil {
		m.tell(m.now)
	}
	return m.now.Bytes
}
