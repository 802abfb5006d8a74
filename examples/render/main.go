// Command render draws one path-traced picture, whole or in tiles that other machines draw at the same time.
// It promises that a pixel depends on its place and the arguments alone, so tiles of any size make the same picture.
// Who draws which tile, and whether the tiles are to be trusted, is left to HPIPS.
package main

import (
	"bufio"
	"fmt"
	"image/png"
	"io"
	"os"
	"strconv"
)

const usage = `usage: render [WIDTH HEIGHT [SAMPLES [TILESX TILESY]]]
       render reduce [DIR]     put the tiles below DIR (default /in) together; PNG on stdout
With HPIPS_INDEX and HPIPS_COUNT set, tile HPIPS_INDEX of TILESX x TILESY goes to stdout; without, the whole PNG.`

func main() {
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	err := run(os.Args[1:], os.Getenv, out)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "render: %v\n", err)
		os.Exit(1)
	}
}

// reducing tells whether this is the reduce of a map: HPIPS runs it under an index past those of all parts. By hand,
// without an index, it is one where parts lie under /in.
func reducing(getenv func(string) string) bool {
	index, count := getenv("HPIPS_INDEX"), getenv("HPIPS_COUNT")
	if index == "" {
		fi, err := os.Stat("/in")
		return err == nil && fi.IsDir()
	}
	i, err1 := strconv.ParseUint(index, 10, 64)
	n, err2 := strconv.ParseUint(count, 10, 64)
	return err1 == nil && err2 == nil && i >= n
}

// order is what the arguments ask for: a picture, how often each pixel is sampled, and the grid of tiles.
type order struct{ width, height, samples, across, down int }

func run(args []string, getenv func(string) string, out io.Writer) error {
	byName := len(args) > 0 && args[0] == "reduce"
	if byName || reducing(getenv) {
		dir := "/in"
		if byName && len(args) > 1 {
			dir = args[1]
		}
		return reduce(os.DirFS(dir), dir, out)
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	index := getenv("HPIPS_INDEX")
	if index == "" {
		whole := tile{picW: o.width, picH: o.height, w: o.width, h: o.height}
		whole.draw(o.samples)
		return png.Encode(out, whole.picture())
	}
	t, err := o.tile(index, getenv("HPIPS_COUNT"))
	if err != nil {
		return err
	}
	t.draw(o.samples)
	return t.write(out)
}

// parse reads up to five numbers; those left out keep their defaults.
func parse(args []string) (order, error) {
	o := order{960, 540, 12, 8, 5}
	places := []struct {
		at   *int
		name string
		most int
	}{{&o.width, "WIDTH", 16384}, {&o.height, "HEIGHT", 16384}, {&o.samples, "SAMPLES", 65536}, {&o.across, "TILESX", 1024}, {&o.down, "TILESY", 1024}}
	if len(args) > len(places) {
		return o, fmt.Errorf("%d arguments, at most %d are known\n%s", len(args), len(places), usage)
	}
	for i, arg := range args {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 || n > places[i].most {
			return o, fmt.Errorf("%s %q: want a number from 1 to %d\n%s", places[i].name, arg, places[i].most, usage)
		}
		*places[i].at = n
	}
	if o.across > o.width || o.down > o.height {
		return o, fmt.Errorf("%d x %d tiles do not fit on %d x %d pixels", o.across, o.down, o.width, o.height)
	}
	return o, nil
}

// tile gives the tile of one task. count must be the number of tiles, or some of the picture would be missing.
func (o order) tile(index, count string) (tile, error) {
	n := o.across * o.down
	if count != strconv.Itoa(n) {
		return tile{}, fmt.Errorf("HPIPS_COUNT is %q, but %d x %d tiles are asked for: use --over count:%d", count, o.across, o.down, n)
	}
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 || i >= n {
		return tile{}, fmt.Errorf("HPIPS_INDEX is %q: want a number from 0 to %d", index, n-1)
	}
	t := tile{picW: o.width, picH: o.height}
	col, row := i%o.across, i/o.across
	t.x, t.y = col*o.width/o.across, row*o.height/o.down
	t.w, t.h = (col+1)*o.width/o.across-t.x, (row+1)*o.height/o.down-t.y
	return t, nil
}
