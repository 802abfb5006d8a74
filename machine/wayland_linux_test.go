package machine

import (
	"encoding/binary"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// compositor is one with seats and things; it answers what a client asks as wayland.xml has it.
type compositor struct {
	t       *testing.T
	path    string
	globals []string

	mu      sync.Mutex
	conn    net.Conn
	bound   map[uint32]string // object → interface
	notices map[uint32]uint32 // notice → seat
	wrong   []string          // what a client may not say
	asked   chan uint32       // milliseconds
}

func composes(t *testing.T, globals ...string) *compositor {
	t.Helper()
	c := &compositor{t: t, path: filepath.Join(t.TempDir(), "wayland-0"), globals: globals, asked: make(chan uint32, 64)}
	l, err := net.Listen("unix", c.path)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.serve(conn)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); c.hangUp(); <-over })
	return c
}

func (c *compositor) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

func (c *compositor) serve(conn net.Conn) {
	c.mu.Lock()
	c.conn, c.bound, c.notices = conn, map[uint32]string{1: "wl_display"}, map[uint32]uint32{}
	c.mu.Unlock()
	var in []byte
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		for in = append(in, buf[:n]...); len(in) >= 8; {
			size := int(binary.NativeEndian.Uint32(in[4:]) >> 16)
			if len(in) < size {
				break
			}
			c.asks(binary.NativeEndian.Uint32(in), binary.NativeEndian.Uint32(in[4:])&0xffff, in[8:size])
			in = in[size:]
		}
	}
}

func (c *compositor) asks(object, opcode uint32, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(body[at:]) }
	switch of := c.bound[object]; {
	case of == "wl_display" && opcode == 1:
		c.bound[word(0)] = "wl_registry"
		for i, face := range c.globals {
			c.tell(word(0), 0, wlUint(uint32(10+i)), wlString(face), wlUint(7))
		}
	case of == "wl_display" && opcode == 0:
		c.tell(word(0), 0, wlUint(0))
		c.tell(1, 1, wlUint(word(0))) // the callback's number may be used again
	case of == "wl_registry" && opcode == 0:
		name, length := word(0), int(word(4))
		face, id := string(body[8:8+length-1]), word(len(body)-4)
		if int(name) < 10 || c.globals[name-10] != face || word(len(body)-8) != 1 {
			c.wrong = append(c.wrong, "bind "+face)
		}
		c.bound[id] = face
	case of == notifierFace && opcode == 1:
		if c.bound[word(8)] != "wl_seat" {
			c.wrong = append(c.wrong, "a notice of what is no seat")
		}
		c.notices[word(0)] = word(8)
		c.asked <- word(4)
	default:
		c.wrong = append(c.wrong, of)
	}
}

// tell says something to the client. Needs c.mu.
func (c *compositor) tell(object, opcode uint32, words ...[]byte) {
	_, _ = c.conn.Write(request(nil, object, opcode, words...))
}

// says has the n-th seat's notice say something.
func (c *compositor) says(n int, opcode uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell(uint32(firstObject+2*n+1), opcode)
}

