package client

import (
	"errors"
	"strings"
	"testing"

	"github.com/hpips/hpips/spec/job"
)

func TestAStreamIsWholeOnlyWithItsEnd(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		got  string
		err  func(error) bool
	}{
		"whole":            {"data: 1\n\n:\n\ndata: 2\n\nevent: end\ndata: {}\n\n", "12", func(err error) bool { return err == nil }},
		"cut off":          {"data: 1\n\n", "1", func(err error) bool { return errors.Is(err, ErrCut) }},
		"cut in an event":  {"data: 1\n\nevent: en", "1", func(err error) bool { return errors.Is(err, ErrCut) }},
		"empty":            {"", "", func(err error) bool { return errors.Is(err, ErrCut) }},
		"failed":           {"event: error\ndata: {\"code\":\"disk-limit\",\"message\":\"full\"}\n\n", "", isFailure(job.CodeDisk)},
		"failed in noise":  {"event: error\ndata: }{\n\n", "", isFailure(job.CodeInternal)},
		"data on two rows": {"data: 1\ndata:2\n\nevent: end\n\n", "12", func(err error) bool { return err == nil }},
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			err := readEvents(strings.NewReader(row.text), func(data []byte) error { got.Write(data); return nil })
			if got.String() != row.got || !row.err(err) {
				t.Errorf("%q, %v", got.String(), err)
			}
		})
	}
}

func isFailure(code job.Code) func(error) bool {
	return func(err error) bool {
		var f *job.Failure
		return errors.As(err, &f) && f.Code == code
	}
}

func TestAHomeWithoutANodeSaysWhatToDo(t *testing.T) {
	_, err := Open(t.TempDir())
	var f *job.Failure
	if !errors.As(err, &f) || f.Code != job.CodeUnavailable || !strings.Contains(f.Hint, "hpips up") {
		t.Fatalf("%v", err)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add("data: 1\n\nevent: end\n\n")
	f.Add("event: error\ndata: {}\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		_ = readEvents(strings.NewReader(text), func(data []byte) error { n += len(data); return nil })
		if n > len(text) {
			t.Errorf("%d bytes of data came out of %d", n, len(text))
		}
	})
}
