package meter

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// reader takes the binary format apart (core spec 5.2). The first error stays, and what is read after it is nothing.
type reader struct {
	b    []byte
	p    int
	err  error
	work *work
}

// work bounds what a module may cost to check, in steps: types with a thousand parameters, named in every instruction, would else take
// a time beyond any proportion to the module's size.
type work struct{ left int64 }

const (
	workFloor   = 1 << 20 // steps for any module
	workPerByte = 128     // and for each of its bytes
)

var (
	errEnd  = errors.New("it ends too early")
	errWork = errors.New("checking it takes more than its size allows: types too large for so many instructions")
)

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.p = len(r.b)
}

func (r *reader) failf(format string, args ...any) { r.fail(fmt.Errorf(format, args...)) }

func (r *reader) done() bool { return r.p >= len(r.b) }

func (r *reader) spend(n int) {
	if r.work.left -= int64(n); r.work.left < 0 {
		r.fail(errWork)
	}
}

func (r *reader) byte() byte {
	if r.p >= len(r.b) {
		r.fail(errEnd)
		return 0
	}
	c := r.b[r.p]
	r.p++
	return c
}

func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)-r.p) {
		r.fail(errEnd)
		return nil
	}
	b := r.b[r.p : r.p+int(n) : r.p+int(n)]
	r.p += int(n)
	return b
}

// unsigned reads an unsigned LEB128 number of at most 32 bits.
func (r *reader) unsigned() uint32 {
	var v uint64
	for shift := 0; ; shift += 7 {
		c := r.byte()
		if shift == 28 && c > 0x0f {
			r.failf("a number of more than 32 bits")
			return 0
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return uint32(v)
		}
	}
}

// signed reads a signed LEB128 number of the given bits: 32, 33 or 64.
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; ; shift += 7 {
		c := r.byte()
		v |= int64(c&0x7f) << shift
		if left := bits - shift; left <= 7 {
			// What is beyond the number's bits must repeat its sign.
			if rest := int8(c<<1) >> left; c >= 0x80 || (rest != 0 && rest != -1) {
				r.failf("a number of more than %d bits", bits)
				return 0
			}
		}
		if c < 0x80 {
			if shift+7 < 64 && c&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
		if r.err != nil {
			return 0
		}
	}
}

// count reads the length of a vector whose items take at least one byte each, so that a length beyond what is there is refused at once.
func (r *reader) count(most int, what string) int {
	n := r.unsigned()
	switch {
	case uint64(n) > uint64(len(r.b)-r.p):
		r.fail(errEnd)
		return 0
	case int64(n) > int64(most):
		r.failf("%d %s, more than %d", n, what, most)
		return 0
	}
	r.spend(int(n))
	return int(n)
}

func (r *reader) name() string {
	b := r.bytes(r.unsigned())
	r.spend(len(b) / 16)
	if !utf8.Valid(b) {
		r.failf("a name is not UTF-8")
	}
	return string(b)
}

// limits reads a minimum and a maximum (core spec 5.3.7), both at most top; has says whether a maximum was given.
func (r *reader) limits(top uint32) (low, high uint32, has bool) {
	flag := r.byte()
	if flag > 1 {
		r.failf("limits of kind %d: shared or 64-bit memory is not deterministic or not supported", flag)
		return 0, 0, false
	}
	low, high = r.unsigned(), top
	if flag == 1 {
		high, has = r.unsigned(), true
	}
	return low, high, has
}

func appendUnsigned(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v) & 0x7f
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
