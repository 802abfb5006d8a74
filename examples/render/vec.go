package main

import "math"

// vec is a point, a direction or a colour.
type vec struct{ x, y, z float64 }

func (a vec) add(b vec) vec              { return vec{a.x + b.x, a.y + b.y, a.z + b.z} }
func (a vec) sub(b vec) vec              { return vec{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vec) mul(b vec) vec              { return vec{a.x * b.x, a.y * b.y, a.z * b.z} }
func (a vec) scale(f float64) vec        { return vec{a.x * f, a.y * f, a.z * f} }
func (a vec) dot(b vec) float64          { return a.x*b.x + a.y*b.y + a.z*b.z }
func (a vec) unit() vec                  { return a.scale(1 / math.Sqrt(a.dot(a))) }
func (a vec) mix(b vec, f float64) vec   { return a.scale(1 - f).add(b.scale(f)) }
func (a vec) along(d vec, t float64) vec { return vec{a.x + t*d.x, a.y + t*d.y, a.z + t*d.z} }

func (a vec) cross(b vec) vec {
	return vec{a.y*b.z - a.z*b.y, a.z*b.x - a.x*b.z, a.x*b.y - a.y*b.x}
}

// luminance after ITU-R BT.709.
func (a vec) luminance() float64 { return 0.2126*a.x + 0.7152*a.y + 0.0722*a.z }

// basis gives two directions square to n and to each other. n is of unit length.
// Duff et al., Building an Orthonormal Basis, Revisited, JCGT 6(1), 2017.
func basis(n vec) (vec, vec) {
	sign := math.Copysign(1, n.z)
	a := -1 / (sign + n.z)
	b := n.x * n.y * a
	return vec{1 + sign*n.x*n.x*a, sign * b, -sign * n.x}, vec{b, sign + n.y*n.y*a, -n.y}
}

// gamma holds the sRGB curve in steps of 1/4096.
var gamma = func() (g [4097]byte) {
	for i := range g {
		l := float64(i) / 4096
		s := 12.92 * l
		if l > 0.0031308 {
			s = 1.055*math.Pow(l, 1/2.4) - 0.055
		}
		g[i] = byte(s*255 + 0.5)
	}
	return g
}()

const exposure = 0.85

// develop turns light into three bytes of sRGB, appended to out: Narkowicz's fit of the ACES film curve.
func (a vec) develop(out []byte) []byte {
	for _, l := range [3]float64{a.x, a.y, a.z} {
		l *= exposure
		l = l * (2.51*l + 0.03) / (l*(2.43*l+0.59) + 0.14)
		out = append(out, gamma[int(4096*min(max(l, 0), 1))])
	}
	return out
}

// random is a PCG32 stream (O'Neill 2014, pcg-random.org).
type random struct{ state uint64 }

// seeded gives the stream of one sample of one pixel: splitmix64 of their numbers.
func seeded(x, y, sample int) random {
	z := uint64(x)<<40 ^ uint64(y)<<20 ^ uint64(sample)
	z = (z + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return random{z ^ z>>31}
}

// next gives a number in [0, 1).
func (r *random) next() float64 {
	old := r.state
	r.state = old*6364136223846793005 + 1442695040888963407
	word := uint32((old>>18 ^ old) >> 27)
	rot := uint32(old >> 59)
	return float64(word>>rot|word<<(-rot&31)) * (1.0 / (1 << 32))
}

// turn gives sine and cosine of u whole turns, 0 <= u < 1, within 1/10000. It is the same on every machine and has no
// branch: Go's WASM pays more for a branch than for the polynomials.
func turn(u float64) (sin, cos float64) {
	t := (u - 0.5) * math.Pi // half the angle, less a quarter turn
	t2 := t * t
	s := t * (1 - t2*(1.0/6-t2*(1.0/120-t2*(1.0/5040-t2/362880))))
	c := 1 - t2*(0.5-t2*(1.0/24-t2*(1.0/720-t2/40320)))
	return -2 * s * c, 2*s*s - 1
}
