package trust

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// How many jurors look in each round: one or two fellows of the provider at first, then three fresh ones, then seven.
const (
	Fellows = 2
	Second  = 3
	Third   = 7

	enough = 4 // voices of seven that are alike
)

// Disputable and DisputableSeconds are how many instructions a task may take, and how many seconds of a provider's processor, so that its jurors are done in time in any dispute: commitments about a
// long task are taken for 894 blocks, of a second each at the least (chain/audit), in which a juror has done the one at half of 10^9 instructions a second, and the other at half of the provider's
// pace, as programs differ in how many instructions they make of a second. Whoever pays for a result that is beyond both has it run by a second owner, since a dispute may find no jury.
const (
	Disputable        = 440_000_000_000
	DisputableSeconds = 440
)

const commitPrefix = "hpips/jury/v1\x00"

// Digest is what a result is compared by (spec/job.Result.Digest).
type Digest [32]byte

// Voice is what a juror says once all have committed: its result, and the state of the execution at the point that its own proof picked.
type Voice struct {
	Result Digest
	State  [32]byte
}

// Commitment binds a juror's voice before anybody knows another's. Node and salt are in it, so a copy of it is worthless: whoever copies must
// reveal the salt of another node.
func Commitment(v Voice, node, salt [32]byte) [32]byte {
	b := append([]byte(commitPrefix), v.Result[:]...)
	b = append(b, v.State[:]...)
	b = append(b, node[:]...)
	return sha256.Sum256(append(b, salt[:]...))
}

// ErrRound is returned for rounds with a number of voices that no round has.
var ErrRound = errors.New("a jury's round has one or two, three, or seven voices")

// Outcome is where a dispute stands.
type Outcome int

// The outcomes of a round.
const (
	Agreed    Outcome = iota + 1 // Truth is what counts
	Escalate                     // another round of fresh jurors is drawn; earlier voices do not count in it
	Undecided                    // nobody is right or wrong, and the program is marked as not deterministic
)

// Verdict is what the rounds so far say.
type Verdict struct {
	Outcome Outcome
	Truth   Digest // with Agreed
}

// Judge reads the rounds of a dispute in order. In the first one all voices must be the provider's; any difference goes to three new jurors, who must
// all be alike; else to seven, of whom four must be alike. The provider's word and earlier voices do not count in a later round. A juror that did
// not reveal is no voice: its place is filled, or the round is not over and must not be handed in.
func Judge(provider Digest, rounds ...[]Digest) (Verdict, error) {
	if len(rounds) < 1 || len(rounds) > 3 {
		return Verdict{}, fmt.Errorf("%w: %d rounds", ErrRound, len(rounds))
	}
	for i, round := range rounds {
		if n := len(round); i == 0 && (n < 1 || n > Fellows) || i == 1 && n != Second || i == 2 && n != Third {
			return Verdict{}, fmt.Errorf("%w: round %d has %d", ErrRound, i+1, n)
		}
		last := i == len(rounds)-1
		truth, sure := decide(i, provider, round)
		switch {
		case sure && !last:
			return Verdict{}, fmt.Errorf("%w: round %d decided, and another follows", ErrRound, i+1)
		case sure:
			return Verdict{Agreed, truth}, nil
		}
	}
	if len(rounds) == 3 {
		return Verdict{Outcome: Undecided}, nil
	}
	return Verdict{Outcome: Escalate}, nil
}

// JudgeRound reads a later round by itself: 1 is the one of three, 2 that of seven.
func JudgeRound(round int, voices []Digest) (Verdict, error) {
	if round == 1 && len(voices) != Second || round == 2 && len(voices) != Third || round < 1 || round > 2 {
		return Verdict{}, fmt.Errorf("%w: round %d has %d", ErrRound, round+1, len(voices))
	}
	switch truth, sure := decide(round, Digest{}, voices); {
	case sure:
		return Verdict{Agreed, truth}, nil
	case round == 1:
		return Verdict{Outcome: Escalate}, nil
	}
	return Verdict{Outcome: Undecided}, nil
}

// decide tells what one round says.
func decide(round int, provider Digest, voices []Digest) (truth Digest, sure bool) {
	most, n := mode(voices)
	switch round {
	case 0:
		return provider, n == len(voices) && most == provider
	case 1:
		return most, n == Second
	default:
		return most, n >= enough
	}
}

// mode is what most voices say, and how many. Where two are as many, neither can decide.
func mode(voices []Digest) (most Digest, n int) {
	count := map[Digest]int{}
	for _, v := range voices {
		if count[v]++; count[v] > n {
			most, n = v, count[v]
		}
	}
	return most, n
}

// Wrong lists which jurors of a round said what is not the truth, by their place in it.
func Wrong(truth Digest, round []Digest) (places []int) {
	for i, v := range round {
		if v != truth {
			places = append(places, i)
		}
	}
	return places
}
