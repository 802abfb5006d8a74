package machine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// wayland asks a compositor that knows ext-idle-notify-v1 (wayland-protocols, staging), such as those of wlroots and KDE's. It tells when nobody has touched anything for a time
// that the client names, and when somebody does again. A program that keeps the screen awake, such as one that plays a film, counts as somebody.
//
//  1. A connection lists what the compositor has: seats, and the notifier.
//  2. For each seat it asks for a notice after the shortest time.
//  3. Each look takes in what was said since the last one; nothing is read in between, and a few bytes wait for each time that somebody went.
type wayland struct {
	path string           // of the socket
	now  func() time.Time // nil: the clock

	conn     net.Conn
	in       []byte
	next     uint32            // object
	notifier *uint32           // its name
	seats    []uint32          // their names
	done     bool              // all is listed
	watched  map[uint32]*rests // by object
	mute     bool              // the compositor does not know the protocol
}

// rests is whether somebody is at a seat.
type rests struct {
	idle  bool
	since time.Time // of the last touch, as far as is known
}

// shortest is the time after which a compositor says that nobody has touched anything.
const shortest = time.Second

// glance is how long is waited for what is there already.
const glance = 5 * time.Millisecond

// What the protocol is made of (wayland.xml, ext-idle-notify-v1.xml). Numbers are the machine's own order, texts end with a zero, and all is in words of four bytes.
const (
	displayObject   = 1
	displaySync     = 0
	displayRegistry = 1
	displayError    = 0
	registryBind    = 0
	registryGlobal  = 0
	registryRemove  = 1
	notifierAsk     = 1
	noticeIdled     = 0
	noticeResumed   = 1

	notifierFace = "ext_idle_notifier_v1"
	seatFace     = "wl_seat"

	maxSeats   = 16
	maxMessage = 4 << 10 // bytes, as libwayland has it
	maxUnread  = 1 << 20
)

// errSeats says that a seat has come or gone: all is asked anew.
var errSeats = errors.New("another seat")

var errWayland = errors.New("the compositor says what is no message")

// socketOf is where the compositor of this session listens (wl_display_connect(3)); "" where there is none.
func socketOf(getenv func(string) string) string {
	name, dir := getenv("WAYLAND_DISPLAY"), getenv("XDG_RUNTIME_DIR")
	switch {
	case name == "":
		return ""
	case filepath.IsAbs(name):
		return name
	case dir == "":
		return ""
	}
	return filepath.Join(dir, name)
}

// Idle is the shortest time of all seats.
func (w *wayland) Idle(ctx context.Context) (time.Duration, error) {
	if w.mute {
		if _, err := os.Stat(w.path); err == nil {
			return 0, errMute
		}
		w.mute = false
	}
	err := w.look(ctx)
	if errors.Is(err, errSeats) {
		w.close()
		err = w.look(ctx)
	}
	if err != nil {
		w.close()
		return 0, err
	}
	if len(w.watched) == 0 {
		w.close()
		w.mute = true
		return 0, fmt.Errorf("%w: its compositor does not know %s", errMute, notifierFace)
	}
	idle, first := time.Duration(0), true
	for _, r := range w.watched {
		d := time.Duration(0)
		if r.idle {
			d = max(0, w.clock().Sub(r.since))
		}
		if first || d < idle {
			idle, first = d, false
		}
	}
	return idle, nil
}

// look takes in what there is, over a connection that is opened when there is none.
func (w *wayland) look(ctx context.Context) error {
	if w.conn == nil {
		if err := w.open(ctx); err != nil {
			return err
		}
	}
	if err := w.take(ctx, false); err != nil {
		return fmt.Errorf("idle: Wayland: %w", err)
	}
	return nil
}

func (w *wayland) clock() time.Time {
	if w.now != nil {
		return w.now()
	}
	return time.Now()
}

func (w *wayland) close() {
	if w.conn != nil {
		_ = w.conn.Close()
	}
	*w = wayland{path: w.path, now: w.now}
}

// The objects that the client names itself.
const (
	registryObject = 2
	listedObject   = 3
	notifierObject = 4
	firstObject    = 5
)

