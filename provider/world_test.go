package provider

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/store"
)

// person is somebody with a node: a key and the peer ID that holds it.
type person struct {
	key crypto.PrivKey
	id  peer.ID
}

func named(t testing.TB, name string) person {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return person{key, id}
}

// bob is a provider at work, with a shelf of content and an engine whose programs are Go functions.
type bob struct {
	*Provider
	t      testing.TB
	me     person
	shelf  *shelf
	engine *works
	doors  *doors
	stop   func()
}

// opens a provider of one slot that serves until the test ends; change edits its configuration.
func opens(t testing.TB, change ...func(*Config)) *bob {
	t.Helper()
	b := &bob{t: t, me: named(t, "bob"), shelf: newShelf(), engine: newWorks(t), doors: &doors{}}
	cfg := Default(filepath.Join(t.TempDir(), "provider"))
	cfg.Slots, cfg.Memory, cfg.Disk = 1, 4<<30, 4<<30
	for _, c := range change {
		c(&cfg)
	}
	b.begin(cfg)
	return b
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// begin starts a process of bob's.
func (b *bob) begin(cfg Config) {
	p, err := New(quiet(), b.me.id, b.doors, b.shelf, map[string]engine.Engine{"fake": b.engine}, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx) }()
	b.Provider = p
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
}

// restarts kills bob's process and starts another one; nobody's sessions survive on its side.
func (b *bob) restarts() {
	b.stop()
	b.begin(b.cfg)
}

// doors are where sessions come in.
type doors struct{ fn func(Session) }

func (d *doors) Accept(_ string, fn func(Session)) { d.fn = fn }

// client is a requester's end: alice, or carol.
type client struct {
	t     testing.TB
	me    person
	bob   *bob
	wire  *wire
	lease lease.Lease
	id    string
	seq   uint64
}

// visits opens a session with bob.
func (b *bob) visits(name string) *client {
	c := &client{t: b.t, me: named(b.t, name), bob: b, wire: newWire()}
	c.wire.peer = c.me.id
	b.doors.fn(c.wire)
	return c
}

// signs makes a lease with bob without the market; edit changes its terms before they are signed.
func (c *client) signs(slots int, edit ...func(*lease.Terms)) lease.Lease {
	c.t.Helper()
	now := time.Now()
	c.seq++
	terms := lease.Terms{
		Order: lease.Order{Job: fmt.Sprint("job-", c.seq), Requester: c.me.id.String(), Engine: "fake", Slots: slots,
			Resources: job.Resources{CPU: 1, Memory: 64 << 20, Disk: 1 << 20}},
		Quote: lease.Quote{Provider: c.bob.me.id.String(), Slots: slots, Until: now.Add(time.Minute).UnixMilli()},
		From:  now.UnixMilli(), Until: now.Add(time.Hour).UnixMilli(),
	}
	for _, e := range edit {
		e(&terms)
	}
	return lease.Lease{Terms: terms, Requester: sign(c.t, terms, c.me), Provider: sign(c.t, terms, c.bob.me)}
}

