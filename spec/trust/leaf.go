package trust

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

const (
	saltPrefix   = "hpips/salt/v1\x00"
	leafPrefix   = "hpips/leaf/v1\x00"
	answerPrefix = "hpips/answer/v1\x00"
	statePrefix  = "hpips/answer-with-state/v1\x00"
)

// Leaf is what a provider says about one task: the task, what came of it, and what it took. Leaves stand in the order in which they are paid for.
type Leaf struct {
	Statement Digest // of the task with its program, inputs and limits (spec/lease.Statement)
	Result    Digest // spec/job.Result.Digest
	Work      uint64 // instructions as spec/meter counts them
	Before    uint64 // the work of all leaves before it under the lease
}

// Salt hides the place-th leaf of a lease from all who do not know its terms: jurors are not to know what the provider said. terms is the SHA-256 of
// the lease's terms, which the chain has only inside of another hash.
func Salt(terms [32]byte, place uint64) [32]byte {
	var room [64]byte
	b := append(append(room[:0], saltPrefix...), terms[:]...)
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, place))
}

// Seal is the leaf as it stands in the tree of the lease's results.
func (l Leaf) Seal(salt [32]byte) [32]byte {
	var room [len(leafPrefix) + 3*32 + 16]byte
	b := append(append(room[:0], leafPrefix...), salt[:]...)
	b = append(append(b, l.Statement[:]...), l.Result[:]...)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, l.Work), l.Before)
	return sha256.Sum256(b)
}

// Answer is what a juror is compared by: the result and the work.
func (l Leaf) Answer() Digest { return Answer(l.Result, l.Work) }

// Answer joins a result and the work it took to what jurors are compared by.
func Answer(result Digest, work uint64) Digest {
	b := append([]byte(answerPrefix), result[:]...)
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, work))
}

// WithState joins an answer and a state to what is asked where a juror's word about its state is in doubt.
func WithState(answer, state Digest) Digest {
	b := append([]byte(statePrefix), answer[:]...)
	return sha256.Sum256(append(b, state[:]...))
}

// Price is the leaf's part of what was paid for results that took work together: by its work, rounded up; where none was counted, it is all.
func (l Leaf) Price(paid, work uint64) uint64 {
	if work == 0 || l.Work >= work {
		return paid
	}
	hi, lo := bits.Mul64(paid, l.Work)
	q, rest := bits.Div64(hi, lo, work) // paid × part < paid × work, so it fits
	if rest > 0 {
		q++
	}
	return q
}
