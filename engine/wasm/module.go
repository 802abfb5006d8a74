package wasm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

const pageSize = 64 << 10

// moduleInfo is what a program says of its needs; it is kept beside the compiled code.
type moduleInfo struct {
	// MinMemory is in bytes, what the program's memory starts with.
	MinMemory int64 `cbor:"1,keyasint"`
}

// wasmMagic are the first bytes of every module in the binary format, version 1 (WebAssembly core spec 5.5.16).
const wasmMagic = "\x00asm\x01\x00\x00\x00"

// minMemory reads the smallest memory that a valid module declares, in bytes; 0 if it has none. It needs a module that the engine has
// validated, looks at the memory section alone (core spec 5.5.8), and errors on anything it cannot read.
func minMemory(module []byte) (int64, error) {
	if !bytes.HasPrefix(module, []byte(wasmMagic)) {
		return 0, fmt.Errorf("module: not WASM")
	}
	r := bytes.NewReader(module[len(wasmMagic):])
	for {
		id, err := r.ReadByte()
		if err == io.EOF {
			return 0, nil
		} else if err != nil {
			return 0, fmt.Errorf("module section: %w", err)
		}
		size, err := binary.ReadUvarint(r)
		if err != nil || size > uint64(r.Len()) {
			return 0, fmt.Errorf("module section %d: bad size", id)
		}
		if id != 5 {
			if _, err := r.Seek(int64(size), io.SeekCurrent); err != nil {
				return 0, fmt.Errorf("module section %d: %w", id, err)
			}
			continue
		}
		return firstMemory(io.LimitReader(r, int64(size)).(*io.LimitedReader))
	}
}

func firstMemory(lr *io.LimitedReader) (int64, error) {
	r := byteReader{lr}
	count, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, fmt.Errorf("module memory: %w", err)
	}
	if count == 0 {
		return 0, nil
	}
	if _, err := r.ReadByte(); err != nil { // the flags of the limits
		return 0, fmt.Errorf("module memory: %w", err)
	}
	pages, err := binary.ReadUvarint(r)
	if err != nil || pages > 1<<16 {
		return 0, fmt.Errorf("module memory: bad minimum")
	}
	return int64(pages) * pageSize, nil
}

type byteReader struct{ io.Reader }

func (b byteReader) ReadByte() (byte, error) {
	var one [1]byte
	_, err := io.ReadFull(b.Reader, one[:])
	return one[0], err
}
