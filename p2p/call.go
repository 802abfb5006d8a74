package p2p

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"
	"unicode"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

const (
	maxReply     = 8 << 20 // bytes of an answer
	maxErrorText = 1 << 10 // bytes of an error that travels
	answerTime   = 60 * time.Second
	readTime     = 15 * time.Second // for a request to arrive whole
)

// The first byte of an answer.
const (
	replyOK byte = iota
	replyError
	replyBusy
)

// RemoteError is the error that a peer answered a call with.
type RemoteError struct {
	Peer  peer.ID
	Proto protocol.ID
	Text  string // printable, at most 1 KiB
	Busy  bool   // the peer refused because this node calls too often; worth another try later
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("%s at %s: %s", e.Proto, e.Peer, e.Text)
}

// callee is what answers one protocol.
type callee struct {
	max int
	fn  func(ctx context.Context, from peer.ID, req []byte) ([]byte, error)
}

// Handle answers calls of proto with fn. Requests above max bytes are refused before fn sees them; fn runs at most
// 60 s, concurrently for different calls; the text of its error reaches the caller, and so does a panic, as an error.
func (h *Host) Handle(proto protocol.ID, max int, fn func(ctx context.Context, from peer.ID, req []byte) ([]byte, error)) error {
	if max <= 0 || max > maxReply {
		return fmt.Errorf("p2p handle %s: limit of %d bytes: want 1 to %d", proto, max, maxReply)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, taken := h.calls[proto]; taken {
		return fmt.Errorf("p2p handle %s: already handled", proto)
	}
	c := callee{max: max, fn: fn}
	h.calls[proto] = c
	h.host.SetStreamHandler(proto, func(s network.Stream) { h.answer(s, proto, c) })
	return nil
}

// Call asks a peer and waits for its answer, which is at most 8 MiB. It dials if need be. The peer's own error comes
// as a *RemoteError; any other error means that it is not known whether the peer acted. A call to this node's own ID
// is answered in place by the same function.
func (h *Host) Call(ctx context.Context, to peer.ID, proto protocol.ID, req []byte) ([]byte, error) {
	if to == h.ID() {
		return h.callSelf(ctx, proto, req)
	}
	s, err := h.host.NewStream(network.WithAllowLimitedConn(ctx, "call"), to, proto)
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w", proto, to, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	status, body, err := exchangeOnce(s, req)
	if err != nil {
		_ = s.Reset()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("call %s at %s: %w", proto, to, err)
	}
	_ = s.Close()
	if status == replyOK {
		return body, nil
	}
	return nil, &RemoteError{Peer: to, Proto: proto, Text: printable(string(body), maxErrorText), Busy: status == replyBusy}
}

// exchangeOnce writes the request and reads the answer. A peer that refuses early stops reading, so the answer is read
// while the request is still being written, and counts even where that comes to nothing.
func exchangeOnce(s network.Stream, req []byte) (status byte, body []byte, err error) {
	written := make(chan error, 1)
	go func() {
		_, err := s.Write(append(binary.AppendUvarint(nil, uint64(len(req))), req...))
		if err == nil {
			err = s.CloseWrite()
		}
		written <- err
	}()
	status, body, err = readAnswer(bufio.NewReader(s))
	_ = s.SetWriteDeadline(time.Now()) // what is not written by now is not wanted
	if werr := <-written; err != nil && werr != nil && !errors.Is(werr, os.ErrDeadlineExceeded) {
		err = werr
	}
	return status, body, err
}

func readAnswer(r *bufio.Reader) (status byte, body []byte, err error) {
	if status, err = r.ReadByte(); err != nil {
		return 0, nil, noEOF(err)
	}
	if status > replyBusy {
		return 0, nil, fmt.Errorf("answer has unknown status %d", status)
	}
	body, err = readSized(r, maxReply)
	return status, body, err
}

func (h *Host) callSelf(ctx context.Context, proto protocol.ID, req []byte) ([]byte, error) {
	h.mu.Lock()
	c, ok := h.calls[proto]
	h.mu.Unlock()
	switch {
	case !ok:
		return nil, fmt.Errorf("call %s at this node: nobody answers it", proto)
	case len(req) > c.max:
		return nil, &RemoteError{Peer: h.ID(), Proto: proto, Text: tooLarge(len(req), c.max)}
	}
	body, err := h.run(ctx, h.ID(), proto, c, req)
	if err != nil {
		return nil, &RemoteError{Peer: h.ID(), Proto: proto, Text: printable(err.Error(), maxErrorText)}
	}
	return body, nil
}

// answer serves one call on one stream.
func (h *Host) answer(s network.Stream, proto protocol.ID, c callee) {
	if !h.begin() {
		_ = s.Reset()
		return
	}
	defer h.wg.Done()
	from := s.Conn().RemotePeer()
	status, body := h.reply(s, from, proto, c)
	_ = s.CloseRead()
	_ = s.SetWriteDeadline(time.Now().Add(readTime))
	out := append(binary.AppendUvarint([]byte{status}, uint64(len(body))), body...)
	if _, err := s.Write(out); err != nil {
		_ = s.Reset()
		return
	}
	_ = s.Close()
}

func (h *Host) reply(s network.Stream, from peer.ID, proto protocol.ID, c callee) (byte, []byte) {
	if !h.mayCall(from, time.Now()) {
		return replyBusy, []byte("too many calls from this peer, try again later")
	}
	_ = s.SetReadDeadline(time.Now().Add(readTime))
	req, err := readSized(bufio.NewReader(s), c.max)
	if err != nil {
		return replyError, []byte("request: " + err.Error())
	}
	ctx, cancel := context.WithTimeout(h.ctx, answerTime)
	defer cancel()
	body, err := h.run(ctx, from, proto, c, req)
	if err != nil {
		return replyError, []byte(printable(err.Error(), maxErrorText))
	}
	return replyOK, body
}

// run calls fn and turns its panic into an error: what a peer sends must not end this process.
func (h *Host) run(ctx context.Context, from peer.ID, proto protocol.ID, c callee, req []byte) (body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("call panicked", "proto", proto, "peer", from, "panic", p, "stack", string(debug.Stack()))
			body, err = nil, errors.New("internal error")
		}
	}()
	body, err = c.fn(ctx, from, req)
	if err == nil && len(body) > maxReply {
		return nil, fmt.Errorf("answer: %s", tooLarge(len(body), maxReply))
	}
	return body, err
}

// begin counts one more call being answered, unless the host is closed.
func (h *Host) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Add(1)
	return true
}

// readSized reads a length and that many bytes, at most max. Memory grows with what arrives, not with what is claimed.
func readSized(r *bufio.Reader, max int) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, fmt.Errorf("length: %w", noEOF(err))
	}
	if n > uint64(max) {
		return nil, errors.New(tooLarge(n, max))
	}
	return readGrowing(r, int(n))
}

// readGrowing reads exactly n bytes in steps, so that a peer that claims much and sends little costs little.
func readGrowing(r io.Reader, n int) ([]byte, error) {
	const step = 256 << 10
	buf := make([]byte, min(n, step))
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, noEOF(err)
	}
	for len(buf) < n {
		have := len(buf)
		more := make([]byte, min(n, 2*have))
		copy(more, buf)
		if _, err := io.ReadFull(r, more[have:]); err != nil {
			return nil, noEOF(err)
		}
		buf = more
	}
	return buf, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func tooLarge[N int | uint64](n N, max int) string {
	return fmt.Sprintf("%d bytes, more than the limit of %d", n, max)
}

// printable makes text from a peer fit for a terminal and a log: no control characters, at most max bytes.
func printable(s string, max int) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "")
	}
	return s
}
