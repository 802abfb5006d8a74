package main

import "math"

// camera is a thin lens. Its rays start around eye; corner is the way from there to the upper left corner of the
// plane that is sharp, across and down the ways from pixel to pixel on it; right and up span the lens.
type camera struct {
	eye, corner, across, down, right, up vec
}

const (
	lens  = 0.035 // radius
	focus = 8.6   // distance of what is sharp
)

func newCamera(w, h int) camera {
	c := camera{eye: vec{0.6, 2.35, -9.2}}
	ahead := vec{0, 0.72, 0}.sub(c.eye).unit()
	right := vec{0, 1, 0}.cross(ahead).unit()
	up := ahead.cross(right)
	const tall = 0.31 * focus
	wide := tall * float64(w) / float64(h)
	c.corner = ahead.scale(focus).add(right.scale(-wide)).add(up.scale(tall))
	c.across, c.down = right.scale(2*wide/float64(w)), up.scale(-2*tall/float64(h))
	c.right, c.up = right.scale(lens), up.scale(lens)
	return c
}

// ray gives the ray through the point x, y of the picture, in pixels from its upper left corner.
func (c *camera) ray(x, y float64, r *random) (o, d vec) {
	sin, cos := turn(r.next())
	away := math.Sqrt(r.next())
	shift := c.right.scale(away * cos).add(c.up.scale(away * sin))
	return c.eye.add(shift), c.corner.add(c.across.scale(x)).add(c.down.scale(y)).sub(shift).unit()
}

// path is one sample under way. Its first choices come from an even sequence (Roberts' R6), later ones from chance.
type path struct {
	random
	even [6]float64
}

// evenness holds the powers of the root of x^7 = x + 1: extremelearning.com.au, "unreasonable effectiveness".
var evenness = [6]float64{0.898653713, 0.807578496, 0.725733413, 0.652183027, 0.586086699, 0.526688867}

// pixel gives the light that falls on one pixel: the mean of up to samples paths. It ends early, at multiples of
// four, where the paths agree so well that more of them would not be seen.
func (s *scene) pixel(cam *camera, x, y, samples int) vec {
	offset := seeded(x, y, 1<<19)
	var shift [6]float64
	for i := range shift {
		shift[i] = offset.next()
	}
	var sum vec
	var bright, square float64
	n := 0
	for n < samples {
		p := path{random: seeded(x, y, n)}
		for i := range p.even {
			v := shift[i] + float64(n+1)*evenness[i]
			p.even[i] = v - float64(int(v))
		}
		o, d := cam.ray(float64(x)+p.even[0], float64(y)+p.even[1], &p.random)
		light := s.trace(o, d, &p)
		if l := light.luminance(); l > brightest {
			light = light.scale(brightest / l)
		}
		sum = sum.add(light)
		l := light.luminance()
		l /= 1 + l
		bright, square = bright+l, square+l*l
		n++
		if n%4 == 0 {
			k := float64(n)
			variance := (square - bright*bright/k) / (k * (k - 1))
			if variance < seen*seen && n >= 8 || variance < seen*seen/100 {
				break
			}
		}
	}
	return sum.scale(1 / float64(n))
}

const (
	bounces = 7
	seen    = 0.0065 // error of a pixel's brightness, of 1, that the eye would see
	// A path that is brighter than white film is cut down to this: one in a hundred of them would be a bright grain.
	brightest = 4
)

