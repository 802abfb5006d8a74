package machine

import (
	"strings"
	"testing"
)

// What is never written of the program itself is given back, and runs on; the rest of the process's memory is not touched.
func TestTrim(t *testing.T) {
	n, err := Trim()
	if err != nil || n < 1<<20 {
		t.Errorf("%d bytes of a test's program are given back, %v", n, err)
	}
	if got := strings.Repeat("a", 3); got != "aaa" { // code and constants are still there
		t.Error(got)
	}
}

func TestLinesOfMaps(t *testing.T) {
	for line, want := range map[string]bool{
		"00400000-03aa9000 r-xp 00000000 fe:00 1234    /opt/my programs/hpips":    true,
		"03aa9000-08000000 r--p 036a9000 fe:00 1234    /opt/my programs/hpips":    true,
		"08000000-08200000 rw-p 07c00000 fe:00 1234    /opt/my programs/hpips":    false, // data
		"7f0000000000-7f0000001000 r-xp 00000000 fe:00 9  /usr/lib/libc.so":       false,
		"7f0000000000-7f0000001000 r--s 00000000 fe:00 9  /opt/my programs/hpips": false, // others may write it
		"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ":                        false,
		"zz-01 r-xp 00000000 fe:00 1234    /opt/my programs/hpips":                false,
		"": false,
	} {
		if first, last, got := readable(line, "/opt/my programs/hpips"); got != want || got && first >= last {
			t.Errorf("%q: %v (%x to %x)", line, got, first, last)
		}
	}
}