func sign(t testing.TB, terms lease.Terms, by person) []byte {
	t.Helper()
	sig, err := terms.Sign(by.key)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// work is what a job of this program asks for.
func (c *client) work(program string) lease.Work {
	return lease.Work{Module: c.bob.shelf.put([]byte(program)), Count: 1, Resources: job.Resources{CPU: 1, Memory: 64 << 20, Disk: 1 << 20}}
}

// begins makes a lease, begins it and waits until bob holds it.
func (c *client) begins(w lease.Work, slots int) *lease.Held {
	c.t.Helper()
	c.lease = c.signs(slots)
	c.id = c.lease.ID()
	return c.resumes(w)
}

func (c *client) resumes(w lease.Work) *lease.Held {
	c.t.Helper()
	c.says(lease.Message{Begin: &lease.Begin{Lease: c.lease, Work: w}})
	for {
		m := c.hears()
		if m.Refused != nil {
			c.t.Fatalf("refused: %+v", m.Refused)
		}
		if m.Held != nil {
			return m.Held
		}
	}
}

func (c *client) says(m lease.Message) {
	c.t.Helper()
	if m.Lease == "" {
		m.Lease = c.id
	}
	b, err := m.Encode()
	if err != nil {
		c.t.Fatal(err)
	}
	c.wire.deliver(b)
}

// assigns gives tasks with these indexes.
func (c *client) assigns(indexes ...uint64) {
	c.t.Helper()
	var tasks []job.Task
	for _, i := range indexes {
		tasks = append(tasks, job.Task{Index: i})
	}
	c.gives(tasks...)
}

func (c *client) gives(tasks ...job.Task) {
	c.t.Helper()
	c.says(lease.Message{Assign: &lease.Assign{Tasks: tasks}})
}

// hears waits for bob's next message.
func (c *client) hears() lease.Message {
	c.t.Helper()
	b, ok := c.wire.next()
	if !ok {
		c.t.Fatal("the session is closed")
	}
	m, err := lease.DecodeMessage(b)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// collects waits for n results, each of another task.
func (c *client) collects(n int) map[uint64]job.Result {
	c.t.Helper()
	got := map[uint64]job.Result{}
	for len(got) < n {
		m := c.hears()
		switch {
		case m.Refused != nil:
			c.t.Fatalf("refused: %+v", m.Refused)
		case m.Results != nil:
			for _, r := range m.Results.Results {
				if _, twice := got[r.Index]; twice {
					c.t.Fatalf("two results of task %d", r.Index)
				}
				got[r.Index] = r
			}
		}
	}
	return got
}

// refusal waits until bob refuses.
func (c *client) refusal() lease.Refused {
	c.t.Helper()
	for {
		if m := c.hears(); m.Refused != nil {
			return *m.Refused
		}
	}
}

// upTo is the indexes 0 … n-1.
func upTo(n int) []uint64 {
	var all []uint64
	for i := range n {
		all = append(all, uint64(i))
	}
	return all
}

// wire is a session in one process. Messages of the provider count as unacked until the client acks them.
type wire struct {
	peer peer.ID

	mu     sync.Mutex
	in     []p2p.Message
	out    [][]byte
	seq    uint64
	acked  uint64 // of in
	unread int    // of out, counted from the last ack
	window int    // messages that may be unacked; 0 = any number
	greedy bool   // the client acks what it hears
	closed bool
	change chan struct{}
}

func newWire() *wire { return &wire{greedy: true, change: make(chan struct{})} }

// await runs try until it is true, again after each change; false when ctx ends.
func (w *wire) await(ctx context.Context, try func() bool) bool {
	for {
		w.mu.Lock()
		ok, change := try(), w.change
		if ok {
			close(w.change)
			w.change = make(chan struct{})
		}
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-change:
		case <-ctx.Done():
			return false
		}
	}
}

func (w *wire) do(fn func()) {
	w.await(context.Background(), func() bool { fn(); return true })
}

func (w *wire) Peer() peer.ID { return w.peer }

func (w *wire) Send(ctx context.Context, msg []byte) error {
	if !w.await(ctx, func() bool {
		if !w.closed && w.window > 0 && w.unread >= w.window {
			return false
		}
		w.out = append(w.out, msg)
		w.unread++
		return true
	}) {
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return p2p.ErrClosed
	}
	return nil
}

func (w *wire) Receive(ctx context.Context) (m p2p.Message, err error) {
	if !w.await(ctx, func() bool {
		switch {
		case len(w.in) > 0:
			m, w.in = w.in[0], w.in[1:]
		case w.closed:
			err = p2p.ErrClosed
		default:
			return false
		}
		return true
	}) {
		return m, ctx.Err()
	}
	return m, err
}

func (w *wire) Ack(seq uint64) { w.do(func() { w.acked = seq }) }
func (w *wire) Close()         { w.do(func() { w.closed = true }) }
func (w *wire) Unacked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unread
}

