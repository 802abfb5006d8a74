package requester

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// town is a network of fake providers around one requester, with a fake store. It is honest: messages pass through their real bytes, in
// order, and are kept until acknowledged.
type town struct {
	t     testing.TB
	dir   string
	mu    sync.Mutex
	folk  []*worker
	shelf *shelf

	unwilling int    // how many extensions are still refused
	extended  int    // how many were not
	opened    int    // leases
	bank      *bank  // pays; nil: nobody does
	jury      bool   // alice wants one
	court     *court // audits what she pays for; nil: nobody does

	sandbox *enginetest.Fake // for checkers
	list    market.List      // whom alice hires
}

func newTown(t testing.TB, names ...string) *town {
	tn := &town{t: t, dir: t.TempDir(), shelf: newShelf()}
	for _, name := range names {
		tn.arrive(name)
	}
	return tn
}

// arrive adds a provider with one slot that answers tasks at once.
func (tn *town) arrive(name string) *worker {
	tn.t.Helper()
	seed := sha256.Sum256([]byte(name))
	key, _, err := crypto.GenerateEd25519Key(bytes.NewReader(seed[:]))
	if err != nil {
		tn.t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		tn.t.Fatal(err)
	}
	w := &worker{name: name, id: id, slots: 1, credit: 4, here: true, answer: echo}
	tn.mu.Lock()
	defer tn.mu.Unlock()
	tn.folk = append(tn.folk, w)
	return w
}

func (tn *town) peers() []peer.ID {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	var ids []peer.ID
	for _, w := range tn.folk {
		if w.present() {
			ids = append(ids, w.id)
		}
	}
	return ids
}

func (tn *town) find(id peer.ID) *worker {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	i := slices.IndexFunc(tn.folk, func(w *worker) bool { return w.id == id })
	return tn.folk[i]
}

// open starts alice's requester on the town's folder.
func (tn *town) open() *Requester {
	tn.t.Helper()
	cfg := Default(tn.dir)
	cfg.Jury = tn.jury
	var payer Payer
	if tn.bank != nil {
		payer = tn.bank.open(tn.t)
	}
	var sandbox Engine
	if tn.sandbox != nil {
		sandbox = tn.sandbox
	}
	deps := Deps{Self: "alice", Peers: tn.peers, Dial: func(p peer.ID) Session { return tn.find(p).dial() },
		Addrs: func(peer.ID) []string { return nil }, Learn: func(peer.ID, []string) {}, Market: tn, Store: tn.shelf, Payer: payer, Engine: sandbox,
		Whom: func() market.List { return tn.list }}
	if tn.court != nil {
		deps.Court, deps.Examine, cfg.Canaries = tn.court, tn.court.examine, tn.court.canaries
	}
	r, err := New(slog.New(slog.DiscardHandler), deps, cfg)
	if err != nil {
		tn.t.Fatal(err)
	}
	return r
}

// life runs a requester until the returned stop.
func (tn *town) life() (*Requester, func()) {
	r := tn.open()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx) }()
	return r, func() {
		cancel()
		if err := <-done; err != nil {
			tn.t.Error(err)
		}
		if err := r.Close(); err != nil {
			tn.t.Error(err)
		}
	}
}

// Ask, Open and Extend make the town a Market.
func (tn *town) Ask(_ context.Context, order lease.Order, ceiling market.Ceiling, peers []peer.ID) []market.Answer {
	var answers []market.Answer
	for _, p := range peers {
		w := tn.find(p)
		a := market.Answer{Peer: p, Job: order.Job, Quote: lease.Quote{Provider: p.String(), Owner: w.name, Class: w.class, Region: w.region, Speed: w.speed, GPUs: w.gpus, Slots: min(w.slots, order.Slots)}}
		a.Resources, a.Quote.Rates = order.Resources, w.rates
		if market.Hourly(w.rates, order.Resources) > uint64(ceiling) {
			a.Err = &market.Refusal{Reason: "price: too dear"}
		}
		if w.refuses != "" {
			a.Err = &market.Refusal{Reason: w.refuses}
		}
		answers = append(answers, a)
	}
	return answers
}

func (tn *town) Open(_ context.Context, p peer.ID, order lease.Order, q lease.Quote, pay *lease.Pay, term time.Duration) (lease.Lease, error) {
	now := time.Now()
	tn.mu.Lock()
	defer tn.mu.Unlock()
	q.Load, tn.opened = tn.opened, tn.opened+1 // no two leases have one name
	return lease.Lease{Terms: lease.Terms{Order: order, Quote: q, From: now.UnixMilli(), Until: now.Add(term).UnixMilli(), Pay: pay}}, nil
}

