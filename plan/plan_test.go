package plan

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/job"
)

func TestCombinationTurnsLastAxisFastest(t *testing.T) {
	m := job.OrderedMap{{Name: "a", Values: []string{"x", "y"}}, {Name: "b", Values: []string{"1", "2", "3"}}}
	var got []string
	for i := range Combinations(m) {
		c := Combination(m, uint64(i))
		got = append(got, c["a"]+c["b"])
	}
	if want := []string{"x1", "x2", "x3", "y1", "y2", "y3"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestGroupsKeepEveryFileOnceInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.Int64Range(0, 1<<20), 1, 300).Draw(t, "sizes")
		n := rapid.IntRange(1, 140).Draw(t, "n")
		files := make([]File, len(sizes))
		for i, s := range sizes {
			files[i] = File{Path: fmt.Sprint(i), Size: s}
		}
		groups := Groups(files, n)
		if len(groups) != min(n, len(files)) {
			t.Fatalf("%d groups of %d files, want %d", len(groups), len(files), min(n, len(files)))
		}
		var back []File
		for _, g := range groups {
			if len(g) == 0 {
				t.Fatal("an empty group")
			}
			back = append(back, g...)
		}
		if !slices.Equal(back, files) {
			t.Fatal("files lost or out of order")
		}
	})
}

func TestGroupsAreBalanced(t *testing.T) {
	files := make([]File, 1000)
	for i := range files {
		files[i] = File{Path: fmt.Sprint(i), Size: int64(1000 + i%37*500)}
	}
	var most, all int64
	for _, g := range Groups(files, 16) {
		var sum int64
		for _, f := range g {
			sum += f.Size
		}
		most, all = max(most, sum), all+sum
	}
	if most*16 > all*12/10 {
		t.Fatalf("largest group has %d of %d bytes: more than 1.2 of its share", most, all)
	}
}

func TestRangesCoverAllBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, 10000).Draw(t, "size")
		n := rapid.Int64Range(1, 500).Draw(t, "n")
		for name, ranges := range map[string][]Range{"Ranges": slices.Collect(Ranges(size, n)), "Parts": slices.Collect(Parts(size, n))} {
			at := int64(0)
			for _, r := range ranges {
				if r.Offset != at || (r.Length <= 0 && size > 0) {
					t.Fatalf("%s(%d, %d): piece %+v after %d", name, size, n, r, at)
				}
				at += r.Length
			}
			if at != size || len(ranges) == 0 {
				t.Fatalf("%s(%d, %d) covers %d bytes in %d pieces", name, size, n, at, len(ranges))
			}
		}
	})
}

func TestPiecesOfTheLargestFile(t *testing.T) {
	const size = math.MaxInt64
	for name, pieces := range map[string]iter.Seq[Range]{"Ranges": Ranges(size, size/3+1), "Parts": Parts(size, 3)} {
		at, n := int64(0), 0
		for r := range pieces {
			if n++; r.Offset != at || r.Length <= 0 || n > 3 {
				t.Fatalf("%s: piece %+v after %d", name, r, at)
			}
			at += r.Length
		}
		if at != size {
			t.Errorf("%s covers %d bytes", name, at)
		}
	}
	for r := range Parts(size, 1<<40) { // takes no memory for the others
		if r.Length != size>>40 {
			t.Errorf("first of many parts is %+v", r)
		}
		break
	}
}

func TestSortedPartNames(t *testing.T) {
	rows := []struct {
		index, count uint64
		want         string
	}{{0, 1, "0"}, {9, 10, "9"}, {9, 11, "09"}, {127, 128, "127"}, {5, 1000, "005"}}
	for _, r := range rows {
		if got := SortedPartName(r.index, r.count); got != r.want {
			t.Errorf("SortedPartName(%d, %d) = %q, want %q", r.index, r.count, got, r.want)
		}
	}
}

func TestInputPathStaysUnderIn(t *testing.T) {
	for name, want := range map[string]string{"a.go": "/in/a.go", "x/y": "/in/x/y", "../../etc/passwd": "/in/etc/passwd", "": "/in"} {
		if got := InputPath(name); got != want {
			t.Errorf("InputPath(%q) = %q, want %q", name, got, want)
		}
	}
}
