package main

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"io/fs"
)

// tile is a rectangle of a picture. On the wire it is the word "tile", then six 32-bit little-endian numbers (width
// and height of the picture; x, y, width and height of the tile), then three bytes (red, green, blue) for each pixel,
// row by row.
type tile struct {
	picW, picH, x, y, w, h int
	rgb                    []byte
}

const (
	magic     = "tile"
	headBytes = len(magic) + 6*4
	maxPixels = 1 << 26
)

// draw fills the tile with samples paths for each pixel at most.
func (t *tile) draw(samples int) {
	s := newScene()
	cam := newCamera(t.picW, t.picH)
	t.rgb = make([]byte, 0, 3*t.w*t.h)
	for y := t.y; y < t.y+t.h; y++ {
		for x := t.x; x < t.x+t.w; x++ {
			t.rgb = s.pixel(&cam, x, y, samples).develop(t.rgb)
		}
	}
}

func (t *tile) write(out io.Writer) error {
	head := []byte(magic)
	for _, n := range []int{t.picW, t.picH, t.x, t.y, t.w, t.h} {
		head = binary.LittleEndian.AppendUint32(head, uint32(n))
	}
	if _, err := out.Write(head); err != nil {
		return err
	}
	_, err := out.Write(t.rgb)
	return err
}

// parseTile reads what write has written, strictly: lengths must agree and the tile must lie inside its picture.
func parseTile(b []byte) (tile, error) {
	var t tile
	if len(b) < headBytes || string(b[:len(magic)]) != magic {
		return t, fmt.Errorf("not a tile")
	}
	for i, at := range []*int{&t.picW, &t.picH, &t.x, &t.y, &t.w, &t.h} {
		*at = int(binary.LittleEndian.Uint32(b[len(magic)+4*i:]))
		if *at < 0 || *at > 1<<20 {
			return t, fmt.Errorf("header says %d: not a tile of a picture", *at)
		}
	}
	if t.picW*t.picH > maxPixels || t.x+t.w > t.picW || t.y+t.h > t.picH {
		return t, fmt.Errorf("tile of %d x %d at %d,%d does not lie in a picture of %d x %d", t.w, t.h, t.x, t.y, t.picW, t.picH)
	}
	t.rgb = b[headBytes:]
	if len(t.rgb) != 3*t.w*t.h {
		return t, fmt.Errorf("tile of %d x %d has %d bytes of colour, want %d", t.w, t.h, len(t.rgb), 3*t.w*t.h)
	}
	return t, nil
}

// reduce puts all tiles below root together and writes the PNG. Every pixel must have been drawn exactly once.
func reduce(root fs.FS, dir string, out io.Writer) error {
	var pic *image.NRGBA
	drawn := 0
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("reduce %s: %w", dir, err)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		t, err := parseTile(b)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", dir, name, err)
		}
		if pic == nil {
			pic = image.NewNRGBA(image.Rect(0, 0, t.picW, t.picH))
		}
		if err := t.place(pic); err != nil {
			return fmt.Errorf("%s/%s: %w", dir, name, err)
		}
		drawn += t.w * t.h
		return nil
	})
	if err != nil {
		return err
	}
	if pic == nil {
		return fmt.Errorf("%s: no tiles", dir)
	}
	if missing := pic.Rect.Dx()*pic.Rect.Dy() - drawn; missing > 0 {
		return fmt.Errorf("%s: tiles missing: %d pixels are not drawn", dir, missing)
	}
	return png.Encode(out, pic)
}

// place draws the tile into its picture, whose untouched pixels are transparent.
func (t *tile) place(pic *image.NRGBA) error {
	if pic.Rect.Dx() != t.picW || pic.Rect.Dy() != t.picH {
		return fmt.Errorf("tile of a picture of %d x %d among tiles of %d x %d", t.picW, t.picH, pic.Rect.Dx(), pic.Rect.Dy())
	}
	for i := 0; i < len(t.rgb); i += 3 {
		x, y := t.x+i/3%t.w, t.y+i/3/t.w
		if pic.NRGBAAt(x, y).A != 0 {
			return fmt.Errorf("pixel %d,%d is drawn twice", x, y)
		}
		pic.SetNRGBA(x, y, color.NRGBA{t.rgb[i], t.rgb[i+1], t.rgb[i+2], 255})
	}
	return nil
}

func (t *tile) picture() image.Image {
	pic := image.NewNRGBA(image.Rect(0, 0, t.picW, t.picH))
	if err := t.place(pic); err != nil {
		panic(err)
	}
	return pic
}
