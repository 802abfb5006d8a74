package machine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// noon is a Wednesday.
var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// server is a PC of four processors at which nobody can sit.
func server() Readings { return Readings{Cores: 4, Memory: 16 << 30, Presence: Headless} }

func TestWhatOwnersAllow(t *testing.T) {
	night, err := ParseSchedule([]string{"daily 22:00-07:00"})
	if err != nil {
		t.Fatal(err)
	}
	desk := server()
	desk.Presence, desk.Idle, desk.Others = Away, to(5*time.Minute), to(0.3)
	seat := desk
	seat.Presence, seat.Idle = InUse, to(time.Minute)
	lost := seat
	lost.Presence, lost.Idle = Unknown, nil
	with := func(r Readings, change func(*Readings)) Readings { change(&r); return r }
	rule := func(change func(*Policy)) Policy { p := DefaultPolicy(); change(&p); return p }
	rows := map[string]struct {
		p     Policy
		r     Readings
		cores float64
		kinds string // of the reasons
	}{
		"a server gives all":                     {DefaultPolicy(), server(), 4, ""},
		"a server with other programs, too":      {DefaultPolicy(), with(server(), func(r *Readings) { r.Others = to(0.9) }), 4, ""},
		"a desk gives what others leave of 80 %": {DefaultPolicy(), desk, 2, "total"},
		"and nothing while somebody sits there":  {DefaultPolicy(), seat, 0, "in-use"},
		"nor when nobody tells any more":         {DefaultPolicy(), lost, 0, "in-use"},
		"unless its owner says so":               {rule(func(p *Policy) { p.InUse.CPU = 0.25 }), seat, 1, "in-use cpu"},
		"others use more than is to be used":     {DefaultPolicy(), with(desk, func(r *Readings) { r.Others = to(0.85) }), 0, "total"},
		"nobody measures others":                 {DefaultPolicy(), with(desk, func(r *Readings) { r.Others = nil }), 3.2, "total"},
		"half":                                   {rule(func(p *Policy) { p.Away.CPU = 0.5 }), server(), 2, "cpu"},
		"off":                                    {rule(func(p *Policy) { p.Off = true }), server(), 0, "off"},
		"paused":                                 {rule(func(p *Policy) { p.Paused = true }), server(), 0, "paused"},
		"paused for an hour":                     {rule(func(p *Policy) { p.PausedUntil = noon.Add(time.Hour) }), server(), 0, "paused"},
		"paused until now":                       {rule(func(p *Policy) { p.PausedUntil = noon }), server(), 4, ""},
		"finishing":                              {rule(func(p *Policy) { p.Finishing = true }), with(server(), func(r *Readings) { r.Leases = 1 }), 4, "finishing"},
		"finished":                               {rule(func(p *Policy) { p.Finishing = true }), server(), 0, "finished"},
		"by day":                                 {rule(func(p *Policy) { p.Schedule = night }), server(), 0, "schedule"},
		"on battery":                             {DefaultPolicy(), with(server(), func(r *Readings) { r.OnBattery = to(true) }), 0, "battery"},
		"on battery by leave":                    {rule(func(p *Policy) { p.Battery = true }), with(server(), func(r *Readings) { r.OnBattery = to(true) }), 4, ""},
		"on mains":                               {DefaultPolicy(), with(server(), func(r *Readings) { r.OnBattery = to(false) }), 4, ""},
		"on a telephone":                         {DefaultPolicy(), with(server(), func(r *Readings) { r.Metered = to(true) }), 0, "metered"},
		"on a telephone by leave":                {rule(func(p *Policy) { p.Metered = true }), with(server(), func(r *Readings) { r.Metered = to(true) }), 4, ""},
		"hot":                                    {rule(func(p *Policy) { p.Temperature = 80 }), with(server(), func(r *Readings) { r.Temperature = to(81.0) }), 0, "temperature"},
		"warm":                                   {rule(func(p *Policy) { p.Temperature = 80 }), with(server(), func(r *Readings) { r.Temperature = to(80.0) }), 4, ""},
		"without a thermometer":                  {rule(func(p *Policy) { p.Temperature = 80 }), server(), 4, ""},
		"hungry":                                 {rule(func(p *Policy) { p.Watts = 60 }), with(server(), func(r *Readings) { r.Watts = to(61.0) }), 0, "watts"},
		"crowded":                                {rule(func(p *Policy) { p.Others = 0.25 }), with(server(), func(r *Readings) { r.Others = to(0.3) }), 0, "others"},
		"a game":                                 {rule(func(p *Policy) { p.Programs = []string{"Doom.exe"} }), with(server(), func(r *Readings) { r.Programs = []string{"bash", "doom"} }), 0, "program"},
		"a game with a long name":                {rule(func(p *Policy) { p.Programs = []string{"averylongnameofagame"} }), with(server(), func(r *Readings) { r.Programs = []string{"averylongnameof"} }), 0, "program"},
		"a game that only begins alike":          {rule(func(p *Policy) { p.Programs = []string{"doom"} }), with(server(), func(r *Readings) { r.Programs = []string{"doomsday"} }), 4, ""},
		"all at once":                            {rule(func(p *Policy) { p.Off, p.Paused, p.Schedule = true, true, night }), seat, 0, "off paused in-use schedule"},
	}
	for name, row := range rows {
		d := row.p.Decide(row.r, noon)
		var kinds []string
		for _, why := range d.Reasons {
			kinds = append(kinds, why.Kind)
			if why.Text == "" || why.Ends == "" || why.Effect == "" {
				t.Errorf("%s: the reason says too little: %+v", name, why)
			}
			if why.Effect == Suspends && !strings.Contains(d.String(), why.Text) {
				t.Errorf("%s: %q does not say that %s", name, d, why.Text)
			}
		}
		if d.Cores < row.cores-1e-9 || d.Cores > row.cores+1e-9 || strings.Join(kinds, " ") != row.kinds {
			t.Errorf("%s: %v processors, reasons %q: want %v, %q", name, d.Cores, kinds, row.cores, row.kinds)
		}
		if (d.Why() == "") == (d.Cores == 0 || d.Finish) {
			t.Errorf("%s: buyers are told %q", name, d.Why())
		}
	}
}

