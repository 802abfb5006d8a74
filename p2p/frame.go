package p2p

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// A session's stream is a row of frames: one byte of kind, four of length, big-endian, then the body.
//
//	hello   CBOR of hello; first in each direction, once
//	data    eight bytes of sequence number, then the message
//	ack     eight bytes: everything up to this sequence number is processed for good
//	ping    empty
//	bye     text; the session is over
//	refuse  text; not on this stream, try again later
const (
	frameHello byte = iota + 1
	frameData
	frameAck
	framePing
	frameBye
	frameRefuse
)

// MaxMessage is the most bytes that one message of a session may hold.
const MaxMessage = 8 << 20

const (
	frameHead  = 5
	seqSize    = 8
	maxHello   = 512
	maxReason  = 256
	readBuffer = 16 << 10 // per link, held while the link lives
)

// wire carries the frames of one link: a libp2p stream, or a pipe to this node itself.
type wire interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Close() error // after what was written has left
	Reset() error // at once
}

var errFrame = errors.New("bad frame")

// checkFrame tells whether a frame of this kind may have a body of n bytes.
func checkFrame(kind byte, n uint32) error {
	ok := false
	switch kind {
	case frameHello:
		ok = n > 0 && n <= maxHello
	case frameData:
		ok = n >= seqSize && n <= seqSize+MaxMessage
	case frameAck:
		ok = n == seqSize
	case framePing:
		ok = n == 0
	case frameBye, frameRefuse:
		ok = n <= maxReason
	}
	if !ok {
		return fmt.Errorf("%w: kind %d with %d bytes", errFrame, kind, n)
	}
	return nil
}

// frameReader reads frames and never waits longer than silence for a byte.
type frameReader struct {
	r       *bufio.Reader
	w       wire
	silence time.Duration
	set     time.Time // when the deadline was last set
	met     bool      // the first frame is read; before it a peer may not send what costs memory
}

func newFrameReader(w wire, silence time.Duration) *frameReader {
	f := &frameReader{w: w, silence: silence}
	f.r = bufio.NewReaderSize(f, readBuffer)
	return f
}

// Read moves the deadline along, but not at every read: a timer costs more than a small frame.
func (f *frameReader) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(f.set) > f.silence/8 {
		f.set = now
		if err := f.w.SetReadDeadline(now.Add(f.silence)); err != nil {
			return 0, err
		}
	}
	return f.w.Read(p)
}

// next reads one frame whole. For data, body is the message and seq its number; for ack, seq is the number.
func (f *frameReader) next() (kind byte, seq uint64, body []byte, err error) {
	kind, n, err := f.head()
	if err != nil {
		return 0, 0, nil, err
	}
	left := int(n)
	if kind == frameData || kind == frameAck {
		b, err := f.r.Peek(seqSize)
		if err != nil {
			return 0, 0, nil, noEOF(err)
		}
		seq = binary.BigEndian.Uint64(b)
		if _, err := f.r.Discard(seqSize); err != nil {
			return 0, 0, nil, err
		}
		left -= seqSize
	}
	body, err = readGrowing(f.r, left)
	return kind, seq, body, err
}

func (f *frameReader) head() (kind byte, n uint32, err error) {
	b, err := f.r.Peek(frameHead)
	if err != nil {
		if len(b) > 0 {
			err = noEOF(err)
		}
		return 0, 0, err
	}
	kind, n = b[0], binary.BigEndian.Uint32(b[1:])
	if err := checkFrame(kind, n); err != nil {
		return 0, 0, err
	}
	if !f.met && n > maxHello {
		return 0, 0, fmt.Errorf("%w: kind %d before the hello", errFrame, kind)
	}
	f.met = true
	_, err = f.r.Discard(frameHead)
	return kind, n, err
}

// ready tells whether the next frame can be read without waiting.
func (f *frameReader) ready() bool {
	if f.r.Buffered() < frameHead {
		return false
	}
	b, err := f.r.Peek(frameHead)
	return err == nil && uint64(f.r.Buffered()) >= frameHead+uint64(binary.BigEndian.Uint32(b[1:]))
}

// appendHead begins a frame whose body has n bytes.
func appendHead(b []byte, kind byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(b, kind), uint32(n))
}

// appendText is a whole bye or refuse frame.
func appendText(b []byte, kind byte, text string) []byte {
	text = printable(text, maxReason)
	return append(appendHead(b, kind, len(text)), text...)
}

// writeData appends one message to w, which may flush.
func writeData(w *bufio.Writer, seq uint64, msg []byte) error {
	b := appendHead(w.AvailableBuffer(), frameData, seqSize+len(msg))
	if _, err := w.Write(binary.BigEndian.AppendUint64(b, seq)); err != nil {
		return err
	}
	_, err := w.Write(msg)
	return err
}

func writeAck(w *bufio.Writer, seq uint64) error {
	b := appendHead(w.AvailableBuffer(), frameAck, seqSize)
	_, err := w.Write(binary.BigEndian.AppendUint64(b, seq))
	return err
}