func (w *wire) deliver(b []byte) {
	w.do(func() { w.seq++; w.in = append(w.in, p2p.Message{Seq: w.seq, Data: b}) })
}

func (w *wire) event(e p2p.Event) {
	w.do(func() { w.in = append(w.in, p2p.Message{Event: e}) })
}

func (w *wire) next() (b []byte, ok bool) {
	w.await(context.Background(), func() bool {
		if len(w.out) > 0 {
			b, ok, w.out = w.out[0], true, w.out[1:]
			if w.greedy {
				w.unread--
			}
		}
		return ok || w.closed
	})
	return b, ok
}

// shelf is a content store in memory. A file is its bytes; a folder is a list of links, as text.
type shelf struct {
	mu       sync.Mutex
	content  map[cid.Cid]item
	pins     map[cid.Cid]string
	full     bool
	reserves int
}

type item struct {
	file  []byte
	links map[string]cid.Cid // of a folder
}

func newShelf() *shelf { return &shelf{content: map[cid.Cid]item{}, pins: map[cid.Cid]string{}} }

func address(b []byte) cid.Cid {
	h, err := multihash.Sum(b, multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, h)
}

// put places a file and returns its address.
func (s *shelf) put(b []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := address(b)
	s.content[c] = item{file: bytes.Clone(b)}
	return c.String()
}

// folder places a folder of files.
func (s *shelf) folder(files map[string]string) string {
	links := map[string]cid.Cid{}
	for name, text := range files {
		links[name] = cid.MustParse(s.put([]byte(text)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dir(links).String()
}

func (s *shelf) dir(links map[string]cid.Cid) cid.Cid {
	var lines []string
	for name, c := range links {
		lines = append(lines, name+" "+c.String())
	}
	sort.Strings(lines)
	c := address([]byte("folder\n" + strings.Join(lines, "\n")))
	s.content[c] = item{links: links}
	return c
}

func (s *shelf) Resolve(_ context.Context, ref string) (cid.Cid, error) { return cid.Decode(ref) }

func (s *shelf) Fetch(ctx context.Context, c cid.Cid, progress func(store.Progress), _ ...peer.ID) (int64, error) {
	s.mu.Lock()
	it, ok := s.content[c]
	s.mu.Unlock()
	if !ok {
		<-ctx.Done() // nobody has it, but somebody might come who does
		return 0, ctx.Err()
	}
	progress(store.Progress{Bytes: int64(len(it.file))})
	return int64(len(it.file)), nil
}

func (s *shelf) Export(_ context.Context, c cid.Cid, host string, limit int64, progress func(store.Progress)) error {
	s.mu.Lock()
	it, ok := s.content[c]
	s.mu.Unlock()
	switch {
	case !ok:
		return store.ErrNotFound
	case it.links == nil && int64(len(it.file)) > limit:
		return store.ErrTooLarge
	case it.links == nil:
		progress(store.Progress{Bytes: int64(len(it.file))})
		return os.WriteFile(host, it.file, 0o600)
	}
	if err := os.Mkdir(host, 0o700); err != nil {
		return err
	}
	var total int64
	for name, link := range it.links {
		if err := s.Export(context.Background(), link, filepath.Join(host, name), limit-total, func(p store.Progress) { total += p.Bytes }); err != nil {
			return err
		}
	}
	progress(store.Progress{Bytes: total})
	return nil
}

func (s *shelf) AddPath(_ context.Context, path string, _ func(store.Progress)) (store.Entry, error) {
	if s.full {
		return store.Entry{}, store.ErrFull
	}
	if s.reserves == 0 {
		return store.Entry{}, errors.New("added without a reserve: it could be collected before its pin")
	}
	info, err := os.Stat(path)
	if err != nil {
		return store.Entry{}, err
	}
	if !info.IsDir() {
		b, err := os.ReadFile(path)
		return store.Entry{CID: cid.MustParse(s.put(b)), Size: uint64(len(b))}, err
	}
	files := map[string]string{}
	size := 0
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		files[strings.ReplaceAll(strings.TrimPrefix(name, path+"/"), "/", "_")] = string(b)
		size += len(b)
		return err
	})
	return store.Entry{CID: cid.MustParse(s.folder(files)), Size: uint64(size)}, err
}

func (s *shelf) Dir(_ context.Context, links []store.Link) (store.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]cid.Cid{}
	for _, l := range links {
		if _, twice := all[l.Name]; twice || l.Name == "" || len(l.Name) > 255 {
			return store.Entry{}, fmt.Errorf("name %q", l.Name)
		}
		all[l.Name] = l.CID
	}
	return store.Entry{CID: s.dir(all)}, nil
}

