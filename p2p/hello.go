package p2p

import (
	"errors"
	"fmt"
)

const sessionVersion = 1

// linkID names one stream of a session, the same on both sides: who dialled it, and that side's how-manieth dial it was.
type linkID struct {
	_      struct{} `cbor:",toarray"`
	Opener bool     // dialled by the session's opener
	N      uint64   // counts from 1; 0 is no link
}

// hello is the first frame in each direction of a stream.
type hello struct {
	_        struct{} `cbor:",toarray"`
	Version  uint64
	Name     string
	Opener   bool   // the sender is the session's opener
	Self     uint64 // the sender's incarnation
	Known    uint64 // the receiver's incarnation as the sender knows it, 0 if it has met none
	Received uint64 // last message received from that incarnation
	Acked    uint64 // last message of that incarnation processed for good
	Dial     uint64 // in the dialler's hello: the number of this dial
	Last     linkID // the last stream that the sender has used
}

// parseHello reads a hello that a peer sent, and checks what can be checked without knowing the session.
func parseHello(b []byte) (hello, error) {
	var h hello
	if len(b) > maxHello {
		return h, errors.New(tooLarge(len(b), maxHello))
	}
	if err := decode(b, &h); err != nil {
		return h, fmt.Errorf("hello: %w", err)
	}
	switch {
	case h.Version != sessionVersion:
		return h, fmt.Errorf("hello: version %d, this node speaks %d", h.Version, sessionVersion)
	case !labelForm.MatchString(h.Name):
		return h, errors.New("hello: malformed session name")
	case h.Self == 0:
		return h, errors.New("hello: no incarnation")
	case h.Acked > h.Received || (h.Known == 0 && h.Received > 0):
		return h, errors.New("hello: contradicts itself")
	}
	return h, nil
}

// standing is what a side knows when a peer's dial arrives.
type standing struct {
	opener   bool   // this side is the opener
	lower    bool   // of two simultaneous streams, the one dialled by this side lives
	attached bool   // a stream is in use
	last     linkID // the stream in use, or the last one
	peer     uint64 // the peer's incarnation, 0 if none is known
	dialling bool   // this side has dialled and sent its hello, and waits for the answer
	refused  bool   // and has refused a dial of the peer because of that
}

// settle decides whether a stream that the peer dialled is taken, in place of one in use if there is one. Both sides
// come to the same stream because a hello tells which stream its sender used last:
//   - a peer that has restarted is always right: it holds no stream;
//   - a peer that dials again has given up its earlier dial; an older dial that arrives late is refused;
//   - a peer that used the stream in use, and dials, has lost it;
//   - otherwise both sides dialled at the same moment, and the stream of the lower peer ID lives. A stream not yet
//     answered yields to the second dial of the peer, because it may have been sent into a dead connection.
func settle(s standing, h hello) error {
	byPeer := s.last.N > 0 && s.last.Opener != s.opener
	switch {
	case h.Self != s.peer:
		if s.attached || !s.dialling {
			return nil
		}
	case byPeer && h.Dial <= s.last.N:
		return errLateDial
	case s.attached && (byPeer || h.Last == s.last):
		return nil
	case s.attached && s.lower:
		return errGlare
	case s.attached:
		return nil
	}
	if s.dialling && s.lower && !s.refused {
		return errGlare
	}
	return nil
}

var (
	errGlare    = errors.New("both sides dialled, the other stream lives")
	errLateDial = errors.New("an older dial than the stream in use")
)
