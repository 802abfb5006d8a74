package lease

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hpips/hpips/spec/voucher"
)

// MaxNamed is how many results one Voucher message may name.
const MaxNamed = 1 << 20

// AnswerSize is how many bytes of an answer (spec/trust.Answer) tell executions of one task apart.
const AnswerSize = 8

// ErrNames is returned for lists that no requester writes.
var ErrNames = errors.New("list of tasks: it is not in its one form, or too long")

// Voucher is a promise as it travels. Where the terms want a jury it also says in which order the results under its root stand: those from place From on,
// up to the last, by the indexes of their tasks (NameTasks). Both sides know those before From.
type Voucher struct {
	voucher.Signed
	From    uint64 `cbor:"from,omitempty"`
	Tasks   []byte `cbor:"tasks,omitempty"`
	Answers []byte `cbor:"answers,omitempty"` // AnswerSize bytes for each task, where there may be several executions of one; else none
}

// Taken says how many results the provider is paid for by the vouchers that it has.
type Taken struct {
	Tasks uint64 `cbor:"tasks"`
}

// Named are the tasks of v in their order, and the first bytes of their answers; nil: the message does not tell them.
func (v Voucher) Named() (tasks []uint64, answers [][AnswerSize]byte, err error) {
	if tasks, err = ReadTasks(v.Tasks); err != nil {
		return nil, nil, err
	}
	switch len(v.Answers) {
	case 0:
		return tasks, nil, nil
	case AnswerSize * len(tasks):
	default:
		return nil, nil, fmt.Errorf("%w: %d bytes of answers for %d tasks", ErrNames, len(v.Answers), len(tasks))
	}
	answers = make([][AnswerSize]byte, len(tasks))
	for i := range answers {
		copy(answers[i][:], v.Answers[AnswerSize*i:])
	}
	return tasks, answers, nil
}

// NameTasks writes indexes in the order given: of each the difference to the one before it, modulo 2^64, as a signed varint in the zigzag form of
// protocol buffers. Tasks that follow one another take one byte each.
func NameTasks(tasks []uint64) []byte {
	b := make([]byte, 0, len(tasks)+8)
	last := uint64(0)
	for _, i := range tasks {
		b, last = binary.AppendVarint(b, int64(i-last)), i
	}
	return b
}

// ReadTasks reads what NameTasks writes, and nothing else.
func ReadTasks(b []byte) ([]uint64, error) {
	if len(b) == 0 {
		return nil, nil
	}
	tasks := make([]uint64, 0, min(len(b), MaxNamed))
	last := uint64(0)
	for len(b) > 0 {
		d, n := binary.Varint(b)
		if n <= 0 || n > 1 && b[n-1] == 0 || len(tasks) == MaxNamed {
			return nil, ErrNames
		}
		last += uint64(d)
		tasks, b = append(tasks, last), b[n:]
	}
	return tasks, nil
}
