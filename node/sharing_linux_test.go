package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// counting is a program that counts to n in a loop, and does nothing else.
func counting(n int64) []byte {
	var number []byte // in signed LEB128
	for {
		b := byte(n & 0x7f)
		if n >>= 7; n == 0 && b&0x40 == 0 {
			number = append(number, b)
			break
		}
		number = append(number, b|0x80)
	}
	body := "\x01\x01\x7e" + "\x03\x40" + "\x20\x00" + "\x42\x01" + "\x7c" + "\x22\x00" + "\x42" + string(number) + "\x54" + "\x0d\x00" + "\x0b" + "\x0b"
	code := fmt.Sprintf("\x01%c%s", len(body), body)
	return fmt.Appendf(nil, "\x00asm\x01\x00\x00\x00"+"\x01\x04\x01\x60\x00\x00"+"\x03\x02\x01\x00"+"\x07\x0a\x01\x06_start\x00\x00"+"\x0a%c%s", len(code), code)
}

// sandboxes are the children of this process that run programs, with the processor time that each has used, in hundredths of a second, and whether all stand still.
func sandboxes(t *testing.T) (ticks map[int]int64, still bool) {
	t.Helper()
	ticks, still = map[int]int64{}, true
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if f[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		user, _ := strconv.ParseInt(f[11], 10, 64)
		system, _ := strconv.ParseInt(f[12], 10, 64)
		ticks[pid] = user + system
		still = still && f[0] == "T"
	}
	return ticks, still
}

// growth is how much all together have used more.
func growth(before, after map[int]int64) (sum int64) {
	for pid, n := range after {
		sum += n - before[pid]
	}
	return sum
}

func comes(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(2 * time.Minute)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}

// Alice's job runs on Bob's PC. Bob comes back: within a second what runs stands still, and uses less than 1 % of a processor. He goes: it goes on. He comes
// back for longer than his patience allows: the lease is handed back, and Carol's PC brings the job to its end.
func TestBobComesBackToHisPC(t *testing.T) {
	cfg := quiet(t)
	cfg.Provide = false
	h, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, func() {}) }()
	defer func() { cancel(); <-ended; _ = h.Close() }()
	var alice *client.Client
	comes(t, "alice answers", func() bool { alice, err = client.Open(cfg.Home); return err == nil })
	defer alice.Close()

	desk := quiet(t)
	desk.Join, desk.Slots = h.Addresses(), 1
	desk.Share.Presence = "auto"
	desk.Share.Patience = 15 * time.Second // the first stop is shorter
	desk.Share.Policy.Away.Total = 1       // whatever else this machine does
	h2, err := New(t.Context(), desk)
	bob := start(t, h2, err)
	if err := bob.api.Report(t.Context(), client.Presence{Idle: 3600}); err != nil {
		t.Fatal(err)
	}

	module, err := alice.PutBytes(t.Context(), bytes.NewReader(counting(6e9)))
	if err != nil {
		t.Fatal(err)
	}
	id, err := alice.Submit(t.Context(), job.Spec{Kind: job.Batch, Run: job.Run{WASM: module.CID}, Limits: job.Limits{Time: job.Duration(time.Hour)}, Verify: job.Verify{Mode: job.None}}, false)
	if err != nil {
		t.Fatal(err)
	}
	begun, _ := sandboxes(t)
	comes(t, "bob's PC is at work", func() bool {
		now, _ := sandboxes(t)
		s, err := bob.api.Share(t.Context())
		return err == nil && s.Busy == 1 && growth(begun, now) > 20
	})

	returned := time.Now()
	if err := bob.api.Report(t.Context(), client.Presence{Idle: 0}); err != nil {
		t.Fatal(err)
	}
	before, still := sandboxes(t)
	for !still && time.Since(returned) < time.Second {
		before, still = sandboxes(t)
	}
	took := time.Since(returned)
	if len(before) == 0 {
		t.Error("there is no sandbox")
	}
	<-time.After(2 * time.Second)
	after, _ := sandboxes(t)
	if used := growth(before, after); used > 2 {
		t.Errorf("in 2 s they used %d hundredths of a second", used)
	}
	t.Logf("after %v, still: %v; then %d hundredths of a second of a processor in 2 s", took, still, growth(before, after))
	comes(t, "they stand still", func() bool { _, still := sandboxes(t); return still }) // on a busy machine what is told to stop may not even have its turn for that
	s, err := bob.api.Share(t.Context())
	if err != nil || s.Cores != 0 || s.Profile != "in-use" || !strings.Contains(s.Sentence, "somebody is at this PC") {
		t.Errorf("%+v, %v", s, err)
	}

	if err := bob.api.Report(t.Context(), client.Presence{Idle: 3600}); err != nil {
		t.Fatal(err)
	}
	comes(t, "it goes on when bob goes", func() bool { now, _ := sandboxes(t); return growth(after, now) > 20 })

	if err := bob.api.Report(t.Context(), client.Presence{Idle: 0}); err != nil {
		t.Fatal(err)
	}
	comes(t, "bob hands the lease back", func() bool { s, err := bob.api.Share(t.Context()); return err == nil && s.Leases == 0 && s.Busy == 0 })
	comes(t, "no sandbox of bob's is left", func() bool { now, _ := sandboxes(t); return len(now) == 0 })

	room := quiet(t)
	room.Join = h.Addresses()
	h3, err := New(t.Context(), room)
	carol := start(t, h3, err)
	var last job.Status
	if err := alice.Watch(t.Context(), id, func(st job.Status) error { last = st; return nil }); err != nil {
		t.Fatal(err)
	}
	if last.State != job.Settled || len(last.Nodes) != 1 || last.Nodes[0].Node != carol.ID() {
		t.Errorf("%+v (%v)", last, last.Error)
	}
	why, err := alice.Why(t.Context(), id)
	text, _ := json.Marshal(why)
	if err != nil || !strings.Contains(string(text), "suspended for too long: somebody is at this PC") {
		t.Errorf("why: %s, %v", text, err)
	}
}

