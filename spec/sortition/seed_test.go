package sortition

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestTheSeedDependsOnAllThatWentIn(t *testing.T) {
	secret, public := person("alice")
	before := Genesis("hpips-1")
	proof, err := Prove(secret, SeedAlpha("hpips-1", 1, before))
	if err != nil {
		t.Fatal(err)
	}
	beta, err := Verify(public, SeedAlpha("hpips-1", 1, before), proof)
	if err != nil {
		t.Fatal(err)
	}
	after := before.Extend(beta)
	beta[63] ^= 1
	if after == before || after == before.Extend(beta) || after == Genesis("hpips-2").Extend(beta) {
		t.Error("two seeds are the same")
	}
	seen := map[string]string{}
	for name, alpha := range map[string][]byte{
		"seed": SeedAlpha("hpips-1", 1, before), "height": SeedAlpha("hpips-1", 2, before), "chain": SeedAlpha("hpips-2", 1, before),
		"before": SeedAlpha("hpips-1", 1, after), "draw": DrawAlpha("hpips-1", 1, before), "epoch": DrawAlpha("hpips-1", 2, before),
		"longer chain": SeedAlpha("hpips-1\x00", 1, before),
	} {
		if other, ok := seen[string(alpha)]; ok {
			t.Errorf("%s and %s are the same", name, other)
		}
		seen[string(alpha)] = name
	}
}

func TestSeedTx(t *testing.T) {
	proof := Proof{1, 2, 3, 79: 4}
	tx := SeedTx(proof)
	if SeedTxSize != 85 || len(tx) != 85 || !bytes.HasPrefix(tx, []byte{0, 'h', 'p', 's', 1}) {
		t.Fatalf("%x", tx)
	}
	if back, ours, err := ParseSeedTx(tx); err != nil || !ours || back != proof {
		t.Fatalf("%s, %v, %v", back, ours, err)
	}
	version := bytes.Clone(tx)
	version[4] = 2
	for name, row := range map[string]struct {
		tx   []byte
		ours bool
	}{
		"nothing": {nil, false}, "a user's": {[]byte{0x0a, 0x8f, 1}, false}, "less than the magic": {tx[:3], false},
		"the magic alone": {tx[:4], true}, "cut": {tx[:84], true}, "longer": {append(bytes.Clone(tx), 0), true}, "of another version": {version, true},
	} {
		if _, ours, err := ParseSeedTx(row.tx); ours != row.ours || (err != nil) != row.ours {
			t.Errorf("%s: %v, %v", name, ours, err)
		}
	}
}

func TestAnIdleChainRests(t *testing.T) {
	for _, row := range []struct {
		txs, evidence int
		before, want  bool
	}{
		{0, 0, false, true}, // the first block, and every heartbeat
		{0, 0, true, false}, // the quiet block after it
		{1, 0, true, true}, {0, 1, true, true}, {1, 1, false, true},
	} {
		if Carries(row.txs, row.evidence, row.before) != row.want {
			t.Errorf("%+v", row)
		}
	}
	carried, seeds := false, 0
	for range 1000 {
		if carried = Carries(0, 0, carried); carried {
			seeds++
		}
	}
	if seeds != 500 {
		t.Errorf("%d of 1000 empty blocks carry a seed", seeds)
	}
}

func TestAlphasAreReadOneWayOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chain, other := rapid.String().Draw(t, "chain"), rapid.String().Draw(t, "other")
		h, g := rapid.Int64().Draw(t, "height"), rapid.Int64().Draw(t, "other height")
		same := chain == other && h == g
		if bytes.Equal(SeedAlpha(chain, h, Seed{}), SeedAlpha(other, g, Seed{})) != same {
			t.Fatal("two inputs have one alpha")
		}
	})
}

func FuzzSeedTx(f *testing.F) {
	f.Add(SeedTx(Proof{1}))
	f.Add([]byte{0x0a, 1})
	f.Fuzz(func(t *testing.T, tx []byte) {
		proof, ours, err := ParseSeedTx(tx)
		if ours && err == nil && !bytes.Equal(SeedTx(proof), tx) {
			t.Fatalf("%x does not survive", tx)
		}
		if !ours && err != nil {
			t.Fatalf("%x is somebody else's, and yet: %v", tx, err)
		}
	})
}
