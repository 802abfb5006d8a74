package verify

import (
	"bytes"
	"math"
	"strconv"

	"github.com/hpips/hpips/spec/job"
)

// MaxCompared is the size in bytes up to which two contents are looked into; what is larger is the same only if it is equal.
const MaxCompared = 1 << 20

// Comparator says whether two contents are the same in a policy's sense. It is symmetric, every content is the same as itself, and what it cannot
// read is the same as nothing else. It is not transitive where it has a tolerance.
type Comparator func(a, b []byte) bool

// NewComparator gives the comparator of a policy that was checked; nil where only equal bytes are the same.
func NewComparator(v job.Verify) Comparator {
	var same Comparator
	switch v.Compare {
	case job.JSON:
		same = sameJSON
	case job.Numeric:
		same = newNumbers(v).same
	case job.Image:
		distance := float(v.Distance)
		same = func(a, b []byte) bool { return samePicture(a, b, distance) }
	default:
		return nil
	}
	return func(a, b []byte) bool {
		if bytes.Equal(a, b) {
			return true
		}
		return len(a) <= MaxCompared && len(b) <= MaxCompared && same(a, b)
	}
}

// float reads a decimal that the specification has checked; "" is 0.
func float(d job.Decimal) float64 {
	f, err := strconv.ParseFloat(string(d), 64)
	if err != nil {
		return 0
	}
	return f
}

// tolerance is how far apart two numbers may be.
type tolerance struct {
	absolute, relative float64
	ulp                uint64
}

func newTolerance(t job.Tolerance) tolerance {
	return tolerance{absolute: float(t.Absolute), relative: float(t.Relative), ulp: uint64(max(t.ULP, 0))}
}

// near reports whether a and b are the same within t. A NaN is near a NaN, an infinity near itself alone, and -0 is 0.
func (t tolerance) near(a, b float64) bool {
	switch {
	case a == b:
		return true
	case math.IsNaN(a) || math.IsNaN(b):
		return math.IsNaN(a) && math.IsNaN(b)
	case math.IsInf(a, 0) || math.IsInf(b, 0):
		return false
	}
	apart := math.Abs(a - b) // infinite for huge numbers of different signs
	return apart <= t.absolute && !math.IsInf(apart, 0) || apart <= t.relative*max(math.Abs(a), math.Abs(b)) && !math.IsInf(apart, 0) || steps(a, b) <= t.ulp
}

// steps counts the 64-bit floats from a to b, both finite (IEEE 754: the bits of one sign are ordered as the numbers).
func steps(a, b float64) uint64 {
	x, y := rank(a), rank(b)
	if x < y {
		x, y = y, x
	}
	return uint64(x) - uint64(y)
}

func rank(f float64) int64 {
	bits := math.Float64bits(f)
	if bits>>63 == 1 {
		return -int64(bits &^ (1 << 63))
	}
	return int64(bits)
}
