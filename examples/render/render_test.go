package main

import (
	"bytes"
	"image/png"
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

func draw(t *testing.T, env map[string]string, args ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := run(args, func(k string) string { return env[k] }, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// tiles draws every tile of a picture as its own task would.
func tiles(t *testing.T, count int, args ...string) fstest.MapFS {
	t.Helper()
	parts := fstest.MapFS{}
	for i := range count {
		env := map[string]string{"HPIPS_INDEX": strconv.Itoa(i), "HPIPS_COUNT": strconv.Itoa(count)}
		parts["part/"+strconv.Itoa(i)] = &fstest.MapFile{Data: draw(t, env, args...)}
	}
	return parts
}

func TestTilesMakeTheWholePicture(t *testing.T) {
	whole := draw(t, nil, "61", "37", "8")
	for _, grid := range [][2]string{{"1", "1"}, {"4", "3"}, {"7", "1"}} {
		x, _ := strconv.Atoi(grid[0])
		y, _ := strconv.Atoi(grid[1])
		var out bytes.Buffer
		if err := reduce(tiles(t, x*y, "61", "37", "8", grid[0], grid[1]), "/in", &out); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), whole) {
			t.Errorf("%s x %s tiles: another picture", grid[0], grid[1])
		}
	}
	pic, err := png.Decode(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[[3]uint32]bool{}
	for y := range 37 {
		for x := range 61 {
			r, g, b, _ := pic.At(x, y).RGBA()
			seen[[3]uint32{r, g, b}] = true
		}
	}
	if pic.Bounds().Dx() != 61 || pic.Bounds().Dy() != 37 || len(seen) < 500 {
		t.Errorf("a picture of %v with %d colours, want 61 x 37 with at least 500", pic.Bounds(), len(seen))
	}
}

func TestAMissingOrStrangeTileIsNamed(t *testing.T) {
	good := tiles(t, 4, "16", "8", "1", "2", "2")
	other := tiles(t, 1, "8", "8", "1", "1", "1")
	for name, row := range map[string]struct {
		change func(fstest.MapFS)
		want   string
	}{
		"one is missing":     {func(m fstest.MapFS) { delete(m, "part/2") }, "32 pixels are not drawn"},
		"one came twice":     {func(m fstest.MapFS) { m["part/9"] = m["part/1"] }, "part/9: pixel 8,0 is drawn twice"},
		"of another picture": {func(m fstest.MapFS) { m["part/9"] = other["part/0"] }, "part/9: tile of a picture of 8 x 8"},
		"cut short":          {func(m fstest.MapFS) { m["part/3"] = &fstest.MapFile{Data: good["part/3"].Data[:60]} }, "part/3: tile of 8 x 4 has"},
		"text":               {func(m fstest.MapFS) { m["part/0"] = &fstest.MapFile{Data: []byte("hello")} }, "part/0: not a tile"},
		"nothing":            {func(m fstest.MapFS) { clear(m) }, "no tiles"},
	} {
		t.Run(name, func(t *testing.T) {
			parts := fstest.MapFS{}
			for k, v := range good {
				parts[k] = v
			}
			row.change(parts)
			err := reduce(parts, "/in", &bytes.Buffer{})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want one that says %q", err, row.want)
			}
		})
	}
}

func TestBadOrdersAreRefused(t *testing.T) {
	for _, row := range []struct{ args, index, count, want string }{
		{"0", "", "", `WIDTH "0"`},
		{"10 x", "", "", `HEIGHT "x"`},
		{"10 10 1 11 1", "", "", "do not fit"},
		{"1 2 3 4 5 6", "", "", "6 arguments"},
		{"16 16 1 2 2", "0", "5", "--over count:4"},
		{"16 16 1 2 2", "-1", "4", "HPIPS_INDEX"},
		{"16 16 1 2 2", "4", "4", "reduce /in"},
	} {
		env := map[string]string{"HPIPS_INDEX": row.index, "HPIPS_COUNT": row.count}
		err := run(strings.Fields(row.args), func(k string) string { return env[k] }, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v, want one that says %q", row.args, err, row.want)
		}
	}
}

// The grid of cells is there for speed alone: a ray must meet what it meets when every ball is tried.
func TestRaysMeetWhatABlindSearchFinds(t *testing.T) {
	s := newScene()
	r := seeded(1, 2, 3)
	met := 0
	for range 20_000 {
		o := vec{12*r.next() - 6, 0.01 + 2*r.next(), 12*r.next() - 6}
		d := vec{r.next() - 0.5, r.next() - 0.5, r.next() - 0.5}.unit()
		best, who := far, sky
		if d.y < 0 {
			best, who = -o.y/d.y, floor
		}
		for i, b := range s.balls {
			disc := b.disc(i)
			if at := disc.meet(o, d); at > near && at < best {
				best, who = at, i
			}
		}
		if got, thing := s.meet(o, d); thing != who || got != best {
			t.Fatalf("from %v along %v: thing %d at %v, want %d at %v", o, d, thing, got, who, best)
		}
		if who >= 0 {
			met++
		}
	}
	if met < 5000 {
		t.Errorf("only %d rays met a ball", met)
	}
}

func TestTurnIsSineAndCosine(t *testing.T) {
	for i := range 1000 {
		u := float64(i) / 1000
		sin, cos := turn(u)
		if wantSin, wantCos := math.Sincos(2 * math.Pi * u); math.Abs(sin-wantSin) > 1e-4 || math.Abs(cos-wantCos) > 1e-4 {
			t.Errorf("turn %v: %v %v, want %v %v", u, sin, cos, wantSin, wantCos)
		}
	}
}

func FuzzTile(f *testing.F) {
	f.Add([]byte("tile"))
	small := tile{picW: 2, picH: 2, x: 1, w: 1, h: 2, rgb: make([]byte, 6)}
	var b bytes.Buffer
	if err := small.write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseTile(data)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := got.write(&again); err != nil || !bytes.Equal(again.Bytes(), data) {
			t.Errorf("%x comes back as %x, %v", data, again.Bytes(), err)
		}
	})
}
