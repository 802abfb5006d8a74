package wasm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/capture"
)

// The words between the node and its child: frames of a 4-byte big-endian length and one CBOR map. Both sides decode strictly and
// refuse what is over its size, so that neither a hostile program that took over the child nor a torn pipe can hurt the other.
const (
	maxOrder  = 4 << 20   // bytes of one frame to the child
	maxReport = 1 << 20   // bytes of one frame from the child
	maxTask   = 1 << 20   // bytes of one task's order
	batchSize = 64 << 10  // bytes of outcomes that are sent at once
	maxText   = 4 << 10   // bytes of a message for people
	window    = 4096      // tasks that a child holds at most
	windowLen = 512 << 10 // bytes of orders that a child holds at most
)

// What a child is started for.
const (
	modeRun     = "run"
	modeCompile = "compile"
	modeProbe   = "probe"
)

// order is what the node sends.
type order struct {
	Setup *setup      `cbor:"1,keyasint,omitempty"`
	Tasks []taskOrder `cbor:"2,keyasint,omitempty"`
	Feeds []feedOrder `cbor:"3,keyasint,omitempty"`
	Drop  []uint64    `cbor:"4,keyasint,omitempty"`
}

type setup struct {
	Mode    string         `cbor:"1,keyasint"`
	Module  string         `cbor:"2,keyasint"`
	Cache   string         `cbor:"3,keyasint"`
	Dir     string         `cbor:"4,keyasint"`
	Args    []string       `cbor:"5,keyasint,omitempty"`
	Env     []string       `cbor:"6,keyasint,omitempty"`
	Mounts  []engine.Mount `cbor:"7,keyasint,omitempty"`
	Read    []string       `cbor:"8,keyasint,omitempty"`
	Limits  engine.Limits  `cbor:"9,keyasint"`
	Seed    [32]byte       `cbor:"10,keyasint"`
	Nice    int            `cbor:"11,keyasint,omitempty"`
	Watched bool           `cbor:"12,keyasint,omitempty"`
}

type taskOrder struct {
	_       struct{} `cbor:",toarray"`
	ID      uint64
	Args    []string
	Env     []string
	Mounts  []engine.Mount
	Stdin   string
	Open    bool
	Outputs []string
	Stream  bool
	Points  []uint64
}

type feedOrder struct {
	_    struct{} `cbor:",toarray"`
	ID   uint64
	Size int64
	EOF  bool
}

// report is what the child sends.
type report struct {
	Ready  *ready  `cbor:"1,keyasint,omitempty"`
	Fault  *fault  `cbor:"2,keyasint,omitempty"`
	Events []event `cbor:"3,keyasint,omitempty"`
}

type ready struct {
	Checks []Check    `cbor:"1,keyasint,omitempty"`
	Module moduleInfo `cbor:"2,keyasint"`
}

// fault ends a child that could not be set up; Program says that the module is to blame.
type fault struct {
	Program bool   `cbor:"1,keyasint,omitempty"`
	Message string `cbor:"2,keyasint"`
	Hint    string `cbor:"3,keyasint,omitempty"`
}

// event is either an outcome or a piece of streamed output.
type event struct {
	Outcome *outcome `cbor:"1,keyasint,omitempty"`
	Chunk   *chunk   `cbor:"2,keyasint,omitempty"`
}

type outcome struct {
	_       struct{} `cbor:",toarray"`
	ID      uint64
	End     engine.End
	Exit    int
	Message string
	Stdout  stream
	Stderr  stream
	CPU     int64
	Wall    int64
	Memory  int64
	Work    int64
	States  []byte // of a task with points, 32 bytes for each
}

// stream is one of a task's two outputs; Spilled says that the bytes are in the task's folder.
type stream struct {
	_       struct{} `cbor:",toarray"`
	Inline  []byte
	Size    int64
	Spilled bool
}

type chunk struct {
	_      struct{} `cbor:",toarray"`
	ID     uint64
	FD     int
	Offset int64
	Data   []byte
}

// coder writes and reads frames; it is made once per process end.
type coder struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

func newCoder() (*coder, error) {
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, fmt.Errorf("wire encoder: %w", err)
	}
	dec, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden, MaxNestedLevels: 8, MaxArrayElements: 1 << 17, MaxMapPairs: 64,
	}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("wire decoder: %w", err)
	}
	return &coder{enc: enc, dec: dec}, nil
}

// frame gives the bytes of v as they go over the pipe.
func (c *coder) frame(v any) ([]byte, error) {
	body, err := c.enc.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode frame: %w", err)
	}
	out := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(out, uint32(len(body)))
	return append(out, body...), nil
}

// read takes one frame of at most limit bytes from r into v. io.EOF means that the other side closed between two frames.
func (c *coder) read(r io.Reader, limit int, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if err == io.EOF {
			return io.EOF
		}
		return fmt.Errorf("read frame: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if uint64(n) > uint64(limit) {
		return fmt.Errorf("read frame: %d bytes pass the limit of %d", n, limit)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	if err := c.dec.Unmarshal(body, v); err != nil {
		return fmt.Errorf("decode frame: %w", err)
	}
	return nil
}

// check refuses a report that no honest child sends.
func (r *report) check() error {
	for _, e := range r.Events {
		switch {
		case (e.Outcome == nil) == (e.Chunk == nil):
			return fmt.Errorf("report: event is neither outcome nor chunk")
		case e.Chunk != nil:
			if c := e.Chunk; (c.FD != 1 && c.FD != 2) || c.Offset < 0 || len(c.Data) > capture.Inline {
				return fmt.Errorf("report: bad chunk of task %d", c.ID)
			}
		default:
			if err := e.Outcome.check(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *outcome) check() error {
	switch o.End {
	case engine.Exited, engine.Trapped, engine.OutputFull, engine.MemoryFull, engine.DiskFull, engine.WorkFull, engine.Cancelled, engine.Broken:
	default:
		return fmt.Errorf("report: task %d ends with %q", o.ID, o.End)
	}
	for _, s := range []stream{o.Stdout, o.Stderr} {
		if len(s.Inline) > capture.Inline+256 || s.Size < 0 || !s.Spilled && s.Size < int64(min(len(s.Inline), capture.Inline)) {
			return fmt.Errorf("report: bad output of task %d", o.ID)
		}
	}
	if len(o.States)%sha256.Size != 0 || len(o.States) > engine.MaxPoints*sha256.Size {
		return fmt.Errorf("report: bad states of task %d", o.ID)
	}
	if len(o.Message) > maxText || o.CPU < 0 || o.Wall < 0 || o.Memory < 0 || o.Work < 0 {
		return fmt.Errorf("report: bad outcome of task %d", o.ID)
	}
	return nil
}
