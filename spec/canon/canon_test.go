package canon

import (
	"bytes"
	"errors"
	"testing"
)

type word struct {
	B string `cbor:"b"`
	A uint64 `cbor:"a"`
}

func TestOneEncoding(t *testing.T) {
	b, err := Encode(word{B: "x", A: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := []byte{0xa2, 0x61, 'a', 0x01, 0x61, 'b', 0x61, 'x'}
	if !bytes.Equal(b, want) {
		t.Fatalf("got %x, want %x: keys must be sorted by their bytes", b, want)
	}
	var back word
	if err := Decode(b, 64, &back); err != nil || back != (word{"x", 1}) {
		t.Fatalf("back %+v, %v", back, err)
	}
	if got := ID(b).String(); got != ID(want).String() || got[:5] != "bafyr" {
		t.Fatalf("id %s", got)
	}
}

func TestStrictDecode(t *testing.T) {
	good := MustEncode(word{"x", 1})
	rows := map[string][]byte{
		"unknown field":     {0xa1, 0x61, 'z', 0x01},
		"duplicate key":     {0xa2, 0x61, 'a', 0x01, 0x61, 'a', 0x02},
		"trailing byte":     append(bytes.Clone(good), 0),
		"truncated":         good[:len(good)-1],
		"indefinite string": {0xa1, 0x61, 'b', 0x7f, 0x61, 'x', 0xff},
		"tag":               {0xc1, 0x01},
		"bad utf-8":         {0xa1, 0x61, 'b', 0x61, 0xff},
		"empty":             {},
	}
	for name, b := range rows {
		var w word
		if err := Decode(b, 64, &w); err == nil {
			t.Errorf("%s: accepted as %+v", name, w)
		}
	}
	if err := Decode(good, 3, &word{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("limit: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(MustEncode(word{"x", 1}))
	f.Add([]byte{0xa1, 0x61, 'z', 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		var w word
		if Decode(b, 1<<16, &w) != nil {
			return
		}
		var again word
		if err := Decode(MustEncode(w), 1<<16, &again); err != nil || again != w {
			t.Fatalf("%+v does not survive: %+v, %v", w, again, err)
		}
	})
}