func (tn *town) Extend(_ context.Context, l lease.Lease, until time.Time) (lease.Lease, error) {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	if tn.unwilling--; tn.unwilling >= 0 {
		return l, errors.New("not reachable")
	}
	tn.extended++
	l.Terms.Serial, l.Terms.Until = l.Terms.Serial+1, until.UnixMilli()
	return l, nil
}

// worker is one fake provider.
type worker struct {
	name          string
	id            peer.ID
	slots, credit int
	refuses       string         // in its quotes
	class, region string         // likewise
	speed         uint64         // likewise
	gpus          []lease.Device // likewise
	rates         voucher.Rates
	pace          time.Duration // that it takes for a task, one after the other; 0: none
	free          time.Time     // when it is through with what it has

	mu     sync.Mutex
	here   bool
	mute   bool   // takes tasks and does not answer
	deaf   bool   // takes nothing: its session is full
	silent bool   // does not tell that it has taken vouchers
	input  []byte // of the live standard input
	eof    bool   // of it
	gap    bool   // in it
	held   map[string][]job.Task
	work   map[string]lease.Work
	ran    []uint64
	paid   map[string][]voucher.Signed                // vouchers as they came, by lease
	did    map[string]voucher.Usage                   // of what it answered, by lease
	ends   []string                                   // leases that were ended, in order
	answer func(w lease.Work, t job.Task) *job.Result // nil is no answer ever
	line   *wire
	book   *keeper // of one who is paid for leaves; nil: it takes every voucher unseen
}

// echo answers with the task's index as its standard output.
func echo(_ lease.Work, t job.Task) *job.Result {
	return &job.Result{Index: t.Index, End: job.Exited, Stdout: text(fmt.Sprintf("out %d\n", t.Index))}
}

func text(s string) job.Content { return job.Content{Inline: []byte(s), Size: int64(len(s))} }

func (w *worker) present() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.here
}

func (w *worker) hardOfHearing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deaf
}

// unacked is how many of its messages alice has not acknowledged.
func (w *worker) unacked() int {
	w.line.mu.Lock()
	defer w.line.mu.Unlock()
	return len(w.line.kept)
}

// dial opens a new line; what was not acknowledged on the old one comes again, as after a restart of alice.
func (w *worker) dial() Session {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.line
	w.line = &wire{w: w, wake: make(chan struct{}, 1)}
	if old != nil {
		for _, m := range old.kept {
			w.line.push(m.Data, p2p.EventNone)
		}
	}
	if w.here {
		w.line.push(nil, p2p.EventUp)
	}
	return w.line
}

// vanish cuts the line for good.
func (w *worker) vanish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.here, w.held = false, nil
	if w.line != nil {
		w.line.push(nil, p2p.EventDown)
	}
}

// restart forgets everything, as a new process.
func (w *worker) restart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held, w.work, w.mute, w.input, w.eof = nil, nil, false, nil, false
	w.line.push(nil, p2p.EventRestarted)
}

// speak answers everything that is held.
func (w *worker) speak() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute = false
	for id := range w.held {
		w.do(id)
	}
}