// open connects, asks what there is, and asks each seat's notice. A socket that is not there is no session.
func (w *wayland) open(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: busTime}).DialContext(ctx, "unix", w.path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return ErrNoSession
		}
		return fmt.Errorf("idle: Wayland: %w", err)
	}
	w.conn, w.next, w.watched = conn, firstObject, map[uint32]*rests{}
	words := request(nil, displayObject, displayRegistry, wlUint(registryObject))
	words = request(words, displayObject, displaySync, wlUint(listedObject))
	if err := w.say(words); err != nil {
		return err
	}
	for !w.done {
		if err := w.take(ctx, true); err != nil {
			return fmt.Errorf("idle: Wayland: %w", err)
		}
	}
	if w.notifier == nil {
		return nil
	}
	words = request(nil, registryObject, registryBind, wlUint(*w.notifier), wlString(notifierFace), wlUint(1), wlUint(notifierObject))
	for _, name := range w.seats {
		seat, notice := w.next, w.next+1
		w.next += 2
		w.watched[notice] = &rests{}
		words = request(words, registryObject, registryBind, wlUint(name), wlString(seatFace), wlUint(1), wlUint(seat))
		words = request(words, notifierObject, notifierAsk, wlUint(notice), wlUint(uint32(shortest/time.Millisecond)), wlUint(seat))
	}
	return w.say(words)
}

func (w *wayland) say(words []byte) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(busTime)); err != nil {
		return err
	}
	if _, err := w.conn.Write(words); err != nil {
		return fmt.Errorf("idle: Wayland: %w", err)
	}
	return nil
}

func wlUint(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// text is its length with the zero at its end, then its bytes, in whole words.
func wlString(s string) []byte {
	b := append(wlUint(uint32(len(s)+1)), s...)
	return append(b, make([]byte, 4-len(s)%4)...)
}

// request appends a message: object, size and number of the request, and its words.
func request(to []byte, object, opcode uint32, words ...[]byte) []byte {
	size := uint32(8)
	for _, one := range words {
		size += uint32(len(one))
	}
	to = append(append(to, wlUint(object)...), wlUint(size<<16|opcode)...)
	for _, one := range words {
		to = append(to, one...)
	}
	return to
}

// take reads what the compositor has said: what is there already, or, if it waits, at least something.
func (w *wayland) take(ctx context.Context, waits bool) error {
	buf := make([]byte, maxMessage)
	for sum := 0; sum < maxUnread; {
		by := time.Now().Add(busTime)
		if d, ok := ctx.Deadline(); ok && d.Before(by) {
			by = d
		}
		if !waits {
			by = time.Now().Add(glance)
		}
		if err := w.conn.SetReadDeadline(by); err != nil {
			return err
		}
		n, err := w.conn.Read(buf)
		sum += n
		w.in = append(w.in, buf[:n]...)
		if err := w.parse(); err != nil {
			return err
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && !waits:
			return nil
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case waits:
			return nil
		}
	}
	return errWayland
}

// parse takes in whole messages.
func (w *wayland) parse() error {
	for len(w.in) >= 8 {
		object, word := binary.NativeEndian.Uint32(w.in), binary.NativeEndian.Uint32(w.in[4:])
		size := int(word >> 16)
		switch {
		case size < 8 || size%4 != 0 || size > maxMessage:
			return errWayland
		case len(w.in) < size:
			return nil
		}
		if err := w.hear(object, word&0xffff, w.in[8:size]); err != nil {
			return err
		}
		w.in = w.in[size:]
	}
	return nil
}

// hear takes in one message. What is of no use here is passed over.
func (w *wayland) hear(object, opcode uint32, body []byte) error {
	switch {
	case object == displayObject && opcode == displayError:
		return fmt.Errorf("%w: it refuses what it was asked", errWayland)
	case object == listedObject:
		w.done = true
	case object == registryObject && opcode == registryGlobal:
		return w.global(body)
	case object == registryObject && opcode == registryRemove && len(body) == 4:
		if slices.Contains(w.seats, binary.NativeEndian.Uint32(body)) {
			return errSeats
		}
	}
	if r := w.watched[object]; r != nil {
		switch opcode {
		case noticeIdled:
			*r = rests{idle: true, since: w.clock().Add(-shortest)}
		case noticeResumed:
			*r = rests{}
		}
	}
	return nil
}

// global notes one thing that the compositor has: name, interface, version.
func (w *wayland) global(body []byte) error {
	if len(body) < 8 {
		return errWayland
	}
	name, length := binary.NativeEndian.Uint32(body), int(binary.NativeEndian.Uint32(body[4:]))
	if length < 1 || length > len(body)-12 || len(body) != 8+(length+3)/4*4+4 || body[8+length-1] != 0 {
		return errWayland
	}
	switch face := string(body[8 : 8+length-1]); face {
	case notifierFace:
		w.notifier = &name
	case seatFace:
		if w.done {
			return errSeats
		}
		if len(w.seats) < maxSeats {
			w.seats = append(w.seats, name)
		}
	}
	return nil
}