func (s *shelf) Reserve(context.Context) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserves++
	return func() { s.mu.Lock(); s.reserves--; s.mu.Unlock() }, nil
}

func (s *shelf) Pin(_ context.Context, c cid.Cid, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pins[c] = name
	return nil
}

func (s *shelf) Unpin(_ context.Context, c cid.Cid) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.pins[c]; !ok {
		return store.ErrNotFound
	}
	delete(s.pins, c)
	return nil
}

func (s *shelf) pinned() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pins)
}

// read returns a file, or a file of a folder.
func (s *shelf) read(t testing.TB, ref string, path ...string) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.content[cid.MustParse(ref)]
	if !ok {
		t.Fatalf("%s is not here", ref)
	}
	for _, name := range path {
		it = s.content[it.links[name]]
	}
	return string(it.file)
}

// works is an engine whose modules hold the name of a Go function. It notes every start of a task.
type works struct {
	t testing.TB

	mu     sync.Mutex
	starts []string // "lease index"
	open   map[*room]bool
	opens  int
	most   int // sandboxes open at once
}

func newWorks(t testing.TB) *works { return &works{t: t, open: map[*room]bool{}} }

func (w *works) Name() string { return "fake" }

func (w *works) Open(_ context.Context, p engine.Program) (engine.Sandbox, error) {
	module, err := os.ReadFile(p.Module)
	if err != nil {
		return nil, err
	}
	if key, err := digest(p.Module); err != nil || key != p.Key {
		return nil, fmt.Errorf("key %s of a module with %s, %v", p.Key, key, err)
	}
	run := programs()[string(module)]
	if string(module) == "machine at fault" {
		return nil, errors.New("no child process can be started")
	}
	if run == nil {
		return nil, &engine.ProgramError{Module: "x.wasm", Message: "it does not export _start", Hint: "build it as a command"}
	}
	if entries, err := os.ReadDir(p.Dir); err != nil || len(entries) > 0 {
		w.t.Errorf("the sandbox's folder is not there or not empty: %v %v", entries, err)
	}
	r := &room{w: w, p: p, run: run, cancelled: map[uint64]bool{}, stdin: map[uint64]feed{}, change: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[r] = true
	w.opens++
	w.most = max(w.most, len(w.open))
	return r, nil
}

func (w *works) started() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.starts)
}

func (w *works) rooms() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open)
}

type feed struct {
	size int64
	eof  bool
}

// room is one sandbox: it runs one task at a time, and tells outcomes as they come.
type room struct {
	w   *works
	p   engine.Program
	run func(*guest) (exit int)

	mu        sync.Mutex
	cancelled map[uint64]bool
	stdin     map[uint64]feed
	paused    bool
	closed    bool
	change    chan struct{}
}

func (r *room) do(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
	close(r.change)
	r.change = make(chan struct{})
}

// await waits until ok, for as long as the task may go on; it stands still while the room is paused.
func (r *room) await(ctx context.Context, id uint64, until <-chan time.Time, ok func() bool) bool {
	for {
		r.mu.Lock()
		stop, done, change, paused := r.cancelled[id] || r.closed, ok(), r.change, r.paused
		r.mu.Unlock()
		switch {
		case stop || ctx.Err() != nil:
			return false
		case done && !paused:
			return true
		}
		select {
		case <-change:
		case <-ctx.Done():
		case <-until:
			if !paused {
				return true
			}
			until = nil
			ok = func() bool { return true }
		}
	}
}