// Bob's node runs a result of others again, as a juror does. He comes back: within a second that stands still, too, and goes on when he goes.
func TestBobsJuryRestsWhileHeIsThere(t *testing.T) {
	desk := quiet(t)
	desk.Chain, desk.Slots = true, 1
	if err := Found(Founding{Ring: filepath.Join(desk.Home, "keys"), Homes: []string{desk.Home}, Seats: 1}); err != nil {
		t.Fatal(err)
	}
	desk.Share.Presence = "auto"
	desk.Share.Policy.Away.Total = 1 // whatever else this machine does
	h, err := New(t.Context(), desk)
	bob := start(t, h, err)
	m := bob.first()
	if m.examiner == nil {
		t.Fatal("bob's node examines nothing")
	}
	if err := bob.api.Report(t.Context(), client.Presence{Idle: 3600}); err != nil {
		t.Fatal(err)
	}
	module, err := bob.api.PutBytes(t.Context(), bytes.NewReader(counting(1<<62)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		s := lease.Statement{Work: lease.Work{Module: module.CID, Count: 1, Resources: job.Resources{Memory: 1 << 20, Disk: 1 << 20}}}
		_, err := m.examiner.Examine(ctx, s, nil)
		over <- err
	}()
	defer func() { cancel(); <-over }()
	begun, _ := sandboxes(t)
	comes(t, "the jury is at work", func() bool { now, _ := sandboxes(t); return growth(begun, now) > 20 })

	returned := time.Now()
	if err := bob.api.Report(t.Context(), client.Presence{Idle: 0}); err != nil {
		t.Fatal(err)
	}
	before, still := sandboxes(t)
	for !still && time.Since(returned) < time.Second {
		before, still = sandboxes(t)
	}
	if took := time.Since(returned); !still || len(before) == 0 || took > time.Second {
		t.Errorf("%v after bob came back, %d sandboxes stand still: %v", took, len(before), still)
	}
	<-time.After(time.Second)
	after, _ := sandboxes(t)
	if used := growth(before, after); used > 1 {
		t.Errorf("in a second they used %d hundredths of one", used)
	}
	if err := bob.api.Report(t.Context(), client.Presence{Idle: 3600}); err != nil {
		t.Fatal(err)
	}
	comes(t, "it goes on when bob goes", func() bool { now, _ := sandboxes(t); return growth(after, now) > 20 })
}

// entrance is where bob logs in.
type entrance struct{ in atomic.Bool }

// Idle tells of his session, once there is one.
func (e *entrance) Idle(context.Context) (time.Duration, error) {
	if !e.in.Load() {
		return 0, machine.ErrNoSession
	}
	return 0, nil
}

// Bob's PC, at which nobody is logged in, works for others. He logs in: within a second it does not.
func TestBobLogsIn(t *testing.T) {
	cfg := quiet(t)
	cfg.Share.Presence = "auto"
	h, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	bob, sessions := &entrance{}, t.TempDir()
	h.sharing.watch = machine.WatchAt([]string{sessions}, bob)
	h.sharing.meter = machine.NewMeter(h.sharing.watch, machine.Kin{})
	start(t, h, nil)
	decided := func() machine.Decision {
		h.sharing.mu.Lock()
		defer h.sharing.mu.Unlock()
		return h.sharing.decision
	}
	comes(t, "the PC is shared, and changes of its sessions are seen", func() bool {
		all, err := filepath.Glob("/proc/self/fdinfo/*")
		return err == nil && decided().Cores > 0 && slices.ContainsFunc(all, func(name string) bool {
			text, err := os.ReadFile(name)
			return err == nil && bytes.Contains(text, []byte("inotify wd:"))
		})
	})
	began := time.Now()
	bob.in.Store(true)
	if err := os.WriteFile(filepath.Join(sessions, "c1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	comes(t, "he is noticed", func() bool { return decided().Profile == "in-use" })
	took := time.Since(began)
	if d := decided(); took > time.Second || d.Cores != 0 || h.first().provider.Free("somebody").Refusal != "somebody is at this PC" {
		t.Errorf("%v after he has logged in: %+v", took, d)
	}
	t.Logf("noticed within %v", took)
}
