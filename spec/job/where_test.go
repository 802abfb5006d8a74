package job

import (
	"strings"
	"testing"
)

var somewhere = Facts{"os": {"linux"}, "arch": {"amd64"}, "region": {"eu"}, "reputation": {"0.97"}, "slots": {"4"}, "speed": {"2.5"},
	"gpu.vendor": {"NVIDIA", "NVIDIA"}, "gpu.model": {"NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3060"}, "gpu.memory": {"25757220864", "12884901888"}}

func TestConditions(t *testing.T) {
	for text, misses := range map[string]string{
		"os==linux": "", "os == Linux": "", "os!=windows": "", "region in (eu,us)": "", "region  in ( us , EU )": "", "region not in (cn)": "", "arch in (amd64)": "",
		"reputation>=0.9": "", "slots>3": "", "slots==4": "", "speed>=2": "", "speed<2.6": "", "gpu.memory>=12GiB": "", "gpu.vendor==nvidia": "", "gpu.model!=a100": "", "gpu.model in (rtx 4090, rtx3060)": "", "gpu.memory<30GiB": "",
		"os==windows":           "os: is linux, wants windows",
		"region in (us, cn)":    "region: is eu, wants in (us, cn)",
		"region not in (eu,us)": "region: is eu, wants not in (eu, us)",
		"owner in (hpips1bob)":  "whose node: is not told, wants in (hpips1bob)",
		"network==lan":          "network: is not told, wants lan",
		"reputation>0.97":       "reputation: is 0.97, wants > 0.97",
		"slots<=3":              "slots: is 4, wants <= 3",
		"speed>2.5":             "speed: is 2.5, wants > 2.5",
		"gpu.memory>=24GiB":     "gpu memory: is 12884901888, wants >= 24GiB", // each device
		"gpu.model==rtx 4090":   "gpu model: is NVIDIA GeForce RTX 3060, wants rtx 4090",
	} {
		if _, err := parseCondition(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		kind, why := Misses([]string{"os!=plan9", text}, somewhere)
		if got := strings.TrimSuffix(kind+": "+why, ": "); got != misses {
			t.Errorf("%s: %q, want %q", text, got, misses)
		}
	}
	if kind, _ := Misses(nil, nil); kind != "" {
		t.Errorf("no condition misses %s", kind)
	}
}

func TestConditionsThatAreNone(t *testing.T) {
	for text, says := range map[string]string{
		"": "no condition", "os": "no condition", "os=linux": "no condition", "os==": "no condition", "os==a==b": "no condition", "os in linux": "no condition", "os in ()": "no condition",
		"in (a)": "no condition", "os in (a,,b)": "empty value", "os>=linux": "has no order", "colour==red": "is not known of nodes", "gpu.memory>=much": "size", "reputation>=NaN": "is no number", "slots in (1,x)": "is no number",
		"os==" + strings.Repeat("x", 300): "more than 256 bytes", "os in (" + strings.Repeat("a,", 70) + "b)": "more than 64",
	} {
		if _, err := parseCondition(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, want %q", text, err, says)
		}
	}
}

func FuzzConditions(f *testing.F) {
	for _, seed := range []string{"os==linux", "region in (eu,us)", "gpu.memory>=12GiB", "os not in (a, b)", "slots<4"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCondition(text)
		if err != nil {
			return
		}
		if len(c.values) == 0 || conditions[c.name] < bySize && strings.ContainsAny(c.op, "<>") {
			t.Errorf("%q became %+v", text, c)
		}
		if kind, why := Misses([]string{text}, somewhere); kind == "" && why != "" || kind == "where" {
			t.Errorf("%q: %q %q", text, kind, why)
		}
	})
}

// Forty-one nodes, and what is told of them in one line.
func TestRefusalsInOneSentence(t *testing.T) {
	rejected := []Rejection{
		{"price: asks 3.600000 HPIPS for an hour of a task, the ceiling is 1.000000", 20}, {"price: it works for pay only, and nothing may be paid", 2},
		{"gpu memory: wants 12GiB, has 8GiB", 6}, {"gpu memory: wants 12GiB, has 6GiB", 5}, {"region: is us, wants in (eu)", 5},
	}
	if got, want := Refusals(41, rejected), "38 of 41 nodes refused: 22 price, 11 GPU memory, 5 region"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Refusals(3, nil); got != "" {
		t.Errorf("nobody refused: %q", got)
	}
	if got, want := Refusals(1, []Rejection{{"not reachable", 1}}), "1 of 1 node refused: 1 not reachable"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for reason, kind := range map[string]string{"": "other", ": x": "other", "gpu: wants 2, has 1": "GPU", "gpu model: wants a, has b": "GPU model", strings.Repeat("é", 40): strings.Repeat("é", 16), "owner: somebody is at this PC": "owner"} {
		if got := (Rejection{Reason: reason}).Kind(); got != kind {
			t.Errorf("%q is about %q, want %q", reason, got, kind)
		}
	}
}
