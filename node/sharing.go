package node

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/provider"
	"github.com/hpips/hpips/spec/job"
)

// pauseFile keeps what the owner said for a while, so that a restart does not end it.
const pauseFile = "share.json"

// pausing is what the owner said for a while.
type pausing struct {
	Paused bool      `json:"paused,omitempty"` // until resumed
	Until  time.Time `json:"until,omitzero"`
	Finish bool      `json:"finish,omitempty"`
}

// Pause writes into a home that nothing is shared for a while; 0 is until it is resumed. Finishing goes on being what was asked for.
func Pause(home string, d time.Duration, now time.Time) error {
	return pausing{}.change(home, func(p *pausing) {
		if p.Paused = d <= 0; d > 0 {
			p.Until = now.Add(d)
		}
	})
}

// Resume ends that, and finishing.
func Resume(home string) error {
	return pausing{}.change(home, func(p *pausing) { *p = pausing{} })
}

// Finish writes into a home that no further lease is taken, and that it is paused after the last one.
func Finish(home string) error {
	return pausing{}.change(home, func(p *pausing) { p.Finish = true })
}

func (p pausing) change(home string, how func(*pausing)) error {
	if !there(home) {
		return &job.Failure{Code: job.CodeUsage, Message: "there is no home in " + home, Hint: "start a node there first: hpips up --home " + home}
	}
	if err := p.load(home); err != nil {
		return err
	}
	how(&p)
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return writeWhole(filepath.Join(home, pauseFile), append(text, '\n'))
}

func (p *pausing) load(home string) error {
	name := filepath.Join(home, pauseFile)
	text, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		*p = pausing{}
		return nil
	case err != nil:
		return &job.Failure{Code: job.CodeUsage, Message: "whether it is paused cannot be read: " + err.Error(), Hint: "check the owner of " + home}
	}
	var read pausing
	if err := json.Unmarshal(text, &read); err != nil {
		return &job.Failure{Code: job.CodeUsage, Message: name + " is damaged: " + err.Error(), Hint: "delete it, and pause again if it was paused"}
	}
	*p = read
	return nil
}

// over puts it over a policy.
func (p pausing) over(q machine.Policy) machine.Policy {
	q.Paused, q.PausedUntil, q.Finishing = p.Paused, p.Until, p.Finish
	return q
}

// sharing looks again and again what the owner allows and how the machine is, and tells the providers what they may use. Settings and pauses are files of the home:
// what is written there is heeded at once, also when it was written while no node ran.
type sharing struct {
	log     *slog.Logger
	home    string
	members []*member
	assumed string // presence that a flag says
	watch   *machine.Watch
	meter   *machine.Meter
	gauges  *machine.Gauges
	gpus    chan []machine.GPU // as they were read last

	graphics func(ctx context.Context, now time.Time) []machine.GPU

	stepping sync.Mutex // one look at a time
	accounts *accounts
	devices  []machine.GPU

	mu       sync.Mutex
	mark     [2]mark // of the files
	rules    Sharing
	disk     job.Size // of inputs and results of tasks; 0: as each member has it
	pause    pausing
	policy   machine.Policy // of the last look
	readings machine.Readings
	decision machine.Decision
}

func newSharing(log *slog.Logger, cfg Config, members []*member) *sharing {
	s := &sharing{log: log.With("room", "node"), home: cfg.Home, members: members, watch: machine.NewWatch(), gpus: make(chan []machine.GPU, 1), graphics: machine.NewGraphics().Read, rules: cfg.Share, disk: cfg.Disk}
	if saved, err := Load(cfg.Home); err == nil && saved.Share.Presence != cfg.Share.Presence {
		s.assumed = cfg.Share.Presence
	}
	kin := machine.Kin{Pids: s.kin, Moved: cfg.throttle.Moved}
	s.meter, s.gauges = machine.NewMeter(s.watch, kin), machine.NewGauges(kin)
	var err error
	if s.accounts, err = openAccounts(cfg.Home, cfg.throttle); err != nil {
		s.log.Warn("What went over the network this month is counted anew", "err", err)
	}
	s.mark[0] = markIn(cfg.Home, ConfigFile)
	if err := s.pause.load(cfg.Home); err != nil {
		s.log.Warn("It is not known whether sharing was paused: nothing is shared until it is resumed", "err", err)
		s.pause.Paused = true
	}
	s.mark[1] = markIn(cfg.Home, pauseFile)
	return s
}

// kin are the processes of tasks that are not below this one: an engine's own service has started them.
func (s *sharing) kin() (pids []int) {
	for _, m := range s.members {
		for _, f := range m.foreign {
			pids = append(pids, f.kin()...)
		}
	}
	return pids
}

