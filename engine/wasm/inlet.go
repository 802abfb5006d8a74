package wasm

import (
	"io"
	"os"
	"sync"

	"github.com/tetratelabs/wazero/experimental/sys"
)

// inlet is a task's standard input: nothing, a file, or a file that still grows. from is shared with whoever hears of its growth.
type inlet struct {
	file *os.File
	pos  int64
	from *inlet // where size and eof are told, if the file grows

	mu   sync.Mutex
	cond *sync.Cond
	size int64
	eof  bool
}

func newInlet() *inlet {
	in := &inlet{}
	in.cond = sync.NewCond(&in.mu)
	return in
}

// feed tells that the file holds size bytes; it never shrinks.
func (in *inlet) feed(size int64, eof bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.size, in.eof = max(in.size, size), in.eof || eof
	in.cond.Broadcast()
}

// wait returns how many bytes there are past pos, once there are any or the end is known.
func (in *inlet) wait(pos int64) int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.size <= pos && !in.eof {
		in.cond.Wait()
	}
	return in.size - pos
}

func (in *inlet) open(path string) (err error) {
	in.file, err = os.Open(path)
	return err
}

func (in *inlet) close() {
	if in.file != nil {
		in.file.Close()
	}
	in.file, in.from, in.pos = nil, nil, 0
}

// Read gives what is there, and waits for a file that grows.
func (in *inlet) Read(p []byte) (int, error) {
	if in.file == nil {
		return 0, io.EOF
	}
	if in.from != nil {
		left := in.from.wait(in.pos)
		if left <= 0 {
			return 0, io.EOF
		}
		p = p[:min(int64(len(p)), left)]
	}
	n, err := in.file.ReadAt(p, in.pos)
	in.pos += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// Poll waits until Read would not: a program that asks whether there is input is told yes on every machine alike.
func (in *inlet) Poll(sys.Pflag, int32) (bool, sys.Errno) {
	if in.file != nil && in.from != nil {
		in.from.wait(in.pos)
	}
	return true, 0
}
