// Package plan decides what the tasks of a job are: how many, what each is given, and where an input is cut.
// It promises to be pure and stable: the same specification and the same listing give the same tasks on every machine and after every restart.
// It leaves reading and storing content to the requester, and choosing machines to the market.
package plan

import (
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hpips/hpips/spec/job"
)

// File is one regular file of an input.
type File struct {
	Path string // relative, slashes; empty if the input itself is the file
	CID  string
	Size int64 // bytes
}

// Range is a piece of a file, in bytes.
type Range struct{ Offset, Length int64 }

// Combination returns the values of combination i of a matrix by axis name; the last axis turns fastest.
func Combination(m job.OrderedMap, i uint64) map[string]string {
	values := make(map[string]string, len(m))
	for _, axis := range slices.Backward(m) {
		n := uint64(len(axis.Values))
		values[axis.Name] = axis.Values[i%n]
		i /= n
	}
	return values
}

// Combinations is the number of combinations of a matrix.
func Combinations(m job.OrderedMap) int {
	n := 1
	for _, axis := range m {
		n *= len(axis.Values)
	}
	return n
}

// Groups cuts files into at most n groups of neighbours of about equal bytes. Order is kept, no group is empty, each file is in exactly one.
func Groups(files []File, n int) [][]File {
	n = min(n, len(files))
	var left int64
	for _, f := range files {
		left += weight(f)
	}
	groups := make([][]File, 0, n)
	for start := 0; start < len(files); {
		open := n - len(groups)
		share, sum, end := left/int64(max(open, 1)), int64(0), start
		for end < len(files) && (end == start || open == 1 || sum+weight(files[end])/2 <= share) && len(files)-end >= open {
			sum += weight(files[end])
			end++
		}
		groups = append(groups, files[start:end])
		left, start = left-sum, end
	}
	return groups
}

// weight is what a file costs in a group: its bytes and a constant for opening it.
func weight(f File) int64 { return f.Size + 1024 }

// Ranges cuts size bytes into pieces of length bytes; the last may be shorter. No bytes are one empty piece.
func Ranges(size, length int64) iter.Seq[Range] {
	return func(yield func(Range) bool) {
		for at := int64(0); at < size || at == 0; at += length {
			if !yield(Range{at, min(length, size-at)}) || at > size-length {
				return
			}
		}
	}
}

// Parts cuts size bytes into n pieces whose lengths differ by one byte at most; fewer if there are fewer bytes.
func Parts(size, n int64) iter.Seq[Range] {
	n = max(1, min(n, size))
	return func(yield func(Range) bool) {
		for i, at := int64(0), int64(0); i < n; i++ {
			r := Range{at, (size - at) / (n - i)}
			if at += r.Length; !yield(r) {
				return
			}
		}
	}
}

// InputPath is the guest path of one file of an input under /in.
func InputPath(name string) string {
	return path.Join("/in", strings.TrimPrefix(path.Clean("/"+name), "/"))
}

// PartName is the name under which a part's standard output stands in the directory of parts.
func PartName(index uint64) string { return fmt.Sprintf("%d", index) }

// SortedPartName is PartName padded with zeros, so that the order of names is the order of indexes; the reduce sees these under /in.
func SortedPartName(index, count uint64) string {
	return fmt.Sprintf("%0*d", len(PartName(max(count, 1)-1)), index)
}

// Env is the environment of a task: its place among the others and, for a matrix, its values.
func Env(over *job.Over, index uint64) map[string]string {
	if over == nil || len(over.Matrix) == 0 {
		return nil
	}
	return maps.Clone(Combination(over.Matrix, index))
}
