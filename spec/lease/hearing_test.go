package lease

import (
	"bytes"
	"testing"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/trust"
)

// asks are what a juror says to alice one after the other.
func asks() map[string]Ask {
	a := Ask{Node: [32]byte{1}, Sequence: 2, Place: 3, Proof: make([]byte, 80)}
	vote, voice, round := a, a, a
	vote.Vote = &Vote{Commitment: [32]byte{4}, Work: 5, Signature: make([]byte, 64)}
	voice.Voice = &Voice{Says: make([]trust.Say, trust.PanelSize), Salt: [32]byte{6}}
	round.Round = 2
	return map[string]Ask{"a question": a, "a vote": vote, "a voice": voice, "a round": round}
}

// heard are alice's answers.
func heard(t testing.TB) map[string]Heard {
	t.Helper()
	s, err := work().Statement(job.Task{Index: 1})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]Statement, trust.PanelSize)
	for i := range all {
		all[i] = s
	}
	return map[string]Heard{"statements": {Statements: all}, "one statement": {Statements: all[:1]}, "a stage": {Stage: StageWaiting}}
}

func TestJurorsAndAliceUnderstandEachOther(t *testing.T) {
	for name, a := range asks() {
		b := canon.MustEncode(a)
		if back, err := ReadAsk(b); err != nil || !bytes.Equal(canon.MustEncode(back), b) {
			t.Errorf("%s reads as %+v, %v", name, back, err)
		}
	}
	for name, h := range heard(t) {
		b := canon.MustEncode(h)
		if back, err := ReadHeard(b); err != nil || !bytes.Equal(canon.MustEncode(back), b) {
			t.Errorf("%s reads as %+v, %v", name, back, err)
		}
	}
}

func TestMalloryIsNotListenedTo(t *testing.T) {
	for name, change := range map[string]func(*Ask){
		"a vote that opens itself": func(a *Ask) { a.Vote, a.Voice = &Vote{}, &Voice{} },
		"a word too many":          func(a *Ask) { a.Voice = &Voice{Says: make([]trust.Say, trust.PanelSize+1)} },
		"a third round":            func(a *Ask) { a.Round = 3 },
		"a proof without an end":   func(a *Ask) { a.Proof = make([]byte, MaxAsk) },
	} {
		a := asks()["a question"]
		change(&a)
		if _, err := ReadAsk(canon.MustEncode(a)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	for name, change := range map[string]func(*Heard){
		"a statement too many":       func(h *Heard) { h.Statements = append(h.Statements, h.Statements[0]) },
		"a statement of no program":  func(h *Heard) { h.Statements[7].Work.Module = "" },
		"a statement that came live": func(h *Heard) { h.Statements[7].Work.Live = true },
		"a stage without an end":     func(h *Heard) { h.Stage = Stage(make([]byte, MaxHeard)) },
	} {
		h := heard(t)["statements"]
		change(&h)
		if _, err := ReadHeard(canon.MustEncode(h)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	ask := canon.MustEncode(asks()["a vote"])
	answer := canon.MustEncode(heard(t)["one statement"])
	for name, b := range map[string]func([]byte) []byte{
		"nothing":         func([]byte) []byte { return nil },
		"half of it":      func(b []byte) []byte { return b[:len(b)/2] },
		"one byte behind": func(b []byte) []byte { return append(bytes.Clone(b), 0) },
		"a number":        func([]byte) []byte { return []byte{1} },
		"a field of its own": func([]byte) []byte {
			return canon.MustEncode(map[string]int{"gift": 1})
		},
	} {
		if _, err := ReadAsk(b(ask)); err == nil {
			t.Errorf("%s is read as a juror's word", name)
		}
		if _, err := ReadHeard(b(answer)); err == nil {
			t.Errorf("%s is read as alice's answer", name)
		}
	}
}

func FuzzReadAsk(f *testing.F) {
	for _, a := range asks() {
		f.Add(canon.MustEncode(a))
	}
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ReadAsk(b)
		switch {
		case err != nil:
		case len(b) > MaxAsk || a.Round > 2 || a.Voice != nil && len(a.Voice.Says) > trust.PanelSize:
			t.Fatalf("%+v is read", a)
		case !bytes.Equal(canon.MustEncode(a), b):
			reread(t, b, a, ReadAsk)
		}
	})
}

func FuzzReadHeard(f *testing.F) {
	for _, h := range heard(f) {
		f.Add(canon.MustEncode(h))
	}
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ReadHeard(b)
		switch {
		case err != nil:
		case len(b) > MaxHeard || len(h.Statements) > trust.PanelSize:
			t.Fatalf("%d statements are read", len(h.Statements))
		case !bytes.Equal(canon.MustEncode(h), b):
			reread(t, b, h, ReadHeard)
		}
	})
}

// reread holds what was read in a longer form against its own: fields that may be left out were there and empty.
func reread[W any](t *testing.T, b []byte, w W, read func([]byte) (W, error)) {
	t.Helper()
	own := canon.MustEncode(w)
	back, err := read(own)
	if err != nil || !bytes.Equal(canon.MustEncode(back), own) {
		t.Fatalf("%x reads as %+v, and then as %+v, %v", b, w, back, err)
	}
}
