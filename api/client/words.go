package client

import (
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// ErrorBody is the body of every answer that is not a success.
type ErrorBody struct {
	Error job.Failure `json:"error"`
}

// Status is what a node tells about itself; its JSON names are a contract (docs/cli.md).
type Status struct {
	Version   string    `json:"version"`
	Node      string    `json:"node"`    // peer ID
	Owner     string    `json:"owner"`   // whose node it is; nodes of one owner never check one another
	Network   string    `json:"network"` // label of the network the node is in
	API       string    `json:"api"`     // host:port
	Home      string    `json:"home"`
	Addresses []string  `json:"addresses"` // what others can --join
	Peers     int       `json:"peers"`     // connected nodes
	Ready     bool      `json:"ready"`     // a job can be placed
	Slots     int       `json:"slots"`     // tasks that this node offers to run at once
	Running   int       `json:"running"`   // tasks that this node runs now
	Leases    int       `json:"leases"`    // leases that this node serves
	Jobs      Jobs      `json:"jobs"`
	Store     Store     `json:"store"`
	Started   time.Time `json:"started"`
	Dev       []string  `json:"dev,omitempty"` // peer IDs of all nodes of a development network in this process

	Chain *ChainStatus `json:"chain,omitempty"` // nil: the node follows no chain

	Gateway *Gateway `json:"gateway,omitempty"` // nil: the node serves no content over HTTP
}

// Gateway is where a node serves content over HTTP, below /ipfs/.
type Gateway struct {
	Address   string `json:"address"`   // host:port that it listens on
	URL       string `json:"url"`       // by which it is reached, without a path
	Trustless bool   `json:"trustless"` // blocks and CARs alone, since other machines can ask
	Fetch     bool   `json:"fetch"`     // what is not here is brought from other nodes
	Pins      bool   `json:"pins"`      // it takes requests to pin, by the token in pins.token
}

// Jobs counts the jobs asked for at this node.
type Jobs struct {
	Total  int `json:"total"`
	Active int `json:"active"` // not yet settled, failed or cancelled
}

// Store counts what the node's store holds.
type Store struct {
	Blocks int64 `json:"blocks"`
	Bytes  int64 `json:"bytes"`
	Pins   int64 `json:"pins"`
}

// Peer is a node that this node is connected to.
type Peer struct {
	Node      string    `json:"node"`
	Addresses []string  `json:"addresses"`
	Agent     string    `json:"agent"`
	Transport string    `json:"transport"`
	Direction string    `json:"direction"`
	Millis    float64   `json:"latencyMs"`
	Since     time.Time `json:"since"`
}

// Finding is one line of a node's self-examination.
type Finding struct {
	Name   string `json:"name"`
	State  string `json:"state"` // ok | warn | fail
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// Entry is a file or a folder of the store.
type Entry struct {
	CID  string `json:"cid"`
	Name string `json:"name,omitempty"`
	Size int64  `json:"size"` // bytes of content: of a file its length, of a symbolic link that of its target's path, of a folder the sum below; 0 where that is not here
	Kind string `json:"kind"` // file | directory | symlink

	Paid money.Amount `json:"paid,omitzero"` // to the gateway that it was bought from
}

// Listing is an entry of the store and, of a directory, what is in it.
type Listing struct {
	Entry
	Entries []Entry `json:"entries"`
}

// Progress tells how far a transfer is. Total is 0 while it is not known.
type Progress struct {
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes"`
	Total int64  `json:"total"`
	Name  string `json:"name,omitempty"`
}

// Transfer is one event of a transfer: how far it is, or, at last, what came of it.
type Transfer struct {
	Progress *Progress `json:"progress,omitempty"`
	Entry    *Entry    `json:"entry,omitempty"`
}

// Submitted names a job.
type Submitted struct {
	Job string `json:"job"`
}

// Paths asks to bring a file or folder of this machine into the store.
type Paths struct {
	Path string `json:"path"` // absolute
}

// Pinning says how an object is to be kept by others for pay.
type Pinning struct {
	Need  int     `json:"need,omitempty" minimum:"0" maximum:"255"`  // any so many parts give the object back; 1: copies
	Parts int     `json:"parts,omitempty" minimum:"0" maximum:"255"` // 0: as its size and the network suggest
	Price *uint64 `json:"price,omitempty"`                           // uhpips for a MiB that began and a day; absent: what the community fund pays for the archive
	Idle  int     `json:"idleSeconds,omitempty" minimum:"0"`         // give up after so many seconds without progress; 0 = 60
}

// Draft is what a deal about an object is to record. Its parts lie on the node that made it.
type Draft struct {
	CID      string  `json:"cid"`
	Size     int64   `json:"size"`
	Manifest string  `json:"manifest"` // its address
	Need     int     `json:"need"`
	Parts    int     `json:"parts"`
	Scheme   string  `json:"scheme"` // for people
	Price    uint64  `json:"price"`
	Node     []byte  `json:"node"` // key of the node that has all parts
	Pieces   []Piece `json:"pieces"`
}

// Piece is what audits see of a part.
type Piece struct {
	Root []byte `json:"root"`
	Size uint64 `json:"size"`
}

// Export asks to write content to a path of this machine.
type Export struct {
	Path  string `json:"path"` // absolute
	Force bool   `json:"force,omitempty"`
	Idle  int    `json:"idleSeconds,omitempty"` // give up after so many seconds without progress; 0 = 60

	Gateway string       `json:"gateway,omitempty"` // URL of the gateway to get it from; else it comes from peers
	Pay     money.Amount `json:"pay,omitzero"`      // what it may cost there
}