// The times between two looks: the shorter one while somebody may come back to a PC that works for others.
const (
	lookOften = 250 * time.Millisecond
	look      = time.Second
)

// Serve looks until ctx ends.
func (s *sharing) Serve(ctx context.Context) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() { s.gaze(ctx) })
	asking.Go(func() {
		if err := s.watch.Follow(ctx); err != nil && ctx.Err() == nil {
			s.log.Info("Who logs in is noticed by asking", "err", err)
		}
	})
	defer s.settle()
	for {
		if err := s.step(ctx, time.Now()); err != nil {
			s.log.Warn("What runs for others does not heed its owner's rules", "err", err)
		}
		wait := look
		if s.alert() {
			wait = lookOften
		}
		next := time.NewTimer(wait)
		select {
		case <-next.C:
		case <-s.watch.Changed(): // somebody may have logged in
			next.Stop()
		case <-ctx.Done():
			next.Stop()
			return ctx.Err()
		}
	}
}

// settle writes the month's count down.
func (s *sharing) settle() {
	s.stepping.Lock()
	defer s.stepping.Unlock()
	now := time.Now()
	s.accounts.count(now)
	if err := s.accounts.save(now, true); err != nil {
		s.log.Warn("What went over the network is not written down", "err", err)
	}
}

func (s *sharing) alert() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readings.Presence != machine.Headless && s.readings.Leases > 0
}

// step is one look: settings, readings, decision, and what follows from it.
func (s *sharing) step(ctx context.Context, now time.Time) error {
	s.stepping.Lock()
	defer s.stepping.Unlock()
	select {
	case s.devices = <-s.gpus:
	default:
	}
	rules, disk, pause := s.settings()
	policy := pause.over(rules.Policy)
	readings := s.meter.Read(ctx, policy, now)
	readings.GPUs, readings.Leased = s.devices, s.leased()
	traffic := s.accounts.count(now)
	if readings.Traffic = &traffic; s.accounts.save(now, false) != nil {
		s.log.Debug("What went over the network is not written down yet", "file", trafficFile)
	}
	if as := orElse(s.assumed, rules.Presence); as != "auto" {
		readings.Presence, readings.Idle = machine.Presence(as), nil
	}
	for _, m := range s.members {
		if m.provider != nil {
			readings.Leases += m.provider.Leases()
		}
	}
	d := policy.Decide(readings, now)
	s.accounts.throttle.Limit(policy.NetUp, policy.NetDown)
	s.accounts.throttle.Close(capped(d))
	s.mu.Lock()
	before := s.decision
	s.policy, s.readings, s.decision = policy, readings, d
	s.mu.Unlock()
	if before.Of == 0 || before.Cores > 0 != (d.Cores > 0) || before.Finish != d.Finish {
		s.log.Info("What this PC shares", "now", d.String())
	}
	return s.apply(d, disk, rules.Patience, devicesOf(readings.GPUs, policy, d))
}

// capped says that nothing more is to go over the network this month; "" where it may.
func capped(d machine.Decision) string {
	for _, why := range d.Reasons {
		if why.Kind == "traffic" {
			return why.Text
		}
	}
	return ""
}

// apply tells the providers. A network in one process has its part each.
func (s *sharing) apply(d machine.Decision, disk job.Size, patience time.Duration, devices []provider.Device) error {
	a := provider.Allowance{Cores: d.Cores, Memory: d.Memory, Finish: d.Finish, Why: d.Why(), Patience: patience}
	if d.Cores >= float64(d.Of) { // more slots than processors are the owner's choice
		a.Cores = provider.Everything().Cores
	}
	var errs []error
	for i, m := range s.members {
		if m.provider != nil {
			part := a
			part.Devices = among(devices, i, len(s.members))
			part.Cores /= float64(len(s.members))
			part.Memory /= int64(len(s.members))
			if part.Disk = int64(disk); disk == 0 {
				part.Disk = m.disk
			}
			errs = append(errs, m.provider.Allow(part))
		}
		if m.examiner != nil {
			errs = append(errs, m.examiner.Hold(d.Cores <= 0))
		}
	}
	return errors.Join(errs...)
}

// settings reads the files again when they have changed. What cannot be read leaves things as they are.
func (s *sharing) settings() (Sharing, job.Size, pausing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := markIn(s.home, ConfigFile); now != s.mark[0] {
		s.mark[0] = now
		if cfg, err := Load(s.home); err != nil {
			s.log.Warn("Rules of sharing stay as they were", "err", err)
		} else {
			s.rules, s.disk = cfg.Share, cfg.Disk
		}
	}
	if now := markIn(s.home, pauseFile); now != s.mark[1] {
		s.mark[1] = now
		if err := s.pause.load(s.home); err != nil {
			s.log.Warn("Sharing is paused or not, as it was", "err", err)
		}
	}
	return s.rules, s.disk, s.pause
}