func TestOneSentence(t *testing.T) {
	p, r := DefaultPolicy(), server()
	for _, row := range []struct {
		change func()
		want   string
	}{
		{func() {}, "This PC shares 4 of 4 processors: nothing speaks against it."},
		{func() { r.Presence, r.Others = Away, to(0.2) }, "This PC shares 2.4 of 4 processors: other programs use 20 % of the processors, and 80 % is the most for all together."},
		{func() { p.Finishing, r.Leases = true, 2 }, "This PC takes no further leases, and works for those it has with 2.4 of 4 processors: finishing by order of its owner; other programs use 20 % of the processors, and 80 % is the most for all together."},
		{func() { p.PausedUntil = noon.Add(2 * time.Hour) }, "This PC shares nothing: paused by its owner until 14:00."},
		{func() { r.Presence, r.Idle = InUse, to(time.Minute) }, "This PC shares nothing: paused by its owner until 14:00; somebody is at this PC."},
	} {
		row.change()
		if got := p.Decide(r, noon).String(); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
	d := p.Decide(r, noon)
	i := slices.IndexFunc(d.Reasons, func(why Reason) bool { return why.Kind == "in-use" })
	if i < 0 || d.Reasons[i].Until == nil || !d.Reasons[i].Until.Equal(noon.Add(2*time.Minute)) {
		t.Errorf("a minute after the last key, it is free in two more: %+v", d.Reasons)
	}
}

// drawn is any policy with any readings.
func drawn(t *rapid.T) (Policy, Readings) {
	share := rapid.Float64Range(0, 1)
	profile := func(name string) Profile {
		return Profile{CPU: share.Draw(t, name+" cpu"), Total: share.Draw(t, name+" total"), Memory: share.Draw(t, name+" memory")}
	}
	flag := rapid.Bool()
	maybe := func(name string, of *rapid.Generator[float64]) *float64 {
		if !flag.Draw(t, "no "+name) {
			return nil
		}
		return to(of.Draw(t, name))
	}
	p := Policy{Off: flag.Draw(t, "off"), Paused: flag.Draw(t, "paused"), Finishing: flag.Draw(t, "finishing"), InUse: profile("in use"), Away: profile("away"),
		AwayAfter: time.Minute, Battery: flag.Draw(t, "battery"), Temperature: rapid.Float64Range(0, 100).Draw(t, "limit"), Others: share.Draw(t, "crowd")}
	r := Readings{Cores: rapid.IntRange(1, 256).Draw(t, "cores"), Memory: 1 << 34, Presence: rapid.SampledFrom([]Presence{InUse, Away, Headless, Unknown}).Draw(t, "presence"),
		Others: maybe("others", share), Temperature: maybe("temperature", rapid.Float64Range(0, 120)), Leases: rapid.IntRange(0, 3).Draw(t, "leases")}
	if flag.Draw(t, "supply") {
		r.OnBattery = to(flag.Draw(t, "discharging"))
	}
	return p, r
}

func TestWhateverIsAllowedIsWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, r := drawn(t)
		d := p.Decide(r, noon)
		profile := p.Away
		if r.Presence.attended() {
			profile = p.InUse
		}
		if d.Cores < 0 || d.Cores > profile.CPU*float64(r.Cores)+1e-9 {
			t.Fatalf("%v processors of %d, with at most %v", d.Cores, r.Cores, profile.CPU)
		}
		if total := profile.Total; d.Cores > 0 && total > 0 && total < 1 && d.Cores+valueOr(r.Others, 0)*float64(r.Cores) > total*float64(r.Cores)+1e-9 {
			t.Fatalf("%v processors beside others' %v are more than %v", d.Cores, *r.Others, total)
		}
		suspended := slices.ContainsFunc(d.Reasons, func(why Reason) bool { return why.Effect == Suspends })
		if suspended != (d.Cores == 0) && !(d.Cores == 0 && profile.CPU*float64(r.Cores) < least) {
			t.Fatalf("%v processors with the reasons %+v", d.Cores, d.Reasons)
		}
		if strings.Count(d.String(), "\n") > 0 || !strings.HasSuffix(d.String(), ".") {
			t.Fatalf("%q is no sentence", d)
		}
	})
}

