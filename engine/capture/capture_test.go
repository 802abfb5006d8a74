package capture

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/hpips/hpips/engine"
)

// file is one that tells whether it was closed.
type file struct {
	bytes.Buffer
	closed bool
}

func (f *file) Close() error { f.closed = true; return nil }

// TestOutput has alice's program write in pieces of several sizes: what is short is kept whole, a long standard output goes on into one file, and of a long standard error the
// ends are kept, with what is left out named between them.
func TestOutput(t *testing.T) {
	for _, row := range []struct{ fd, size, piece int }{
		{1, 0, 1}, {1, 5, 2}, {1, Inline, 1000}, {1, Inline + 1, Inline}, {1, 300_000, 4096},
		{2, 0, 1}, {2, 5, 2}, {2, Inline, 999}, {2, Inline + 1, 4096}, {2, 300_000, 4096}, {2, 300_000, 200_000},
	} {
		spill := &file{}
		o := &Output{FD: row.fd, Spill: func() (io.WriteCloser, error) { return spill, nil }}
		for range 2 { // the second task finds nothing of the first
			spill.Reset()
			text := []byte(strings.Repeat("0123456789abcdefghijk", row.size/21+1)[:row.size])
			for left := text; len(left) > 0; {
				n := min(row.piece, len(left))
				if err := o.Keep(left[:n]); err != nil {
					t.Fatal(err)
				}
				left = left[n:]
			}
			if o.Size() != int64(row.size) {
				t.Errorf("%+v: size %d", row, o.Size())
			}
			inline, spilled, err := o.Close()
			want := string(text)
			if row.fd == 2 && row.size > Inline {
				want = want[:Head] + "\n[... " + engine.Bytes(int64(row.size-Inline)) + " of standard error left out ...]\n" + want[len(want)-Tail:]
			}
			if long := row.fd == 1 && row.size > Inline; spilled != long || spilled != spill.closed || err != nil {
				t.Errorf("%+v: spilled %v, closed %v, %v", row, spilled, spill.closed, err)
			} else if long {
				inline = spill.Bytes()
			}
			if string(inline) != want {
				t.Errorf("%+v: kept %d bytes, want %d", row, len(inline), len(want))
			}
			o.Reset()
		}
	}
}
