package sortition

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func rising(keys []Key) []Key {
	return slices.SortedFunc(slices.Values(keys), func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
}

// lastSeats is nodes and their keys.
func lastSeats(n int) (secrets []ed25519.PrivateKey, ids []Key) {
	for i := range n {
		seed := sha256.Sum256(fmt.Append(nil, "node ", i))
		secret := ed25519.NewKeyFromSeed(seed[:])
		secrets, ids = append(secrets, secret), append(ids, Key(secret.Public().(ed25519.PublicKey)))
	}
	return secrets, ids
}

func restart(seats ...Key) RestartList {
	return RestartList{Chain: "hpips-1", Height: 1234, AppHash: sha256.Sum256([]byte("state")), Time: 1_800_000_000, Genesis: sha256.Sum256([]byte("genesis")), Seats: rising(seats)}
}

// Alice and bob sit on after carol and dave are gone; erin sat before. Three of the five sign, each on a copy of the list.
func TestRestartList(t *testing.T) {
	secrets, ids := lastSeats(6)
	l := restart(ids[0], ids[1])
	one, err := l.Sign(secrets[0])
	if err != nil {
		t.Fatal(err)
	}
	two, err := l.Sign(secrets[1])
	if err != nil {
		t.Fatal(err)
	}
	both, err := one.Merge(two)
	if err != nil {
		t.Fatal(err)
	}
	voters := ids[:5]
	if err := both.Check(voters); !errors.Is(err, ErrFewSignatures) {
		t.Fatalf("two of five: %v", err)
	}
	stranger, err := both.Sign(secrets[5])
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Check(voters); !errors.Is(err, ErrFewSignatures) {
		t.Fatalf("two of five and a stranger: %v", err)
	}
	again, err := both.Sign(secrets[1])
	if err != nil || len(again.Signatures) != 2 {
		t.Fatalf("bob signs twice: %d signatures, %v", len(again.Signatures), err)
	}
	three, err := stranger.Sign(secrets[4])
	if err != nil {
		t.Fatal(err)
	}
	if err := three.Check(voters); err != nil {
		t.Fatal(err)
	}
	b, err := three.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseRestartList(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Check(voters); err != nil {
		t.Fatal(err)
	}
	if back.First() != 2234 {
		t.Fatalf("it begins at %d", back.First())
	}
}

// Carol changes a list that others signed.
func TestARestartListIsNotChanged(t *testing.T) {
	secrets, ids := lastSeats(3)
	l, err := restart(ids[0], ids[1]).Sign(secrets[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*RestartList){
		"its chain":   func(l *RestartList) { l.Chain = "hpips-2" },
		"its height":  func(l *RestartList) { l.Height++ },
		"its state":   func(l *RestartList) { l.AppHash[0]++ },
		"its time":    func(l *RestartList) { l.Time++ },
		"its genesis": func(l *RestartList) { l.Genesis[31]++ },
		"its seats":   func(l *RestartList) { l.Seats = rising([]Key{ids[0], ids[2]}) },
		"a seat less": func(l *RestartList) { l.Seats = l.Seats[:1] },
		"a signature": func(l *RestartList) {
			l.Signatures = []NodeSignature{{l.Signatures[0].Node, make([]byte, ed25519.SignatureSize)}}
		},
	} {
		bad := l
		change(&bad)
		if err := bad.Check(ids[:1]); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := l.Merge(bad); name != "a signature" && !errors.Is(err, ErrOtherList) {
			t.Errorf("%s: merged, %v", name, err)
		}
	}
}

func TestMalformedRestartLists(t *testing.T) {
	secrets, ids := lastSeats(3)
	good, err := restart(ids...).Sign(secrets[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*RestartList){
		"no chain":            func(l *RestartList) { l.Chain = "" },
		"no block":            func(l *RestartList) { l.Height = 0 },
		"no seats":            func(l *RestartList) { l.Seats = nil },
		"a seat twice":        func(l *RestartList) { l.Seats = []Key{ids[0], ids[0]} },
		"falling seats":       func(l *RestartList) { slices.Reverse(l.Seats) },
		"too many seats":      func(l *RestartList) { l.Seats = make([]Key, maxRestartKeys+1) },
		"a signature twice":   func(l *RestartList) { l.Signatures = append(l.Signatures, l.Signatures[0]) },
		"half a signature":    func(l *RestartList) { l.Signatures = []NodeSignature{{ids[0], make([]byte, 32)}} },
		"a time out of reach": func(l *RestartList) { l.Time = -1 },
	} {
		bad := good
		bad.Seats, bad.Signatures = slices.Clone(good.Seats), slices.Clone(good.Signatures)
		change(&bad)
		if _, err := bad.Bytes(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// However the copies of a list travel, the same nodes have signed it in the end, and exactly more than half are enough.
func TestMergingRestartLists(t *testing.T) {
	secrets, ids := lastSeats(9)
	plain := restart(ids[:4]...)
	copies := make([]RestartList, len(secrets))
	for i, s := range secrets {
		var err error
		if copies[i], err = plain.Sign(s); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.SliceOf(rapid.IntRange(0, len(secrets)-1)).Draw(t, "order")
		voters := ids[:rapid.IntRange(1, len(ids)).Draw(t, "voters")]
		l, signers, counted := plain, map[int]bool{}, 0
		for _, i := range order {
			var err error
			if l, err = l.Merge(copies[i]); err != nil {
				t.Fatal(err)
			}
			if !signers[i] && i < len(voters) {
				counted++
			}
			signers[i] = true
		}
		if enough := l.Check(voters) == nil; enough != (2*counted > len(voters)) || len(l.Signatures) != len(signers) {
			t.Fatalf("%d of %d voters, %d signatures: enough %v", counted, len(voters), len(l.Signatures), enough)
		}
	})
}

func FuzzRestartList(f *testing.F) {
	secrets, ids := lastSeats(2)
	l, err := restart(ids...).Sign(secrets[0])
	if err != nil {
		f.Fatal(err)
	}
	survives(f, l, ParseRestartList, func(l RestartList) { _, _ = l.Merge(l); _ = l.Check(ids) })
}
