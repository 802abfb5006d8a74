package replica

import (
	"bytes"
	"testing"

	"github.com/hpips/hpips/spec/erasure"
)

// times multiplies in the field of 256 elements modulo x⁸ + x⁴ + x³ + x² + 1, by shifting.
func times(a, b byte) byte {
	var p byte
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			p ^= a
		}
		high := a & 0x80
		if a <<= 1; high != 0 {
			a ^= 0x1d
		}
	}
	return p
}

func inverse(a byte) byte {
	for b := 1; b < 256; b++ {
		if times(a, byte(b)) == 1 {
			return byte(b)
		}
	}
	panic("zero has none")
}

// The code is what README.md says, reckoned here without the library: the bytes of piece x are p(x), where p is the polynomial of degree below k with p(0), …, p(k−1) the bytes of the leaves. Lagrange's formula gives it.
func TestTheCodeIsAPolynomial(t *testing.T) {
	for _, s := range []erasure.Scheme{{Need: 2, Pieces: 3}, {Need: 3, Pieces: 6}, erasure.Small, erasure.Large, {Need: 254, Pieces: 255}, {Need: 2, Pieces: 255}} {
		c, err := newCoder(s)
		must(t, err)
		width := 7
		data := make([][]byte, s.Need)
		for i := range data {
			data[i] = random(width-i%3, uint64(i)) // shorter ones end in zeros
		}
		if s.Need > 2 {
			data[s.Need-1] = nil // as in a last stripe
		}
		shards, err := c.encode(data, width)
		must(t, err)
		for x := s.Need; x < s.Pieces; x++ {
			want := make([]byte, width)
			for i, d := range data {
				weight := byte(1)
				for j := range data {
					if j != i {
						weight = times(weight, times(byte(x)^byte(j), inverse(byte(i)^byte(j))))
					}
				}
				for at, b := range d {
					want[at] ^= times(weight, b)
				}
			}
			if !bytes.Equal(shards[x], want) {
				t.Fatalf("%v: piece %d is %x, want %x", s, x, shards[x], want)
			}
		}
	}
}

func BenchmarkMake(b *testing.B) {
	for _, scheme := range []erasure.Scheme{erasure.Small, erasure.Large} {
		b.Run(scheme.String(), func(b *testing.B) {
			s := alone(b)
			root := file(80<<20, 1)(b, s)
			b.SetBytes(80 << 20)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Make(b.Context(), s, root, scheme, "pieces"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReckon makes 18 lost leaves of a stripe again, each time.
func BenchmarkReckon(b *testing.B) {
	c, err := newCoder(erasure.Large)
	must(b, err)
	data := make([][]byte, 20)
	for i := range data {
		data[i] = random(MaxBlock, uint64(i))
	}
	shards, err := c.encode(data, MaxBlock)
	must(b, err)
	for i := range 18 {
		shards[i] = nil
	}
	b.SetBytes(20 << 20)
	for b.Loop() {
		if _, err := c.reckon(shards, 20, MaxBlock, all(18)); err != nil {
			b.Fatal(err)
		}
	}
}