// trace follows one path from the eye until it is lost in the sky, absorbed or too weak to matter, and gives the light
// that it brings. Matte surfaces ask for the sun directly; smooth ones see it as part of the sky.
func (s *scene) trace(o, d vec, p *path) vec {
	light, weight := vec{}, vec{1, 1, 1}
	sharp, matte := true, 0 // whether the last surface was smooth; how many matte ones so far
	for range bounces {
		t, who := s.meet(o, d)
		if who == sky {
			c := heaven(d)
			if sharp && d.dot(sunWay) > 1-sunSize*sunSize {
				c = c.add(sunLight.scale(3))
			}
			return light.add(weight.mul(c))
		}
		at := o.along(d, t)
		surface, n := s.surface(at, t, who)
		switch surface.made {
		case lamp:
			facing := 0.35 - 0.65*n.dot(d)
			return light.add(weight.mul(surface.colour.scale(facing)))
		case glass:
			d = refract(d, n, p.next())
			weight, sharp = weight.mul(surface.colour), true
		case metal:
			d = reflect(d, n, surface.rough, &p.random)
			weight = weight.mul(schlick(surface.colour, -d.dot(n)))
			sharp = surface.rough < 0.03
			if d.dot(n) <= 0 {
				return light
			}
		default:
			if haze := surface.haze; haze > 0 {
				horizon := heaven(vec{d.x, 0, d.z}.unit())
				light = light.add(weight.mul(horizon).scale(haze))
				weight = weight.scale(1 - haze)
			}
			f := 0.04 + 0.96*fifth(1+d.dot(n))
			if p.next() < f {
				d = reflect(d, n, surface.rough, &p.random)
				sharp = false
				if d.dot(n) <= 0 {
					return light
				}
				break
			}
			weight = weight.mul(surface.colour)
			light = light.add(weight.mul(s.sun(at, n, p, matte)))
			if matte++; matte > 1 {
				return light.add(weight.mul(heaven(n)).scale(0.5))
			}
			d, sharp = scatter(n, p), false
		}
		o = at
		if weight.luminance() < 0.01 {
			break
		}
	}
	return light
}

// spot is the surface at one point.
type spot struct {
	made   int
	colour vec
	rough  float64
	haze   float64 // share of the air's light, which grows with the distance
}

// surface tells what a ray has met at a point t away, and the direction that points away from it.
func (s *scene) surface(at vec, t float64, who int) (spot, vec) {
	if who != floor {
		b := &s.balls[who]
		return spot{b.made, b.colour, b.rough, 0}, at.sub(b.centre).scale(1 / b.radius)
	}
	shade := vec{0.30, 0.29, 0.31}
	if (int(math.Floor(at.x*0.8))+int(math.Floor(at.z*0.8)))&1 == 0 {
		shade = vec{0.45, 0.42, 0.40}
	}
	haze := t * t / (t*t + 900)
	return spot{paint, shade, 0.05, haze}, vec{0, 1, 0}
}

// sun gives the light that comes straight from a random point of the sun's disc. Glass on the way lets most of it pass.
func (s *scene) sun(at, n vec, p *path, matte int) vec {
	u, v := p.even[2], p.even[3]
	if matte > 0 {
		u, v = p.next(), p.next()
	}
	a, b := basis(sunWay)
	sin, cos := turn(u)
	r := sunSize * math.Sqrt(v)
	d := sunWay.add(a.scale(r * cos)).add(b.scale(r * sin)).unit()
	facing := d.dot(n)
	if facing <= 0 {
		return vec{}
	}
	return sunLight.mul(s.shade(at, d)).scale(facing * (1 / math.Pi))
}

// scatter gives a direction around n by Lambert's cosine law.
func scatter(n vec, p *path) vec {
	u, v := p.even[4], p.even[5]
	a, b := basis(n)
	sin, cos := turn(u)
	r := math.Sqrt(v)
	return n.scale(math.Sqrt(1 - v)).add(a.scale(r * cos)).add(b.scale(r * sin))
}

// reflect mirrors d at a surface, blurred by its roughness.
func reflect(d, n vec, rough float64, r *random) vec {
	m := d.along(n, -2*d.dot(n))
	a, b := basis(m)
	sin, cos := turn(r.next())
	away := rough * math.Sqrt(r.next())
	return m.add(a.scale(away * cos)).add(b.scale(away * sin)).unit()
}

// refract passes or mirrors d at glass of index 1.5; u decides between the two in proportion to their light.
func refract(d, n vec, u float64) vec {
	eta, cos := 1/1.5, -d.dot(n)
	if cos < 0 {
		eta, cos, n = 1.5, -cos, n.scale(-1)
	}
	k := 1 - eta*eta*(1-cos*cos)
	if k <= 0 {
		return d.along(n, 2*cos).unit()
	}
	inner := math.Sqrt(k)
	lean := cos
	if eta > 1 {
		lean = inner
	}
	if u < 0.04+0.96*fifth(1-lean) {
		return d.along(n, 2*cos).unit()
	}
	return d.scale(eta).along(n, eta*cos-inner).unit()
}

// schlick gives a metal's colour at an angle: Schlick 1994.
func schlick(c vec, cos float64) vec {
	return c.mix(vec{1, 1, 1}, fifth(1-math.Abs(cos)))
}

func fifth(x float64) float64 {
	if x < 0 {
		return 0
	}
	return x * x * x * x * x
}
