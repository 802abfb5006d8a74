package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// A program that a linker prepares at its start, as with cgo, calls foreign functions through addresses that were written into memory which is read-only from then on.
func TestTrimLinked(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "linked")
	build := exec.Command("go", "build", "-o", program, "-buildmode=pie", "-ldflags=-linkmode=external", "./testdata/linked")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	text, err := exec.Command(program).CombinedOutput()
	if err != nil || string(text) != "before, after\n" {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestUnwritten(t *testing.T) {
	const file = "/opt/my programs/hpips"
	text := `00400000-03aa9000 r-xp 00000000 fe:00 1234    /opt/my programs/hpips
Size:              56996 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me sd
03aa9000-08000000 r--p 036a9000 fe:00 1234    /opt/my programs/hpips
Anonymous:             0 kB
Swap:                  0 kB
08000000-08001000 r--p 07c00000 fe:00 1234    /opt/my programs/hpips
Anonymous:             4 kB
Swap:                  0 kB
08001000-08002000 r--p 07c01000 fe:00 1234    /opt/my programs/hpips
Anonymous:             0 kB
Swap:                  4 kB
08002000-08200000 rw-p 07c02000 fe:00 1234    /opt/my programs/hpips
Anonymous:             0 kB
7f0000000000-7f0000001000 r-xp 00000000 fe:00 9  /usr/lib/libc.so
Anonymous:             0 kB
`
	all, err := unwritten(strings.NewReader(text), file)
	if want := []area{{0x400000, 0x3aa9000}, {0x3aa9000, 0x8000000}}; err != nil || !slices.Equal(all, want) {
		t.Errorf("%x, %v", all, err)
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
		if a, got := readable(line, "/opt/my programs/hpips"); got != want || got && a.first >= a.last {
			t.Errorf("%q: %v (%x)", line, got, a)
		}
	}
}
