package main

import "math"

// Materials of the scene.
const (
	paint = iota // matte under a clear coat
	metal
	glass
	lamp
)

type ball struct {
	centre vec
	radius float64
	colour vec
	rough  float64
	made   int
}

// scene is a floor at height 0, few large balls, and many small ones that stand in a grid of square cells.
type scene struct {
	balls []ball
	large []disc   // the first balls, which are in no cell
	cells [][]disc // small balls that reach into a cell, row by row
}

const (
	half   = 6.0  // the grid reaches from -half to half along x and z
	cell   = 0.6  // width of a cell
	across = 20   // cells along one side
	height = 0.62 // no small ball is higher
	near   = 1e-4 // a ray does not meet what is nearer
	far    = 1e9
)

var (
	sunWay   = vec{-0.62, 0.36, 0.52}.unit() // towards the sun
	sunLight = vec{6.4, 4.3, 2.5}
)

const sunSize = 0.035 // radius of the sun's disc at distance 1

// newScene sets small balls in a sunflower spiral (Vogel 1979: the golden angle between neighbours, radius by the
// square root of the number) around large ones.
func newScene() *scene {
	s := &scene{balls: []ball{
		{vec{0, 1.15, 0}, 1.15, vec{0.97, 0.99, 1}, 0, glass},
		{vec{-3.1, 1.5, 3.4}, 1.5, vec{1, 0.72, 0.36}, 0.06, metal},
		{vec{3.3, 1.2, 2.7}, 1.2, vec{0.86, 0.88, 0.92}, 0.005, metal},
	}}
	for i, b := range s.balls {
		s.large = append(s.large, b.disc(i))
	}
	palette := []vec{{0.06, 0.36, 0.46}, {0.12, 0.55, 0.52}, {0.93, 0.77, 0.42}, {0.93, 0.44, 0.24}, {0.75, 0.16, 0.22}, {0.35, 0.13, 0.36}}
	for i := 9; i < 260; i++ {
		sin, cos := turn(math.Mod(float64(i)*0.3819660112501051, 1))
		away := 0.36 * math.Sqrt(float64(i))
		b := ball{radius: 0.13 + 0.018*away, rough: 0.02, made: paint}
		b.centre = vec{away * cos, b.radius, away * sin}
		shade := float64(i) / 260 * 5
		b.colour = palette[int(shade)].mix(palette[min(int(shade)+1, 5)], shade-math.Floor(shade))
		switch {
		case i%13 == 4:
			b.made, b.colour = glass, vec{0.98, 0.98, 0.98}.mix(b.colour, 0.25)
		case i%8 == 3:
			b.made, b.colour, b.rough = metal, b.colour.mix(vec{1, 0.9, 0.8}, 0.6), 0.12
		case i%21 == 6:
			b.made, b.colour = lamp, vec{3.2, 2.0, 1.0}
		}
		if !s.touches(b) {
			s.balls = append(s.balls, b)
		}
	}
	s.fillCells()
	return s
}

func (s *scene) touches(b ball) bool {
	for _, o := range s.balls[:len(s.large)] {
		gap, least := b.centre.sub(o.centre), b.radius+o.radius
		if gap.dot(gap) < least*least {
			return true
		}
	}
	return false
}

func (s *scene) fillCells() {
	s.cells = make([][]disc, across*across)
	for i := len(s.large); i < len(s.balls); i++ {
		b := &s.balls[i]
		x0, x1 := cellOf(b.centre.x-b.radius), cellOf(b.centre.x+b.radius)
		for z := cellOf(b.centre.z - b.radius); z <= cellOf(b.centre.z+b.radius); z++ {
			for x := x0; x <= x1; x++ {
				s.cells[z*across+x] = append(s.cells[z*across+x], b.disc(i))
			}
		}
	}
}

func (b ball) disc(number int) disc {
	return disc{b.centre.x, b.centre.y, b.centre.z, b.radius * b.radius, number}
}

func cellOf(at float64) int { return min(max(int((at+half)*(1/cell)), 0), across-1) }

// Whom a ray has met, besides the number of a ball.
const (
	sky   = -1
	floor = -2
)

// meet gives the nearest thing that the ray from o along the unit vector d meets, and its distance.
//
//  1. the floor;
//  2. the large balls;
//  3. the small balls of the cells under the ray, from near to far, while it is no higher than they are.
func (s *scene) meet(o, d vec) (float64, int) {
	best, who := far, sky
	if d.y < 0 {
		if t := -o.y / d.y; t > near {
			best, who = t, floor
		}
	}
	for i := range s.large {
		if t := s.large[i].meet(o, d); t > near && t < best {
			best, who = t, s.large[i].number
		}
	}
	w := s.enter(o, d, best)
	if !w.inside {
		return best, who
	}
	cellX, cellZ, nextX, nextZ := w.x, w.z, w.nextX, w.nextZ
	for {
		list := s.cells[cellZ*across+cellX]
		for i := range list {
			b := &list[i]
			x, y, z := o.x-b.x, o.y-b.y, o.z-b.z
			q := x*d.x + y*d.y + z*d.z
			root := q*q - (x*x + y*y + z*z - b.square)
			if root <= 0 {
				continue
			}
			root = math.Sqrt(root)
			t := -q - root
			if t <= near {
				t = root - q
			}
			if t > near && t < best {
				best, who = t, b.number
			}
		}
		edge := nextX
		if nextX < nextZ {
			cellX += w.stepX
			nextX += w.eachX
		} else {
			edge = nextZ
			cellZ += w.stepZ
			nextZ += w.eachZ
		}
		if best <= edge || edge >= w.out || uint(cellX) >= across || uint(cellZ) >= across {
			return best, who
		}
	}
}

