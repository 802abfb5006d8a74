package process

import (
	"bufio"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/hpips/hpips/engine"
)

// Where a program lies: in the sandbox's folder on the host, and for itself.
const (
	programFile  = "program"
	guestProgram = "/hpips/program"
)

// machines are the processors of this program's builds, as ELF numbers them.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "riscv64": elf.EM_RISCV, "loong64": elf.EM_LOONGARCH, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390}

// keep copies a program, which must be what its key says, to where it can be executed and nobody changes it. No process is begun meanwhile: it would hold the file
// open for writing until it is another program, and a file that is being written cannot be executed (execve(2), ETXTBSY).
func keep(p engine.Program, to string, most int64) error {
	from, err := os.Open(p.Module)
	if err != nil {
		return fmt.Errorf("program: %w", err)
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return fmt.Errorf("program: %w", err)
	}
	name := filepath.Base(p.Module)
	if info.Size() > most {
		return &engine.ProgramError{Module: name, Message: fmt.Sprintf("it has %s, more than the %s that this node takes", engine.Bytes(info.Size()), engine.Bytes(most)),
			Hint: "strip it (strip -s), or move data into inputs"}
	}
	sum := sha256.New()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	file, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o500)
	if err != nil {
		return fmt.Errorf("program: %w", err)
	}
	_, err = io.Copy(io.MultiWriter(file, sum), from)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("program: %w", err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.Key {
		return fmt.Errorf("program %s: sha256 is %s, expected %q", name, got, p.Key)
	}
	return nil
}

// runnable refuses what this machine cannot execute: the first with a *engine.ProgramError, which holds everywhere, what only this machine lacks with another error.
func runnable(file, name string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("program: %w", err)
	}
	defer f.Close()
	bad := func(what, hint string) error { return &engine.ProgramError{Module: name, Message: what, Hint: hint} }
	head, err := bufio.NewReaderSize(f, 256).Peek(256)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("program: %w", err)
	}
	if line, ok := strings.CutPrefix(string(head), "#!"); ok {
		line, _, _ = strings.Cut(line, "\n")
		words := strings.Fields(line)
		if len(words) == 0 || !path.IsAbs(words[0]) {
			return bad("its first line names no interpreter", "begin it with #! and the absolute path of one, such as #!/bin/sh")
		}
		return interpreter(name, words[0])
	}
	if len(head) < 4 || string(head[:4]) != elf.ELFMAG {
		return bad("it is no program for Linux: it begins neither with ELF nor with #!", "build it for Linux, such as by cc -static, or GOOS=linux CGO_ENABLED=0 go build")
	}
	x, err := elf.NewFile(f)
	if err != nil {
		return bad("it is no whole ELF file: "+err.Error(), "build it again")
	}
	defer x.Close()
	want, known := machines[runtime.GOARCH]
	switch {
	case x.Type != elf.ET_EXEC && x.Type != elf.ET_DYN:
		return bad("it is an ELF file and no program: "+x.Type.String(), "link it")
	case !known || x.Class != elf.ELFCLASS64 || x.Machine != want:
		return fmt.Errorf("program %s is for %s, and this machine is %s", name, x.Machine, runtime.GOARCH)
	}
	for _, p := range x.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
		if err != nil {
			return bad("its interpreter cannot be read", "build it again")
		}
		return interpreter(name, strings.TrimRight(string(text), "\x00"))
	}
	return nil
}

// interpreter says whether what a program needs to start is where sandboxes show it.
func interpreter(name, file string) error {
	shown := false
	for _, dir := range append([]string{"/usr"}, roots...) {
		shown = shown || strings.HasPrefix(file, dir+"/")
	}
	if _, err := os.Stat(file); err != nil || !shown {
		return fmt.Errorf("program %s needs %s, which is not on this machine, or not under /usr: link it statically", name, file)
	}
	return nil
}
