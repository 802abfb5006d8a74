package machine

import (
	"bytes"
	"runtime"
	"strings"
)

// Class is the word by which machines are told apart whose native programs may round differently: architecture, system, and where the system tells
// them the maker, the family and the level of the processor, such as "amd64-linux-GenuineIntel-6-v3". Two machines of one class need not agree to
// the last bit; two of different classes are not asked to.
func Class() string {
	return strings.Join(append([]string{runtime.GOARCH, runtime.GOOS}, processor()...), "-")
}

// kinds reads what tells processors apart from a text in the form of /proc/cpuinfo (proc(5)): vendor_id, cpu family and the x86-64 level (System V
// ABI, AMD64 supplement, section 3.1.1) of x86, implementer and part of ARM. What is not there is left out.
func kinds(text []byte) []string {
	var words []string
	for _, name := range []string{"vendor_id", "cpu family", "CPU implementer", "CPU part"} {
		if w := plain(field(text, name)); w != "" {
			words = append(words, w)
		}
	}
	flags := map[string]bool{}
	for _, flag := range strings.Fields(field(text, "flags")) {
		flags[flag] = true
	}
	switch {
	case flags["avx512f"] && flags["avx512vl"]:
		words = append(words, "v4")
	case flags["avx2"] && flags["fma"]:
		words = append(words, "v3")
	case flags["sse4_2"]:
		words = append(words, "v2")
	}
	return words
}

// maxWord bounds one part of a class.
const maxWord = 16

// plain keeps the letters and digits of a short word.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, s)
	return s[:min(len(s), maxWord)]
}

// field returns what stands behind the first "name:" of a text of such lines.
func field(text []byte, name string) string {
	for line := range bytes.Lines(text) {
		key, value, ok := strings.Cut(string(line), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
