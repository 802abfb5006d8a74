package money

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAmountsAsTyped(t *testing.T) {
	for _, row := range []struct {
		text string
		want Amount
		err  error
	}{
		{"5", 5_000_000, nil}, {"0.000001", 1, nil}, {"5HPIPS", 5_000_000, nil}, {"5 HPIPS", 5_000_000, nil}, {"12uhpips", 12, nil}, {"12 uhpips", 12, nil},
		{"0", 0, nil}, {"1.5", 1_500_000, nil}, {"007", 7_000_000, nil}, {"100000000", Total, nil}, {"100000000.000000", Total, nil}, {"100000000000000uhpips", Total, nil},
		{"-1", 0, ErrNegative}, {"-0.5HPIPS", 0, ErrNegative}, {"0.0000001", 0, ErrDecimals}, {"1.5uhpips", 0, ErrDecimals},
		{"100000000.000001", 0, ErrTooMuch}, {"100000000000001uhpips", 0, ErrTooMuch}, {"18446744073709551616", 0, ErrTooMuch}, {"18446744073709551616uhpips", 0, ErrTooMuch},
		{"", 0, ErrFormat}, {" ", 0, ErrFormat}, {"5 ", 0, ErrFormat}, {" 5", 0, ErrFormat}, {".5", 0, ErrFormat}, {"5.", 0, ErrFormat}, {"1e3", 0, ErrFormat}, {"0x10", 0, ErrFormat},
		{"1,000", 0, ErrFormat}, {"+5", 0, ErrFormat}, {"5atom", 0, ErrFormat}, {"HPIPS", 0, ErrFormat}, {"uhpips", 0, ErrFormat}, {"1.2.3", 0, ErrFormat}, {"٣", 0, ErrFormat},
		{"5HPIPSHPIPS", 0, ErrFormat}, {"NaN", 0, ErrFormat}, {strings.Repeat("0", 100), 0, ErrFormat},
	} {
		got, err := Parse(row.text)
		if got != row.want || !errors.Is(err, row.err) {
			t.Errorf("%q is %d, %v; want %d, %v", row.text, got, err, row.want, row.err)
		}
	}
	for text, good := range map[string]bool{"12": true, "": false, "1.2": false, "-1": false, "5uhpips": false} {
		if _, err := ParseBase(text); (err == nil) != good {
			t.Errorf("base %q: %v", text, err)
		}
	}
}

func TestAmountsAreWrittenInFull(t *testing.T) {
	if got := Total.String(); got != "100000000.000000" {
		t.Errorf("all HPIPS are %s", got)
	}
	if got := Amount(1).String() + " " + Amount(1).Base() + " " + Amount(1).Coin(); got != "0.000001 1 1uhpips" {
		t.Errorf("the least is %s", got)
	}
	var bill struct{ Price Amount }
	if err := json.Unmarshal([]byte(`{"Price":"2.5"}`), &bill); err != nil || bill.Price != 2_500_000 {
		t.Errorf("bill of %v, %v", bill.Price, err)
	}
	if text, err := json.Marshal(bill); err != nil || string(text) != `{"Price":"2.500000"}` {
		t.Errorf("%s, %v", text, err)
	}
	if err := json.Unmarshal([]byte(`{"Price":2.5}`), &bill); err == nil {
		t.Error("a number with a point is no amount in JSON")
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Amount(rapid.Uint64Range(0, uint64(Total)).Draw(t, "amount"))
		for _, text := range []string{a.String(), a.String() + Symbol, a.Coin()} {
			if b, err := Parse(text); err != nil || a != b {
				t.Fatalf("%s is read as %d, %v; want %d", text, b, err, a)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"5", "0.000001", "5 HPIPS", "12uhpips", "-1", "1e9", "100000000.000001"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := Parse(text)
		if err != nil {
			return
		}
		if a > Total {
			t.Fatalf("%q is %d, more than exists", text, a)
		}
		if b, err := Parse(a.String()); err != nil || a != b {
			t.Fatalf("%q is %d, written as %s and read as %d, %v", text, a, a, b, err)
		}
	})
}