// now looks at once and tells what came of it.
func (s *sharing) now(ctx context.Context) (client.Share, error) {
	if err := s.step(ctx, time.Now()); err != nil {
		return client.Share{}, &job.Failure{Code: job.CodeInternal, Message: "what runs for others does not stop: " + err.Error(), Hint: "nothing new is started; hpips share off, then stop the node, ends what runs"}
	}
	return s.tell(), nil
}

// tell turns the last look into words.
func (s *sharing) tell() client.Share {
	s.mu.Lock()
	d, r, policy := s.decision, s.readings, s.policy
	s.mu.Unlock()
	told := client.Share{Sentence: d.String(), Profile: d.Profile, Presence: string(r.Presence), Cores: d.Cores, Of: d.Of, Memory: d.Memory, GPUs: d.GPUs, Devices: tellDevices(r, policy, d, s.leased()), Finish: d.Finish, Reasons: []client.ShareReason{}, Engines: []client.ShareEngine{},
		Readings: client.ShareReadings{Others: r.Others, Temperature: r.Temperature, Watts: r.Watts, OnBattery: r.OnBattery, Metered: r.Metered}}
	if t := r.Traffic; t != nil {
		told.Readings.Traffic = &client.ShareTraffic{Month: t.Month, Sent: t.Sent, Received: t.Received, Cap: policy.NetCap}
	}
	if r.Idle != nil {
		seconds := r.Idle.Seconds()
		told.Idle = &seconds
	}
	for _, why := range d.Reasons {
		told.Reasons = append(told.Reasons, client.ShareReason{Kind: why.Kind, Effect: string(why.Effect), Text: why.Text, Ends: why.Ends, Until: why.Until})
	}
	works := false
	for _, m := range s.members {
		if m.provider != nil {
			if !works {
				told.Engines = m.tellEngines()
			}
			works = true
			p := m.provider.Status()
			told.Leases, told.Busy = told.Leases+p.Leases, told.Busy+p.Busy
		}
	}
	if !works {
		told.Cores, told.Sentence = 0, "This PC shares nothing: its node was told to run no tasks."
	}
	return told
}

// Share looks at what is shared now.
func (h *House) Share(ctx context.Context) (client.Share, error) { return h.sharing.now(ctx) }

// Meters measures what of this PC is used, and by whom.
func (h *House) Meters(ctx context.Context) (client.Meters, error) {
	m, err := h.sharing.gauges.Read(ctx, time.Now)
	if err != nil {
		return client.Meters{}, err
	}
	use := func(u machine.Use) client.Use { return client.Use{Ours: u.Ours, Others: u.Others} }
	told := client.Meters{Seconds: m.Seconds, Cores: m.Cores, CPU: use(m.CPU), Memory: client.MemoryUse{Use: use(m.Memory), Total: m.Total},
		Network: client.NetworkUse{Sent: use(m.Sent), Received: use(m.Received)}, Temperature: m.Temperature, Watts: m.Watts, Metered: m.Metered}
	if b := m.Battery; b != nil {
		told.Battery = &client.Battery{Discharging: b.Discharging, Charge: b.Charge}
	}
	return told, nil
}

// Pause has everything stand still when it returns; 0 is until it is resumed.
func (h *House) Pause(ctx context.Context, d time.Duration) (client.Share, error) {
	return h.heed(ctx, Pause(h.cfg.Home, d, time.Now()))
}

// Resume ends a pause, and finishing.
func (h *House) Resume(ctx context.Context) (client.Share, error) {
	return h.heed(ctx, Resume(h.cfg.Home))
}

// Finish lets leases come to their end, and pauses then.
func (h *House) Finish(ctx context.Context) (client.Share, error) {
	return h.heed(ctx, Finish(h.cfg.Home))
}

func (h *House) heed(ctx context.Context, err error) (client.Share, error) {
	if err != nil {
		return client.Share{}, err
	}
	return h.sharing.now(ctx)
}

// Present takes in what a program in the owner's session reports; what follows from it is done when it returns.
func (h *House) Present(ctx context.Context, p client.Presence) error {
	if p.Over {
		h.sharing.watch.Leave()
	} else {
		h.sharing.watch.Report(time.Duration(p.Idle*float64(time.Second)), time.Now())
	}
	_, err := h.sharing.now(ctx)
	return err
}
