package full

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hpips/hpips/chain/chaintest"
)

// A trust point that is read is written as one that is read alike.
func FuzzParseTrust(f *testing.F) {
	hash := "BD1E2F3A4B5C6D7E8F9012233445566778899AABBCCDDEEFF00112233445566A"
	for _, text := range []string{"7:" + hash, " 9223372036854775807:" + hash + "\n", "0:" + hash, "-1:" + hash, "7", "7:", ":" + hash, "7:" + hash[2:], "+7:" + hash} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		point, err := ParseTrust(text)
		if err != nil {
			return
		}
		again, err := ParseTrust(point.String())
		if err != nil || again.Height != point.Height || string(again.Hash) != string(point.Hash) || point.Height < 1 || len(point.Hash) != 32 {
			t.Fatalf("%q is %v, then %v, %v", text, point, again, err)
		}
	})
}

// Whatever lies where the signer keeps its record and its last vote, the node opens; and it signs no block at a height of which the disk says that its key signed
// there already.
func FuzzSignerRecord(f *testing.F) {
	home, epoch := f.TempDir(), uint64(7)
	s := guarded(f, home, &epoch)
	if err := s.SignVote(testChain, vote(5, "one")); err != nil {
		f.Fatal(err)
	}
	record, err1 := os.ReadFile(filepath.Join(home, recordFile))
	last, err2 := os.ReadFile(filepath.Join(home, voteFile))
	if err1 != nil || err2 != nil {
		f.Fatal(err1, err2)
	}
	f.Add(record, last)
	f.Add([]byte(`{"place":"","down":"x","epoch":18446744073709551615}`), last)
	f.Add(record, []byte(`{"height":"9223372036854775807","round":0,"step":3}`))
	f.Add(record, []byte(`{"height":"-1","round":-1,"step":127,"signature":"","signbytes":"00"}`))
	f.Add([]byte("null"), []byte("null"))
	f.Add([]byte("{"), []byte("{"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, record, last []byte) {
		place := t.TempDir()
		for name, text := range map[string][]byte{recordFile: record, voteFile: last} {
			if err := os.WriteFile(filepath.Join(place, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := openSigner(Config{Home: place, Consensus: chaintest.New("alice").Consensus, Log: logger(t)})
		if err != nil {
			return
		}
		if err := s.attend(func() uint64 { return 7 }, time.Hour); err != nil {
			t.Fatal(err)
		}
		if s.down() != "" && s.rise(true) {
			t.Fatal("it signs again at once")
		}
		to := s.pv.LastSignState.Height
		s.see(5, []byte("alice's key, elsewhere"))
		for _, height := range []int64{1, 5, 6} {
			err := s.SignVote(testChain, vote(height, "another"))
			if err == nil && (height <= to || s.down() != "") {
				t.Fatalf("it signed at height %d, after %d; down: %q", height, to, s.down())
			}
		}
		if _, err := openSigner(Config{Home: place, Consensus: chaintest.New("alice").Consensus, Log: logger(t)}); err != nil {
			t.Fatalf("it does not open again: %v", err)
		}
	})
}