// shade gives what is left of the light that comes to o along d from outside: nothing behind paint, metal and lamps,
// most of it behind glass.
func (s *scene) shade(o, d vec) vec {
	through := vec{1, 1, 1}
	for i := range s.large {
		if t := s.large[i].meet(o, d); t > near {
			b := &s.balls[s.large[i].number]
			if b.made != glass {
				return vec{}
			}
			through = through.mul(b.colour).scale(0.7)
		}
	}
	w := s.enter(o, d, far)
	for before := 0.0; w.inside; {
		list := s.cells[w.z*across+w.x]
		edge := w.step()
		for i := range list {
			t := list[i].meet(o, d)
			if t <= near {
				continue
			}
			b := &s.balls[list[i].number]
			if b.made != glass {
				return vec{}
			}
			if t > before && t <= edge { // a ball in two cells shades once
				through = through.mul(b.colour).scale(0.7)
			}
		}
		before = edge
	}
	return through
}

// disc is what a ray needs to know of a ball.
type disc struct {
	x, y, z, square float64
	number          int
}

// meet gives the distance of the ball along a ray, 0 or less where the ray misses it.
func (b *disc) meet(o, d vec) float64 {
	x, y, z := o.x-b.x, o.y-b.y, o.z-b.z
	q := x*d.x + y*d.y + z*d.z
	root := q*q - (x*x + y*y + z*z - b.square)
	if root <= 0 {
		return 0
	}
	root = math.Sqrt(root)
	if t := -q - root; t > near {
		return t
	}
	return root - q
}

// walk goes through the cells along a ray: Amanatides and Woo, A Fast Voxel Traversal Algorithm, 1987.
type walk struct {
	x, z         int // the cell at hand
	stepX, stepZ int
	nextX, nextZ float64 // distance of the next crossing along each axis
	eachX, eachZ float64
	out          float64
	inside       bool
}

// enter begins a walk where the ray from o along d enters the box that holds all small balls, unless that is past end.
func (s *scene) enter(o, d vec, end float64) (w walk) {
	in, out := 0.0, end
	in, out = clip(in, out, o.y-height/2, d.y, height/2)
	in, out = clip(in, out, o.x, d.x, half)
	in, out = clip(in, out, o.z, d.z, half)
	if in >= out {
		return w
	}
	w.inside, w.out = true, out
	w.x, w.z = cellOf(o.x+in*d.x), cellOf(o.z+in*d.z)
	w.stepX, w.nextX, w.eachX = stride(o.x, d.x, w.x)
	w.stepZ, w.nextZ, w.eachZ = stride(o.z, d.z, w.z)
	return w
}

// step goes to the next cell and gives the distance at which the ray leaves the present one.
func (w *walk) step() float64 {
	edge := w.nextX
	if w.nextX < w.nextZ {
		w.x += w.stepX
		w.nextX += w.eachX
	} else {
		edge = w.nextZ
		w.z += w.stepZ
		w.nextZ += w.eachZ
	}
	w.inside = edge < w.out && uint(w.x) < across && uint(w.z) < across
	return edge
}

// clip cuts the span from in to out of a ray down to where it lies within reach of 0 along one axis.
func clip(in, out, o, d, reach float64) (float64, float64) {
	if math.Abs(d) < 1e-9 {
		d = 1e-9
	}
	middle, way := -o/d, math.Abs(reach/d)
	if middle-way > in {
		in = middle - way
	}
	if middle+way < out {
		out = middle + way
	}
	return in, out
}

// stride says how a ray crosses cells along one axis: the step of the cell's number, the distance of the first
// crossing, and the distance between crossings.
func stride(o, d float64, c int) (step int, next, each float64) {
	switch {
	case d > 1e-12:
		return 1, (float64(c+1)*cell - half - o) / d, cell / d
	case d < -1e-12:
		return -1, (float64(c)*cell - half - o) / d, -cell / d
	}
	return 0, far, far
}

// heaven is the light of the sky along d, without the sun's disc.
func heaven(d vec) vec {
	low := 1 - (d.y+math.Abs(d.y))/2
	low *= low
	low *= low
	c := vec{0.10, 0.20, 0.46}.mix(vec{0.92, 0.58, 0.38}, low*low)
	glow := d.dot(sunWay)
	glow = (glow + math.Abs(glow)) / 2
	glow *= glow
	glow *= glow
	return c.add(vec{0.68, 0.38, 0.16}.scale(glow * glow))
}