// One rule more never gives more, and takes away no reason of another.
func TestAReasonHidesNoOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, r := drawn(t)
		more := p
		switch rapid.IntRange(0, 3).Draw(t, "which") {
		case 0:
			more.Off = true
		case 1:
			more.Paused = true
		case 2:
			more.Finishing = true
		case 3:
			more.Programs = []string{"game"}
			r.Programs = []string{"game"}
		}
		before, after := p.Decide(r, noon), more.Decide(r, noon)
		if after.Cores > before.Cores {
			t.Fatalf("%v processors became %v", before.Cores, after.Cores)
		}
		for _, why := range before.Reasons {
			if !slices.ContainsFunc(after.Reasons, func(o Reason) bool { return o.Kind == why.Kind }) {
				t.Fatalf("%s is gone: %+v", why.Kind, after.Reasons)
			}
		}
	})
}

func TestSchedules(t *testing.T) {
	at := func(text string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04", text, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, row := range []struct {
		windows []string
		now     string
		open    bool
		opensAt string
	}{
		{nil, "2026-11-25 12:00", true, ""},
		{[]string{"mon-fri 22:00-07:00"}, "2026-11-25 06:59", true, ""},                  // Wednesday, of Tuesday's window
		{[]string{"mon-fri 22:00-07:00"}, "2026-11-25 07:00", false, "2026-11-25 22:00"}, // its end is outside
		{[]string{"mon-fri 22:00-07:00"}, "2026-11-28 06:00", true, ""},                  // Saturday, of Friday's
		{[]string{"mon-fri 22:00-07:00"}, "2026-11-28 22:30", false, "2026-11-30 22:00"}, // to Monday
		{[]string{"sat,sun 00:00-24:00"}, "2026-11-29 23:59", true, ""},
		{[]string{"sat,sun 00:00-24:00"}, "2026-11-30 00:00", false, "2026-12-05 00:00"},
		{[]string{"fri-mon 10:00-11:00", "Wed 13:00-14:00"}, "2026-11-25 12:00", false, "2026-11-25 13:00"},
		{[]string{"daily 00:00-24:00"}, "2026-11-25 12:00", true, ""},
		{[]string{"wed 10:00-10:00"}, "2026-11-26 09:00", true, ""}, // a whole day
		{[]string{"wed 10:00-11:00"}, "2026-11-25 11:30", false, "2026-12-02 10:00"},
	} {
		s, err := ParseSchedule(row.windows)
		if err != nil {
			t.Fatal(err)
		}
		open, next := s.At(at(row.now))
		if open != row.open || !open && !next.Equal(at(row.opensAt)) {
			t.Errorf("%q at %s: open %v, next %v", row.windows, row.now, open, next)
		}
	}
	for _, text := range []string{"", "mon", "mon 22:00", "someday 10:00-11:00", "mon 25:00-26:00", "mon 10:60-11:00", "mon 24:00-25:00", "mon 1:00-2:00", "mon- 10:00-11:00"} {
		if _, err := ParseSchedule([]string{text}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestRulesOfGPUs(t *testing.T) {
	rules, err := ParseGPURules([]string{"0=never", "b=always"})
	if err != nil {
		t.Fatal(err)
	}
	r := server()
	r.GPUs = []GPU{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	p := DefaultPolicy()
	p.GPUs, p.InUse.CPU = rules, 1
	if d := p.Decide(r, noon); !slices.Equal(d.GPUs, []string{"b", "c"}) {
		t.Errorf("nobody is there: %q", d.GPUs)
	}
	r.Presence = InUse
	if d := p.Decide(r, noon); !slices.Equal(d.GPUs, []string{"b"}) {
		t.Errorf("somebody is there: %q", d.GPUs)
	}
	p.Off = true
	if d := p.Decide(r, noon); len(d.GPUs) != 0 {
		t.Errorf("off: %q", d.GPUs)
	}
	if rule, written := rules.Of(0, GPU{ID: "a"}); rule != GPUNever || !written {
		t.Errorf("the rule of a: %s, %t", rule, written)
	}
	if rule, written := rules.Of(2, GPU{ID: "c"}); rule != GPUAway || written {
		t.Errorf("the rule of c, of which nothing is written: %s, %t", rule, written)
	}
	for _, text := range []string{"", "0", "0=", "=never", "0=often"} {
		if _, err := ParseGPURules([]string{text}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// Each device that is kept back says why, and what ends that. What a lease keeps busy is no program of the owner's.
func TestWhyDevicesAreKept(t *testing.T) {
	p := DefaultPolicy()
	p.GPUs = GPURules{"never": GPUNever}
	p.InUse.CPU = 1
	r := server()
	r.Leased = []string{"leased"}
	r.GPUs = []GPU{
		{ID: "never"}, {ID: "hot", Temperature: new(86.0)}, {ID: "warm", Temperature: new(85.0), Busy: new(0.1)}, {ID: "game", Busy: new(0.11)}, {ID: "leased", Busy: new(1.0)},
		{ID: "shut", Passage: Passage{Why: "no driver", Remedy: "install one"}}, {ID: "dumb"},
	}
	d := p.Decide(r, noon)
	if !slices.Equal(d.GPUs, []string{"warm", "leased", "dumb"}) {
		t.Errorf("shared: %q", d.GPUs)
	}
	want := []Kept{
		{"never", "its owner does not share it", "hpips share devices 0=away"},
		{"hot", "it is at 86 °C, above 85 °C", "a minute below that, or hpips share set gpu_temperature 0"},
		{"game", "programs of its owner use 11 % of it, above 10 %", "they use less, or hpips share set gpu_others 0"},
		{"shut", "no driver", "install one"},
	}
	if !slices.Equal(d.Kept, want) {
		t.Errorf("kept: %+v, want %+v", d.Kept, want)
	}
	p.GPUTemperature, p.GPUOthers = 0, 0
	if d := p.Decide(r, noon); len(d.GPUs) != 5 {
		t.Errorf("without limits: %q", d.GPUs)
	}
	r.Presence = InUse
	if d := p.Decide(r, noon); len(d.GPUs) != 0 || len(d.Kept) != len(r.GPUs) || d.Kept[6].Text != "somebody is at this PC" {
		t.Errorf("somebody is there: %q, %+v", d.GPUs, d.Kept)
	}
	p.Paused = true
	if d := p.Decide(r, noon); len(d.GPUs) != 0 || d.Kept[6].Text != "paused by its owner" {
		t.Errorf("paused: %q, %+v", d.GPUs, d.Kept)
	}
}
