package container

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hpips/hpips/engine/image"
)

// probeExit is how the program of the probe ends.
const probeExit = 42

// probes are the code of a program that ends with probeExit, or with any argument takes memory, a page at a time and writing to each (brk(2)), until it is refused, and ends with 1.
// It calls no library, so that an image of it alone can be made anywhere.
//
//	       cmpq $1,(%rsp); jg hog; mov $42,%edi; jmp out
//	hog:   xor %edi,%edi; mov $12,%eax; syscall; mov %rax,%rbx
//	1:     lea 4096(%rbx),%rdi; mov $12,%eax; syscall; cmp %rdi,%rax; jl 2f; movb $1,(%rbx); mov %rdi,%rbx; jmp 1b
//	2:     mov $1,%edi
//	out:   mov $231,%eax; syscall
var probes = map[string]struct {
	machine elf.Machine
	code    string
}{
	"amd64": {elf.EM_X86_64, "48833c24017f07bf2a000000eb2c31ffb80c0000000f054889c3488dbb00100000b80c0000000f054839f87c08c603014889fbebe5bf01000000b8e70000000f05"},
	"arm64": {elf.EM_AARCH64, "e10340f93f0400f16c000054400580d20e000014000080d2c81a80d2010000d4f30300aa74064091e00314aa010000d41f0014eb8b00005474020039f30314aaf9ffff17200080d2c80b80d2010000d4"},
}

// executable makes an executable of the probe: an ELF header, one segment (elf(5)), and its code behind them.
func executable() ([]byte, error) {
	p, known := probes[runtime.GOARCH]
	if !known {
		return nil, fmt.Errorf("there is no program to try containers with on %s", runtime.GOARCH)
	}
	code, err := hex.DecodeString(p.code)
	if err != nil {
		return nil, err
	}
	const base, head, segment = 0x400000, 64, 56
	size := uint64(head + segment + len(code))
	h := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}, Type: uint16(elf.ET_EXEC), Machine: uint16(p.machine),
		Version: uint32(elf.EV_CURRENT), Entry: base + head + segment, Phoff: head, Ehsize: head, Phentsize: segment, Phnum: 1,
	}
	s := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x10000}
	var b bytes.Buffer
	err = errors.Join(binary.Write(&b, binary.LittleEndian, h), binary.Write(&b, binary.LittleEndian, s))
	b.Write(code)
	return b.Bytes(), err
}

// writeProbe writes the layout of the image with which engines are tried, and gives its key. One that is there already is the same.
func writeProbe(dir string) (key string, err error) {
	p, err := executable()
	if err != nil {
		return "", err
	}
	layer, err := image.Pack(image.File{Name: "probe", Content: p})
	if err != nil {
		return "", err
	}
	return image.Make(dir, v1.ImageConfig{Entrypoint: []string{"/probe"}}, layer)
}
