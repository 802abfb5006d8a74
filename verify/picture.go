package verify

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
)

// maxPixels bounds the picture that is decoded, and with it the memory: 8 bytes a pixel at most.
const maxPixels = 1 << 22

// samePicture reports whether two PNG images have one size and, in each channel, a mean absolute difference of at most distance (0 … 255).
func samePicture(a, b []byte, distance float64) bool {
	x, err := parsePicture(a)
	if err != nil {
		return false
	}
	y, err := parsePicture(b)
	if err != nil || x.Bounds().Size() != y.Bounds().Size() {
		return false
	}
	for _, d := range differences(x, y) {
		if d > distance {
			return false
		}
	}
	return true
}

func parsePicture(data []byte) (image.RGBA64Image, error) {
	head, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	if head.Width <= 0 || head.Height <= 0 || head.Width > maxPixels/head.Height {
		return nil, fmt.Errorf("picture: %d×%d are not possible", head.Width, head.Height)
	}
	decoded, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	p, ok := decoded.(image.RGBA64Image)
	if !ok {
		return nil, errors.New("picture: a form of colour that is not known")
	}
	return p, nil
}

// differences is the mean absolute difference of red, green, blue (each times alpha) and alpha, on a scale of 0 … 255.
func differences(x, y image.RGBA64Image) [4]float64 {
	a, b := x.Bounds(), y.Bounds()
	var sum [4]uint64 // 2^22 pixels of 2^16
	for j := range a.Dy() {
		for i := range a.Dx() {
			p, q := x.RGBA64At(a.Min.X+i, a.Min.Y+j), y.RGBA64At(b.Min.X+i, b.Min.Y+j)
			sum[0] += apart(p.R, q.R)
			sum[1] += apart(p.G, q.G)
			sum[2] += apart(p.B, q.B)
			sum[3] += apart(p.A, q.A)
		}
	}
	var mean [4]float64
	for c := range sum {
		mean[c] = float64(sum[c]) / 257 / float64(a.Dx()*a.Dy())
	}
	return mean
}

func apart(a, b uint16) uint64 { return uint64(max(a, b) - min(a, b)) }
