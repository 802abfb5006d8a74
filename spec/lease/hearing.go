package lease

import (
	"errors"
	"fmt"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/trust"
)

// HearingProtocol is how a juror speaks with the requester whose results it looks at.
const HearingProtocol = "/hpips/hearing/1"

// The limits of what jurors and requesters read, in bytes.
const (
	MaxAsk   = 64 << 10
	MaxHeard = 8 << 20
)

// Ask is what a juror says: which matter it comes for, and that it was drawn; then its commitment; then what that binds.
type Ask struct {
	Node     [32]byte `cbor:"node"` // of the matter, see trust.Matter
	Sequence uint64   `cbor:"sequence"`
	Place    uint64   `cbor:"place"`
	Round    uint64   `cbor:"round,omitempty"`
	Proof    []byte   `cbor:"proof"`
	Vote     *Vote    `cbor:"vote,omitempty"`
	Voice    *Voice   `cbor:"voice,omitempty"`
}

// Vote commits a juror of a panel.
type Vote struct {
	Commitment [32]byte `cbor:"commitment"`
	Work       uint64   `cbor:"work"`
	Signature  []byte   `cbor:"signature"`
}

// Voice opens a commitment.
type Voice struct {
	Says []trust.Say `cbor:"says"`
	Salt [32]byte    `cbor:"salt"`
}

// Stage is where a juror stands with a panel.
type Stage string

// The stages of a juror.
const (
	StageWaiting   Stage = "waiting"   // others have to commit themselves first
	StageCommitted Stage = "committed" // all have
	StageFilled    Stage = "filled"    // others have the places
	StageHeard     Stage = "heard"     // it has said what it found
)

// Heard is the requester's answer.
type Heard struct {
	Statements []Statement `cbor:"statements,omitempty"`
	Stage      Stage       `cbor:"stage,omitempty"`
}

// ReadAsk reads a juror's word strictly.
func ReadAsk(b []byte) (Ask, error) {
	var a Ask
	if err := canon.Decode(b, MaxAsk, &a); err != nil {
		return Ask{}, fmt.Errorf("hearing: %w", err)
	}
	if a.Vote != nil && a.Voice != nil || a.Voice != nil && len(a.Voice.Says) > trust.PanelSize || a.Round > 2 {
		return Ask{}, fmt.Errorf("hearing: a juror of round %d says too much at once", a.Round)
	}
	return a, nil
}

// ReadHeard reads a requester's answer strictly.
func ReadHeard(b []byte) (Heard, error) {
	var h Heard
	if err := canon.Decode(b, MaxHeard, &h); err != nil {
		return Heard{}, fmt.Errorf("hearing: %w", err)
	}
	for _, s := range h.Statements {
		if s.Work.Live || s.Work.Module == "" {
			return Heard{}, errors.New("hearing: a statement names no program, or its input came live")
		}
	}
	if len(h.Statements) > trust.PanelSize {
		return Heard{}, fmt.Errorf("hearing: %d statements, %d are the most of a panel", len(h.Statements), trust.PanelSize)
	}
	return h, nil
}