func (r *room) Run(ctx context.Context, tasks []engine.Task, sink engine.Sink) error {
	for _, task := range tasks {
		if !r.await(ctx, task.ID, nil, func() bool { return true }) {
			sink.Done([]engine.Outcome{{ID: task.ID, End: engine.Cancelled, Exit: -1}})
			continue
		}
		sink.Done([]engine.Outcome{r.one(ctx, task, sink)})
	}
	return nil
}

func (r *room) one(ctx context.Context, task engine.Task, sink engine.Sink) engine.Outcome {
	g := &guest{r: r, ctx: ctx, task: task, sink: sink, env: map[string]string{}}
	for _, kv := range append(slices.Clone(r.p.Env), task.Env...) {
		name, value, _ := strings.Cut(kv, "=")
		g.env[name] = value
	}
	r.w.mu.Lock()
	r.w.starts = append(r.w.starts, r.p.Lease+" "+g.env["HPIPS_INDEX"])
	r.w.mu.Unlock()
	began := time.Now()
	o := engine.Outcome{ID: task.ID, Outputs: map[string]string{}}
	for i, guestDir := range task.Outputs {
		o.Outputs[guestDir] = filepath.Join(r.p.Dir, fmt.Sprint("out-", task.ID, "-", i))
		if err := os.MkdirAll(o.Outputs[guestDir], 0o700); err != nil {
			return engine.Outcome{ID: task.ID, End: engine.Broken, Message: err.Error()}
		}
	}
	g.outputs = o.Outputs
	o.Exit = r.run(g)
	o.End, o.Usage.Wall = engine.Exited, time.Since(began)
	if g.end != "" {
		o.End, o.Exit, o.Message = g.end, -1, g.message
	}
	o.Stdout = engine.Blob{Inline: g.out.Bytes(), Size: int64(g.out.Len())}
	o.Stderr = engine.Blob{Inline: []byte(g.err), Size: int64(len(g.err))}
	if g.out.Len() > job.InlineLimit {
		o.Stdout = engine.Blob{Path: filepath.Join(r.p.Dir, fmt.Sprint("stdout-", task.ID)), Size: int64(g.out.Len())}
		if err := os.WriteFile(o.Stdout.Path, g.out.Bytes(), 0o600); err != nil {
			return engine.Outcome{ID: task.ID, End: engine.Broken, Message: err.Error()}
		}
	}
	return o
}

func (r *room) Feed(id uint64, size int64, eof bool) { r.do(func() { r.stdin[id] = feed{size, eof} }) }
func (r *room) Cancel(id uint64)                     { r.do(func() { r.cancelled[id] = true }) }
func (r *room) Pause() error                         { r.do(func() { r.paused = true }); return nil }
func (r *room) Resume() error                        { r.do(func() { r.paused = false }); return nil }

func (r *room) Release(id uint64) {
	for _, pattern := range []string{fmt.Sprint("out-", id, "-*"), fmt.Sprint("stdout-", id)} {
		found, _ := filepath.Glob(filepath.Join(r.p.Dir, pattern))
		for _, path := range found {
			os.RemoveAll(path)
		}
	}
}

func (r *room) Close() error {
	r.do(func() { r.closed = true })
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	delete(r.w.open, r)
	return nil
}

// guest is what a program sees.
type guest struct {
	r       *room
	ctx     context.Context
	task    engine.Task
	sink    engine.Sink
	env     map[string]string
	outputs map[string]string
	out     bytes.Buffer
	err     string
	end     engine.End
	message string
}

func (g *guest) print(s string) {
	if g.task.Stream {
		g.sink.Output(g.task.ID, 1, int64(g.out.Len()), []byte(s))
	}
	g.out.WriteString(s)
}

// sleep waits; it reports false if the task was ended meanwhile.
func (g *guest) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	if !g.r.await(g.ctx, g.task.ID, timer.C, func() bool { return false }) {
		g.end = engine.Cancelled
		return false
	}
	return true
}

