package lease

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/voucher"
)

// A voucher that names nothing has the bytes that it had before there were juries.
func TestAVoucherWithoutNamesIsItsSignedWordsAlone(t *testing.T) {
	s := voucher.Signed{Voucher: voucher.Voucher{Chain: "hpips-1", Amount: 5}, Signature: []byte{1}}
	if plain, named := canon.MustEncode(s), canon.MustEncode(Voucher{Signed: s}); !slices.Equal(plain, named) {
		t.Errorf("%x is %x", plain, named)
	}
}

func TestTasksAreNamedInOneForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks := rapid.SliceOf(rapid.OneOf(rapid.Uint64Range(0, 300), rapid.Uint64())).Draw(t, "tasks")
		b := NameTasks(tasks)
		back, err := ReadTasks(b)
		if err != nil || !slices.Equal(back, tasks) {
			t.Fatalf("%v comes back as %v, %v", tasks, back, err)
		}
	})
	if b := NameTasks([]uint64{7, 8, 9, 10, 11, 12}); len(b) != 6 {
		t.Errorf("six tasks in a row take %d bytes", len(b))
	}
	if _, err := ReadTasks(NameTasks(make([]uint64, MaxNamed))); err != nil {
		t.Error(err)
	}
	for name, b := range map[string][]byte{"cut off": {0x80}, "longer than it needs to be": {0x82, 0}, "beyond 64 bits": {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2},
		"too many": make([]byte, MaxNamed+1)} {
		if _, err := ReadTasks(b); !errors.Is(err, ErrNames) {
			t.Errorf("%s: %v", name, err)
		}
	}
	v := Voucher{Tasks: NameTasks([]uint64{1, job.ReduceIndex}), Answers: []byte("answer-1answer-2")}
	if tasks, answers, err := v.Named(); err != nil || !slices.Equal(tasks, []uint64{1, job.ReduceIndex}) || string(answers[1][:]) != "answer-2" {
		t.Errorf("%v, %s, %v", tasks, answers, err)
	}
	v.Answers = v.Answers[:9]
	if _, _, err := v.Named(); !errors.Is(err, ErrNames) {
		t.Errorf("an answer is cut off: %v", err)
	}
}

// What is read is the only form of what it says.
func FuzzTasks(f *testing.F) {
	f.Add(NameTasks([]uint64{1, 2, 3, 1, job.ReduceIndex}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tasks, err := ReadTasks(b); err == nil && !slices.Equal(NameTasks(tasks), b) {
			t.Fatalf("%x reads as %v", b, tasks)
		}
	})
}
