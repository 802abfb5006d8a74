package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"slices"
)

const (
	jurorPrefix = "hpips/juror/v1\x00"
	pointPrefix = "hpips/point-of-state/v2\x00"
	voicePrefix = "hpips/voice/v1\x00"
	wordsPrefix = "hpips/voices/v1\x00"
)

// PanelSize is how many draws one panel of jurors looks at.
const PanelSize = 64

// Panels is how many panels so many draws take.
func Panels(draws uint64) uint64 { return draws/PanelSize + (draws%PanelSize+PanelSize-1)/PanelSize }

// Matter is what jurors are drawn for: a panel of the audit of a redemption (round 0), or a round of a dispute (1 and 2).
type Matter struct {
	Chain    string
	Node     [32]byte // the provider's
	Sequence uint64   // of the redemption
	Place    uint64   // number of the panel; in a dispute, of the result
	Round    uint64
	Seed     [32]byte // nobody knew it before the matter was there
}

// Alpha is what a node's verifiable random function (RFC 9381) is asked for to know whether it may be a juror of m.
func (m Matter) Alpha() []byte {
	b := append([]byte(jurorPrefix), binary.BigEndian.AppendUint64(nil, uint64(len(m.Chain)))...)
	b = append(append(b, m.Chain...), m.Node[:]...)
	for _, n := range []uint64{m.Sequence, m.Place, m.Round} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return append(b, m.Seed[:]...)
}

// Called is how many jurors are let to come for so many places: four for each, and four more, as some are away or busy.
func Called(places int) uint64 { return 4*uint64(places) + 4 }

// Threshold is below which an output times the tickets of its network (spec/sortition.Rank) must be, 32 bytes, so that `called` of all tickets come on average:
// 2^256 × called ÷ tickets. With as many tickets or fewer, all may come.
func Threshold(tickets, called uint64) (t [32]byte) {
	if tickets <= called {
		for i := range t {
			t[i] = 0xff
		}
		return t
	}
	n := new(big.Int).Lsh(new(big.Int).SetUint64(called), 256)
	n.Quo(n, new(big.Int).SetUint64(tickets)).FillBytes(t[:])
	return t
}

// pointScale is how many times as large the next point may be: a juror hashes its state about log16 of the work times.
const pointScale = 16

// Points are the counts of instructions, ascending, at one of which a juror takes down the state of an execution of a statement: 0, and one in each of [16^i, 16^(i+1)).
// They follow from the output of its own proof (64 bytes, RFC 9381), so that no other juror's state is any use to it, and from nothing that is known only when
// the execution has ended. All draws of a panel that fall on one statement have the same.
func Points(beta []byte, statement Digest) []uint64 {
	points := []uint64{0}
	for i, low := uint64(0), uint64(1); ; i, low = i+1, low*pointScale {
		h := sha256.New()
		h.Write([]byte(pointPrefix))
		h.Write(beta)
		h.Write(statement[:])
		h.Write(binary.BigEndian.AppendUint64(nil, i))
		n := new(big.Int).SetBytes(h.Sum(nil)[:16])
		points = append(points, low+n.Mod(n, new(big.Int).SetUint64((pointScale-1)*low)).Uint64())
		if low > math.MaxUint64/pointScale {
			return points
		}
	}
}

// Pick is the point among those that ascend, one at least, which counts for an execution that takes work: the last one below it, or else the first.
func Pick(points []uint64, work uint64) uint64 {
	i, _ := slices.BinarySearch(points, work)
	return points[max(i, 1)-1]
}

// Point is the one that counts for an execution that takes work.
func Point(beta []byte, statement Digest, work uint64) uint64 {
	return Pick(Points(beta, statement), work)
}

// Say is a juror's word on one draw: the answer, and the state at its own point.
type Say struct {
	Answer Digest `cbor:"answer"`
	State  Digest `cbor:"state"`
}

// Sum joins a juror's words on all draws of a panel to the voice that it commits itself to.
func Sum(says []Say) Voice {
	answers, states := sha256.New(), sha256.New()
	answers.Write([]byte(wordsPrefix))
	states.Write([]byte(wordsPrefix))
	for _, s := range says {
		answers.Write(s.Answer[:])
		states.Write(s.State[:])
	}
	return Voice{Result: Digest(answers.Sum(nil)), State: [32]byte(states.Sum(nil))}
}

// voiceBytes is what a juror's node key signs.
func (m Matter) voiceBytes(juror, commitment [32]byte, work uint64) []byte {
	var b bytes.Buffer
	b.WriteString(voicePrefix)
	b.Write(m.Alpha())
	b.Write(juror[:])
	b.Write(commitment[:])
	b.Write(binary.BigEndian.AppendUint64(nil, work))
	return b.Bytes()
}

// SignVoice signs a juror's commitment with its node key, and with it the work of all that it ran, which it is paid by.
func (m Matter) SignVoice(commitment [32]byte, work uint64, key ed25519.PrivateKey) []byte {
	return ed25519.Sign(key, m.voiceBytes([32]byte(key.Public().(ed25519.PublicKey)), commitment, work))
}

// CheckVoice tells whether a juror's node key signed the commitment and the work for this matter.
func (m Matter) CheckVoice(juror, commitment [32]byte, work uint64, signature []byte) error {
	if !ed25519.Verify(juror[:], m.voiceBytes(juror, commitment, work), signature) {
		return fmt.Errorf("voice of juror %x: the signature is wrong", juror[:4])
	}
	return nil
}