// host finds what is mounted at a guest path.
func (g *guest) host(path string) string {
	for _, m := range append(slices.Clone(g.r.p.Mounts), g.task.Mounts...) {
		if rest, ok := strings.CutPrefix(path, m.Guest); ok {
			return m.Host + rest
		}
	}
	return "/nothing/is/mounted/here"
}

func (g *guest) cat(host string) int {
	b, err := os.ReadFile(host)
	if err != nil {
		g.err = err.Error()
		return 1
	}
	g.print(string(b))
	return 0
}

// programs are what modules may name.
func programs() map[string]func(*guest) int {
	return map[string]func(*guest) int{
		"index": func(g *guest) int { g.print(g.env["HPIPS_INDEX"]); return 0 },
		"env": func(g *guest) int {
			g.print(fmt.Sprint(g.r.p.Args, " ", g.env["HPIPS_INDEX"], "/", g.env["HPIPS_COUNT"], " ", g.env["HPIPS_INPUT"], " ", g.env["COLOUR"], " ", g.env["SIZE"]))
			return 0
		},
		"cat":     func(g *guest) int { return g.cat(g.host(g.env["HPIPS_INPUT"])) },
		"shared":  func(g *guest) int { return g.cat(g.host("/data/words")) },
		"folder":  func(g *guest) int { return g.cat(g.host(g.env["HPIPS_INPUT"] + "/b.txt")) },
		"exit3":   func(g *guest) int { g.err = "no luck"; return 3 },
		"trap":    func(g *guest) int { g.end, g.message = engine.Trapped, "unreachable"; return 0 },
		"broken":  func(g *guest) int { g.end, g.message = engine.Broken, "the sandbox died"; return 0 },
		"large":   func(g *guest) int { g.print(strings.Repeat("x", 100<<10)); return 0 },
		"forever": func(g *guest) int { g.sleep(1000 * time.Hour); return 0 },
		"10ms":    func(g *guest) int { g.sleep(10 * time.Millisecond); g.print(g.env["HPIPS_INDEX"]); return 0 },
		"second":  func(g *guest) int { g.sleep(time.Second); g.print(g.env["HPIPS_INDEX"]); return 0 },
		"uneven": func(g *guest) int { // the first hundred are quick, the others are slow
			if len(g.env["HPIPS_INDEX"]) < 3 {
				g.sleep(time.Millisecond)
			} else {
				g.sleep(time.Second)
			}
			return 0
		},
		"odd waits": func(g *guest) int {
			if g.env["HPIPS_INDEX"] == "7" {
				g.sleep(1000 * time.Hour)
			} else {
				g.sleep(10 * time.Millisecond)
			}
			g.print(g.env["HPIPS_INDEX"])
			return 0
		},
		"files": func(g *guest) int {
			for guestDir, host := range g.outputs {
				if err := os.WriteFile(filepath.Join(host, "made"), []byte("in "+guestDir), 0o600); err != nil {
					g.err = err.Error()
					return 1
				}
			}
			return 0
		},
		"stdin": func(g *guest) int {
			if !g.task.StdinOpen {
				return g.cat(g.task.Stdin)
			}
			var last int64
			for {
				var f feed
				if !g.r.await(g.ctx, g.task.ID, nil, func() bool { f = g.r.stdin[g.task.ID]; return f.size > last || f.eof }) {
					g.end = engine.Cancelled
					return 0
				}
				file, err := os.Open(g.task.Stdin)
				if err != nil {
					g.err = err.Error()
					return 1
				}
				b, err := io.ReadAll(io.NewSectionReader(file, last, f.size-last))
				file.Close()
				if err != nil || int64(len(b)) != f.size-last {
					g.err = fmt.Sprint("short standard input: ", len(b), err)
					return 1
				}
				g.print(string(b))
				if last = f.size; f.eof {
					return 0
				}
			}
		},
		"stream": func(g *guest) int {
			for i := range 3 {
				g.print(fmt.Sprint("line ", i, "\n"))
				g.sleep(time.Second)
			}
			return 0
		},
	}
}
