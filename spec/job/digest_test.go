package job

import (
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/canon"
)

// A result without output folders is written by hand, and as canon writes it.
func TestTheShortWayIsThatOfCanon(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Result{End: End(rapid.SampledFrom([]string{"", "exited", "trapped", "memory-full", "an end that has more than 23 letters"}).Draw(t, "end")),
			Exit:   rapid.OneOf(rapid.Int(), rapid.IntRange(-300, 300), rapid.IntRange(-70_000, 70_000)).Draw(t, "exit"),
			Stdout: Content{CID: rapid.StringN(0, 60, 60).Draw(t, "address"), Inline: rapid.SliceOfN(rapid.Byte(), 0, 500).Draw(t, "bytes")}}
		if rapid.Bool().Draw(t, "outputs") {
			r.Outputs = map[string]Content{"/out": {CID: "bafy"}, "/more": {CID: "bafk"}}
		}
		if r.Digest() != sha256.Sum256(canon.MustEncode(r.core())) {
			t.Fatalf("%+v", r)
		}
		if r.stdout() != sha256.Sum256(append([]byte(r.Stdout.CID+"\x00"), r.Stdout.Inline...)) {
			t.Fatalf("%+v", r.Stdout)
		}
	})
}