func TestWaylandTellsWhenSomethingWasTouched(t *testing.T) {
	c := composes(t, "wl_compositor", seatFace, notifierFace, "xdg_wm_base", seatFace)
	clock := noon
	w := &wayland{path: c.path, now: func() time.Time { return clock }}
	idle := func(want time.Duration) {
		t.Helper()
		for range 200 { // what was said is on its way
			if d, err := w.Idle(t.Context()); err != nil {
				t.Fatal(err)
			} else if d == want {
				return
			}
		}
		d, err := w.Idle(t.Context())
		t.Errorf("%v, %v: want %v", d, err, want)
	}
	idle(0)
	for range 2 {
		if ms := <-c.asked; ms != 1000 {
			t.Errorf("a notice after %d ms is asked", ms)
		}
	}
	c.says(0, noticeIdled)
	idle(0) // somebody is at the other seat
	c.says(1, noticeIdled)
	idle(time.Second)
	clock = clock.Add(5 * time.Minute)
	idle(5*time.Minute + time.Second)
	c.says(1, noticeResumed)
	idle(0)
	c.says(1, noticeIdled)
	idle(time.Second)
	c.says(1, noticeResumed) // more than once between two looks: the last counts
	c.says(1, noticeIdled)
	c.says(1, noticeResumed)
	idle(0)
	c.mu.Lock()
	if len(c.wrong) > 0 {
		t.Errorf("the client says what it may not: %q", c.wrong)
	}
	c.mu.Unlock()
	// A seat goes, and another comes: all is asked anew.
	for _, change := range []func(){func() { c.globals = c.globals[:4]; c.tell(registryObject, registryRemove, wlUint(14)) },
		func() {
			c.globals = append(c.globals, seatFace)
			c.tell(registryObject, registryGlobal, wlUint(14), wlString(seatFace), wlUint(7))
		}} {
		c.mu.Lock()
		before := c.conn
		change()
		seats := strings.Count(strings.Join(c.globals, " "), seatFace)
		c.mu.Unlock()
		for again := false; !again; {
			if _, err := w.Idle(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.mu.Lock()
			again = c.conn != before
			c.mu.Unlock()
		}
		if idle(0); len(w.watched) != seats {
			t.Errorf("%d of %d seats are watched", len(w.watched), seats)
		}
	}
	// A compositor that ends and comes back is asked anew; between the two nobody tells.
	c.hangUp()
	if _, err := w.Idle(t.Context()); err == nil || errors.Is(err, ErrNoSession) {
		t.Errorf("a connection that broke: %v", err)
	}
	idle(0)
}

func TestASessionThatDoesNotTellIsTakenAsInUse(t *testing.T) {
	c := composes(t, "wl_compositor", seatFace)
	w := WatchOf(&wayland{path: c.path})
	for range 2 {
		if who, _ := w.Look(t.Context(), time.Minute, time.Now()); who != Unknown {
			t.Errorf("its compositor does not know the protocol: %s", who)
		}
	}
	told := WatchOf(&wayland{path: c.path}, &screen{idle: time.Hour})
	if who, _ := told.Look(t.Context(), time.Minute, time.Now()); who != Away {
		t.Errorf("another tells of the same session: %s", who)
	}
	if who, _ := WatchOf(&wayland{path: c.path + "0"}).Look(t.Context(), time.Minute, time.Now()); who != Headless {
		t.Errorf("no compositor is there: %s", who)
	}
}

// global is the message of one thing that a compositor has.
func global(face string) []byte {
	return request(nil, registryObject, registryGlobal, wlUint(1), wlString(face), wlUint(1))
}

func TestWhatACompositorMayNotSay(t *testing.T) {
	long := global(seatFace)
	short := append([]byte{}, long...)
	binary.NativeEndian.PutUint32(short[12:], 400)
	for name, words := range map[string][]byte{
		"a message shorter than its head":   request(nil, 9, 0)[:4:4],
		"a size below the least":            append(wlUint(9), wlUint(4<<16)...),
		"a size that is no number of words": append(wlUint(9), wlUint(10<<16)...),
		"a size above the most":             append(wlUint(9), wlUint(8192<<16)...),
		"a name without an end":             request(nil, registryObject, registryGlobal, wlUint(1), wlUint(4), []byte("seat"), wlUint(1)),
		"a name longer than its message":    short,
		"an empty thing":                    request(nil, registryObject, registryGlobal, wlUint(1)),
		"an error":                          request(nil, displayObject, displayError, wlUint(4), wlUint(1), wlString("no")),
	} {
		w := &wayland{in: words, watched: map[uint32]*rests{}}
		if err := w.parse(); name != "a message shorter than its head" && !errors.Is(err, errWayland) {
			t.Errorf("%s: %v", name, err)
		}
		if len(w.seats) > 0 || w.notifier != nil {
			t.Errorf("%s: it is taken in", name)
		}
	}
	w := &wayland{watched: map[uint32]*rests{}}
	for _, b := range append(global(seatFace), global(notifierFace)...) { // byte by byte
		if w.in = append(w.in, b); w.parse() != nil {
			t.Fatal("a good message is refused")
		}
	}
	if len(w.seats) != 1 || w.notifier == nil || len(w.in) > 0 {
		t.Errorf("%+v", w)
	}
}

func FuzzWayland(f *testing.F) {
	f.Add(global(seatFace))
	f.Add(append(global(notifierFace), request(nil, firstObject+1, noticeIdled)...))
	f.Add(request(nil, listedObject, 0, wlUint(0)))
	f.Fuzz(func(t *testing.T, words []byte) {
		w := &wayland{in: words, watched: map[uint32]*rests{firstObject + 1: {}}}
		if err := w.parse(); err == nil && len(w.in) >= maxMessage || len(w.seats) > maxSeats || len(w.watched) != 1 {
			t.Errorf("%v: %d bytes are left, %d seats", err, len(w.in), len(w.seats))
		}
	})
}

func TestWhereTheCompositorListens(t *testing.T) {
	for _, row := range [][3]string{{"wayland-1", "/run/user/1000", "/run/user/1000/wayland-1"}, {"/tmp/w", "", "/tmp/w"}, {"", "/run/user/1000", ""}, {"wayland-0", "", ""}} {
		env := map[string]string{"WAYLAND_DISPLAY": row[0], "XDG_RUNTIME_DIR": row[1]}
		if got := socketOf(func(name string) string { return env[name] }); got != row[2] {
			t.Errorf("%q in %q: %q, want %q", row[0], row[1], got, row[2])
		}
	}
}