// take handles one message of alice. w.mu is held.
func (w *worker) take(m lease.Message) {
	if w.held == nil {
		w.held, w.work = map[string][]job.Task{}, map[string]lease.Work{}
	}
	switch {
	case m.Begin != nil:
		w.work[m.Lease] = m.Begin.Work
		held := &lease.Held{Credit: w.credit, Round: m.Begin.Round}
		for _, t := range w.held[m.Lease] {
			held.Tasks = append(held.Tasks, t.Index)
		}
		held.Taken = w.book.begins(m.Begin.Lease, m.Begin.Work)
		w.say(lease.Message{Lease: m.Lease, Held: held})
	case m.Assign != nil:
		n := 0
		for _, t := range m.Assign.Tasks {
			_, ok := w.work[m.Lease]
			if ok && !slices.ContainsFunc(w.held[m.Lease], func(h job.Task) bool { return h.Index == t.Index }) {
				w.held[m.Lease] = append(w.held[m.Lease], t)
				n++
			}
		}
		switch {
		case w.pace > 0:
			w.toil(m.Lease, n)
		case !w.mute:
			w.do(m.Lease)
		}
	case m.Stdin != nil:
		known := len(w.input) - int(m.Stdin.Offset)
		if w.gap = w.gap || known < 0; known >= 0 && known < len(m.Stdin.Data) {
			w.input = append(w.input, m.Stdin.Data[known:]...)
		}
		w.eof = w.eof || m.Stdin.EOF
	case m.Cancel != nil:
		w.held[m.Lease] = slices.DeleteFunc(w.held[m.Lease], func(t job.Task) bool { return slices.Contains(m.Cancel.Tasks, t.Index) })
	case m.Voucher != nil:
		if w.paid == nil {
			w.paid = map[string][]voucher.Signed{}
		}
		w.paid[m.Lease] = append(w.paid[m.Lease], m.Voucher.Signed)
		n := w.book.takes(m.Lease, *m.Voucher)
		if w.book == nil && !w.silent && m.Voucher.Voucher.Root != [32]byte{} {
			n = m.Voucher.Voucher.Usage.Tasks
		}
		if n > 0 && w.here {
			w.say(lease.Message{Lease: m.Lease, Taken: &lease.Taken{Tasks: n}})
		}
	case m.End != nil:
		w.ends = append(w.ends, m.Lease)
		delete(w.held, m.Lease)
		delete(w.work, m.Lease)
	}
}

// toil has so many further tasks of a lease end one after the other.
func (w *worker) toil(id string, n int) {
	for range n {
		if now := time.Now(); w.free.Before(now) {
			w.free = now
		}
		w.free = w.free.Add(w.pace)
		time.AfterFunc(time.Until(w.free), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if !w.mute && w.here && w.line != nil {
				w.some(id, 1)
			}
		})
	}
}

func (w *worker) do(id string) { w.some(id, len(w.held[id])) }

// some answers up to n of the tasks of a lease, the first ones first.
func (w *worker) some(id string, n int) {
	if w.held == nil {
		return // it restarted meanwhile
	}
	var results []job.Result
	var tasks []job.Task
	w.held[id] = slices.DeleteFunc(w.held[id], func(t job.Task) bool {
		if n--; n < 0 {
			return false
		}
		r := w.answer(w.work[id], t)
		if r == nil {
			return false
		}
		w.ran = append(w.ran, t.Index)
		if w.did == nil {
			w.did = map[string]voucher.Usage{}
		}
		w.did[id] = w.did[id].Add(pay.Used(*r, w.work[id].Resources))
		results, tasks = append(results, *r), append(tasks, t)
		return true
	})
	w.book.did(id, tasks, results)
	if len(results) > 0 {
		w.say(lease.Message{Lease: id, Results: &lease.Results{Results: results}})
	}
}

func (w *worker) say(m lease.Message) {
	b, err := m.Encode()
	if err != nil {
		panic(err)
	}
	w.line.push(b, p2p.EventNone)
}

// wire is alice's end of the session with a worker.
type wire struct {
	w    *worker
	wake chan struct{}

	mu     sync.Mutex
	seq    uint64
	queue  []p2p.Message
	kept   []p2p.Message // sent and not acknowledged
	lost   int           // what alice has sent to who was not there
	closed bool
}

func (l *wire) push(data []byte, e p2p.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := p2p.Message{Data: data, Event: e}
	if e == p2p.EventNone {
		l.seq++
		m.Seq = l.seq
		l.kept = append(l.kept, m)
	}
	l.queue = append(l.queue, m)
	l.poke()
}

func (l *wire) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *wire) Send(ctx context.Context, msg []byte) error {
	if l.w.hardOfHearing() {
		<-ctx.Done()
		return ctx.Err()
	}
	m, err := lease.DecodeMessage(msg)
	if err != nil {
		return err
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.w.here && l.w.line == l {
		l.w.take(m)
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost++
	return nil
}

func (l *wire) Receive(ctx context.Context) (p2p.Message, error) {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return p2p.Message{}, errors.New("closed")
		}
		if len(l.queue) > 0 {
			m := l.queue[0]
			l.queue = l.queue[1:]
			l.mu.Unlock()
			return m, nil
		}
		l.mu.Unlock()
		select {
		case <-l.wake:
		case <-ctx.Done():
			return p2p.Message{}, ctx.Err()
		}
	}
}

func (l *wire) Ack(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = slices.DeleteFunc(l.kept, func(m p2p.Message) bool { return m.Seq <= seq })
}

func (l *wire) Unacked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

func (l *wire) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *wire) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.poke()
}
