package machine

import (
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestClassesOfProcessors(t *testing.T) {
	rows := map[string]struct {
		cpuinfo string
		want    []string
	}{
		"x86":     {"processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel name\t: Intel(R) Xeon(R)\nflags\t\t: fpu sse4_2 avx2 fma\n", []string{"GenuineIntel", "6", "v3"}},
		"newer":   {"vendor_id : AuthenticAMD\ncpu family : 25\nflags : sse4_2 avx2 fma avx512f avx512vl\n", []string{"AuthenticAMD", "25", "v4"}},
		"older":   {"vendor_id : AuthenticAMD\ncpu family : 16\nflags : sse4_2\n", []string{"AuthenticAMD", "16", "v2"}},
		"ARM":     {"processor : 0\nCPU implementer : 0x41\nCPU architecture: 8\nCPU part : 0xd0c\n", []string{"0x41", "0xd0c"}},
		"strange": {"vendor_id : a long; and/odd--name of somebody\n", []string{"alongandoddnameo"}},
		"nothing": {"", nil},
	}
	for name, row := range rows {
		if got := kinds([]byte(row.cpuinfo)); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
	if c := Class(); !strings.HasPrefix(c, runtime.GOARCH+"-"+runtime.GOOS) || c != Class() || len(c) > 128 {
		t.Errorf("this machine is of class %q", c)
	}
}
