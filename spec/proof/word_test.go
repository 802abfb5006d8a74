package proof

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// What bob says that he holds, and what he saw of a holder's answer, is his word about this alone.
func TestAHoldersAndAnAuditorsWord(t *testing.T) {
	const chain = "hpips-1"
	bob, key := secretOf("bob"), [32]byte(secretOf("bob")[32:])
	h, c := Hold{7, []uint64{3, 9}}, Challenge{[32]byte{1}, [32]byte{2}, 5}
	held, err1 := h.Sign(chain, bob)
	seen, err2 := c.Witness(chain, bob)
	if err := errors.Join(err1, err2, h.CheckSigned(chain, key, held), c.CheckWitness(chain, key, seen)); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"another epoch":     Hold{8, h.Segments}.CheckSigned(chain, key, held),
		"fewer segments":    Hold{7, h.Segments[:1]}.CheckSigned(chain, key, held),
		"other segments":    Hold{7, []uint64{3, 10}}.CheckSigned(chain, key, held),
		"another chain":     h.CheckSigned("hpips-2", key, held),
		"another node":      h.CheckSigned(chain, [32]byte(secretOf("carol")[32:]), held),
		"a witness's":       h.CheckSigned(chain, key, seen),
		"a holder's":        c.CheckWitness(chain, key, held),
		"another day":       Challenge{c.Seed, c.Holder, 6}.CheckWitness(chain, key, seen),
		"another holder":    Challenge{c.Seed, [32]byte{3}, 5}.CheckWitness(chain, key, seen),
		"another seed":      Challenge{[32]byte{3}, c.Holder, 5}.CheckWitness(chain, key, seen),
		"a witness's chain": c.CheckWitness("hpips-2", key, seen),
		"nothing":           c.CheckWitness(chain, key, nil),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", what, err)
		}
	}
	many := slices.Repeat([]uint64{0}, MaxHold+1)
	for i := range many {
		many[i] = uint64(i + 1)
	}
	for what, bad := range map[string]Hold{"segment 0": {1, []uint64{0}}, "one twice": {1, []uint64{2, 2}}, "falling": {1, []uint64{3, 2}}, "too many": {1, many}} {
		if _, err := bad.Sign(chain, bob); !errors.Is(err, ErrHold) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, id := range []string{"", strings.Repeat("x", MaxChainID+1)} {
		if _, err := h.Sign(id, bob); !errors.Is(err, ErrHold) {
			t.Errorf("chain of %d bytes: %v", len(id), err)
		}
		if _, err := c.Witness(id, bob); !errors.Is(err, ErrHold) {
			t.Errorf("a witness on a chain of %d bytes: %v", len(id), err)
		}
	}
	if _, err := h.Sign(chain, bob[:31]); err == nil {
		t.Error("half a key signs")
	}
}

// What bob says of parts of deals is his word about these alone.
func TestAKeepersWord(t *testing.T) {
	const chain = "hpips-1"
	bob, key := secretOf("bob"), [32]byte(secretOf("bob")[32:])
	parts := []Part{{1, 5}, {2, 0}}
	k := Keep{7, false, 0, parts}
	said, err := k.Sign(chain, bob)
	if err := errors.Join(err, k.CheckSigned(chain, key, said)); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"another epoch": Keep{8, false, 0, parts}.CheckSigned(chain, key, said),
		"that he stays": Keep{7, true, 0, parts}.CheckSigned(chain, key, said),
		"fewer parts":   Keep{7, false, 0, parts[:1]}.CheckSigned(chain, key, said),
		"other parts":   Keep{7, false, 0, []Part{{1, 5}, {2, 1}}}.CheckSigned(chain, key, said),
		"another chain": k.CheckSigned("hpips-2", key, said),
		"another node":  k.CheckSigned(chain, [32]byte(secretOf("carol")[32:]), said),
		"segments":      Hold{7, []uint64{0}}.CheckSigned(chain, key, said),
	} {
		if err == nil {
			t.Errorf("%s: it is taken", what)
		}
	}
	many := make([]Part, MaxHold+1)
	for i := range many {
		many[i] = Part{uint64(i + 1), 0}
	}
	for what, bad := range map[string][]Part{"deal 0": {{0, 1}}, "one twice": {{2, 2}, {2, 2}}, "falling": {{3, 0}, {2, 9}}, "too many": many} {
		if _, err := (Keep{1, false, 0, bad}).Sign(chain, bob); !errors.Is(err, ErrHold) {
			t.Errorf("%s: %v", what, err)
		}
	}
	offer := Keep{Epoch: 7, Offer: 20 << 10}
	said, err = offer.Sign(chain, bob)
	if err := errors.Join(err, offer.CheckSigned(chain, key, said)); err != nil {
		t.Fatal(err)
	}
	offer.Offer++
	if err := offer.CheckSigned(chain, key, said); !errors.Is(err, ErrSignature) {
		t.Errorf("a MiB more: %v", err)
	}
	for what, bad := range map[string]Keep{"who leaves": {1, true, 5, nil}, "parts": {1, false, 5, parts}} {
		if _, err := bad.Sign(chain, bob); !errors.Is(err, ErrHold) {
			t.Errorf("an offer of %s: %v", what, err)
		}
	}
}
