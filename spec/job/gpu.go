package job

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// GPU is what one task needs of graphics devices. A wish without a count is for one device.
type GPU struct {
	Count  int    `json:"count,omitempty" cbor:"count,omitempty"`
	Vendor string `json:"vendor,omitempty" cbor:"vendor,omitempty"` // amd | intel | nvidia
	Model  string `json:"model,omitempty" cbor:"model,omitempty"`   // words of its name, such as "rtx 4090"
	Memory Size   `json:"memory,omitempty" cbor:"memory,omitempty"` // of each device
}

// Vendors are the makers of graphics devices that a job can ask for.
var Vendors = []string{"amd", "intel", "nvidia"}

// MaxGPUs is how many devices one task may ask for.
const MaxGPUs = 64

// filled writes out what follows from a wish, and from conditions on devices: they say what to look for, so that nobody offers the wrong one of two.
func (w GPU) filled(where []string) GPU {
	w.Vendor = strings.ToLower(w.Vendor)
	for _, text := range where {
		c, err := parseCondition(text)
		if err != nil || w == (GPU{}) || len(c.values) != 1 {
			continue
		}
		switch c.name + c.op {
		case "gpu.memory>=", "gpu.memory==":
			if size, err := ParseSize(c.values[0]); err == nil {
				w.Memory = max(w.Memory, size)
			}
		case "gpu.vendor==":
			w.Vendor = orElse(w.Vendor, strings.ToLower(c.values[0]))
		case "gpu.model==":
			w.Model = orElse(w.Model, c.values[0])
		}
	}
	if w != (GPU{}) {
		w.Count = orElse(w.Count, 1)
	}
	return w
}

func checkGPU(s Spec) *Error {
	w := s.Resources.GPU
	switch {
	case w.Count < 0 || w.Count > MaxGPUs:
		return &Error{Field: "resources.gpu.count", Text: fmt.Sprintf("%d devices are not possible", w.Count), Hint: fmt.Sprintf("1 … %d; leave gpu out for none", MaxGPUs)}
	case w.Vendor != "" && !slices.Contains(Vendors, w.Vendor):
		return &Error{Field: "resources.gpu.vendor", Text: fmt.Sprintf("%q is not known", w.Vendor), Hint: "the vendors are " + strings.Join(Vendors, ", ")}
	case w.Model != "" && len(modelWords(w.Model)) == 0 || len(w.Model) > maxCondition:
		return &Error{Field: "resources.gpu.model", Text: fmt.Sprintf("%.64q is no model", w.Model), Hint: `words of its name, such as "rtx 4090" or "a100"`}
	case w.Memory < 0 || w.Memory > 1<<40:
		return &Error{Field: "resources.gpu.memory", Text: w.Memory.String() + " is not possible", Hint: "1TiB at most"}
	case w.Count > 0 && s.Run.WASM != "":
		return &Error{Field: "resources.gpu", Text: "a WASI module cannot use a GPU", Hint: "give a native program (run.native, --native), or leave resources.gpu out"}
	}
	return nil
}

// TakesGPU reports whether programs of an engine can be given graphics devices.
func TakesGPU(engine string) bool { return engine != EngineWASM }

// For is what a task of an engine needs: the reduce of a job whose parts use devices may be a WASI module, which has none.
func (r Resources) For(engine string) Resources {
	if !TakesGPU(engine) {
		r.GPU = GPU{}
	}
	return r
}

// Lacks says what a device lacks for the wish: in which kind of thing, and in words; "" is nothing. Memory of 0 is not known, and never enough.
// Drivers and error correction keep some of it for themselves: a card that is sold with 24 GB shows 22.5 to 24. A fifteenth less is taken for enough.
func (w GPU) Lacks(vendor, model string, memory Size) (kind, text string) {
	switch {
	case w.Vendor != "" && !strings.EqualFold(w.Vendor, vendor):
		return "gpu vendor", fmt.Sprintf("wants %s, has %s", w.Vendor, orElse(strings.ToLower(vendor), "another"))
	case w.Model != "" && !named(w.Model, model):
		return "gpu model", fmt.Sprintf("wants %s, has %s", w.Model, orElse(model, "another"))
	case w.Memory > 0 && !enough(memory, w.Memory):
		return "gpu memory", fmt.Sprintf("wants %s, has %s", w.Memory, rounded(memory))
	}
	return "", ""
}

// enough compares memories of devices, with a fifteenth for drivers.
func enough(have, want Size) bool { return have > 0 && have/14*15+15 >= want }

// rounded is a memory as people name it.
func rounded(s Size) string {
	switch {
	case s <= 0:
		return "an unknown one"
	case s >= 1<<30:
		return ((s + 1<<29) >> 30 << 30).String()
	}
	return s.String()
}

// named reports whether a wish's words stand in a device's name one after the other, as whole words: "rtx 4090" and "RTX4090" are in "NVIDIA GeForce RTX 4090", and "t4" is not
// in "NVIDIA T400".
func named(wish, name string) bool {
	want := strings.Join(modelWords(wish), "")
	words := modelWords(name)
	for i := range words {
		joined := ""
		for _, w := range words[i:] {
			if joined += w; joined == want {
				return true
			}
		}
	}
	return false
}

// modelWords are the runs of letters and digits of a name, in lower case.
func modelWords(name string) []string {
	return strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}
