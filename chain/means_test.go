package chain_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/committee"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	registryv1 "github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/spec/sortition"
)

// draws is a chain of twenty nodes with a ticket each, seven of which sit in the beginning, and the story of who sat.
type draws struct {
	*desk
	people  []chaintest.Person
	weight  uint64
	story   []string // who sat in each epoch, by first letters
	claimed int      // claims that were taken
	won     int      // draws of Rich's that won
	heavier int      // claims of Rich's for draws that do not win, all of them refused
}

// rich is the node whose owner has ten thousand times the HPIPS of each of the others, and says that it has ten times their hardware.
const (
	rich   = 15
	riches = 10_000 * little
	little = 900_000_000 // uhpips

	hardware = `{"cores":8,"memory":"32 GiB","gpus":1}`
	tenfold  = `{"cores":80,"memory":"320 GiB","gpus":10}`
)

// drawn runs a chain for some epochs. means: Rich has hers. weight: how many times the others' the draws of Rich count, by what people hand in.
func drawn(t *testing.T, epochs int, means bool, weight uint64) *draws {
	t.Helper()
	s := &draws{weight: weight}
	for i := range 20 {
		p := chaintest.New(fmt.Sprint("person ", i))
		p.Capabilities = digest(hardware)
		if means && i == rich {
			p.Capabilities = digest(tenfold)
		}
		s.people = append(s.people, p)
	}
	g, err := chaintest.Genesis(testChain, s.people...)
	if err != nil {
		t.Fatal(err)
	}
	g.Time = time.Unix(1_800_000_000, 0).UTC()
	for i := range g.Grants {
		g.Grants[i].Amount = little
	}
	if means {
		g.Grants[rich].Amount = riches
	}
	g.Tune = func(p *committeev1.Params) {
		p.Seats, p.HeartbeatSeconds, p.DaySeconds, p.EpochBlocks, p.ClaimBlocks, p.AbsenceWindow, p.AbsenceMissed = 20, 1, 800_000, 6, 5, 64, 64
	}
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	fewer(t, doc, s.people[:7])
	s.desk = deskOf(t, doc, s.people[0])
	s.block()
	for range epochs {
		s.epoch()
	}
	if means {
		s.check()
	}
	return s
}

func digest(text string) []byte { sum := sha256.Sum256([]byte(text)); return sum[:] }

// fewer leaves seats in a genesis to these alone, as if the others' tickets had come later.
func fewer(t *testing.T, doc *cmttypes.GenesisDoc, sit []chaintest.Person) {
	t.Helper()
	type entry struct {
		Key   json.RawMessage `json:"key"`
		Value json.RawMessage `json:"value,omitempty"`
	}
	state, rows := map[string]json.RawMessage{}, map[string][]entry{}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(json.Unmarshal(doc.AppState, &state))
	must(json.Unmarshal(state[committee.Name], &rows))
	for _, table := range []string{"seats", "voters"} {
		rows[table] = slices.DeleteFunc(rows[table], func(e entry) bool {
			var seat struct{ Node []byte }
			must(json.Unmarshal(e.Value, &seat))
			return !slices.ContainsFunc(sit, func(p chaintest.Person) bool { id := p.ID(); return string(id[:]) == string(seat.Node) })
		})
		if n := len(rows[table]); table == "seats" && n != len(sit) {
			t.Fatalf("%d seats are left", n)
		}
	}
	for table, change := range map[string][2]string{"params": {`"seats":20`, `"seats":7`}, "epoch": {`"size":20`, `"size":7`}} {
		text := strings.Replace(string(rows[table][0].Value), change[0], change[1], 1)
		if text == string(rows[table][0].Value) {
			t.Fatalf("%s: %s", table, text)
		}
		rows[table][0].Value = json.RawMessage(text)
	}
	var err error
	state[committee.Name], err = json.Marshal(rows)
	must(err)
	doc.AppState, err = json.Marshal(state)
	must(err)
}

// epoch lets everybody draw who may, and blocks pass until the next epoch.
func (s *draws) epoch() {
	s.t.Helper()
	now := s.committee()
	s.story = append(s.story, s.sitting(now.Seats))
	for s.committee().Epoch.Opened == 0 {
		s.block()
	}
	now = s.committee()
	var txs [][]byte
	for i, p := range s.people {
		proof, err := sortition.Prove(p.VRF, sortition.DrawAlpha(testChain, now.Epoch.Number, sortition.Seed(now.Epoch.DrawSeed)))
		if err != nil {
			s.t.Fatal(err)
		}
		beta, err := proof.Beta()
		if err != nil {
			s.t.Fatal(err)
		}
		wins := beta.Output().Rank(1).Below(sortition.Threshold(now.Epoch.Threshold))
		if i != rich && !beta.Output().Rank(s.weight).Below(sortition.Threshold(now.Epoch.Threshold)) {
			continue
		}
		id := p.ID()
		tx, err := chain.FreeTx(s.app.Codec(), &committeev1.MsgClaim{Sender: chaintest.Sender(p), Node: id[:], Epoch: now.Epoch.Number, Proof: proof[:]})
		if err != nil {
			s.t.Fatal(err)
		}
		if wins {
			if txs = append(txs, tx); i == rich {
				s.won++
			}
			continue
		}
		if r := s.block(tx)[0]; r.Codespace != committee.Name || r.Code != committee.ErrThreshold.ABCICode() {
			s.t.Fatalf("a draw of Rich's that does not win: %s %d %s", r.Codespace, r.Code, r.Log)
		}
		s.heavier++
	}
	for _, r := range s.block(txs...) {
		if r.Code != 0 {
			s.t.Fatalf("a claim of who won: %s", r.Log)
		}
		s.claimed++
	}
	for s.committee().Epoch.Number == now.Epoch.Number {
		s.block()
	}
	s.proposer()
}

// proposer lets somebody who sits make the next blocks.
func (s *draws) proposer() {
	seats := s.committee().Seats
	sits := func(p chaintest.Person) bool {
		return slices.ContainsFunc(seats, func(seat committeev1.Seat) bool { id := p.ID(); return string(id[:]) == string(seat.Node) })
	}
	if sits(s.alice) {
		return
	}
	s.alice = s.people[slices.IndexFunc(s.people, sits)]
	s.begin()
}

func (s *draws) sitting(seats []committeev1.Seat) string {
	text := []byte(strings.Repeat(".", len(s.people)))
	for _, seat := range seats {
		i := slices.IndexFunc(s.people, func(p chaintest.Person) bool { id := p.ID(); return string(id[:]) == string(seat.Node) })
		text[i] = byte('a' + i)
	}
	return string(text)
}

// check looks whether the chain has Rich's means on record, and the others': else the test would say nothing.
func (s *draws) check() {
	s.t.Helper()
	for i, p := range s.people {
		tokens, says := int64(little), digest(hardware)
		if i == rich {
			tokens, says = riches, digest(tenfold)
		}
		id := p.ID()
		var r registryv1.QueryNodeResponse
		s.ask("/hpips.registry.v1.Query/Node", &registryv1.QueryNodeRequest{Id: id[:]}, &r)
		if has := s.balance(p.Address()); has != tokens || !bytes.Equal(r.Node.Capabilities, says) {
			s.t.Fatalf("%s has %d uhpips and says %x, want %d and %x", p.Name, has, r.Node.Capabilities, tokens, says)
		}
	}
}

// Rich has ten thousand times the HPIPS of everybody else and ten times the hardware, and the chain has both on record. The same draws win as if she had neither, whoever
// sits is the same in each epoch, and no draw of hers is taken that would not win for others. The control: with draws of hers that count four times, the story is
// another one, and she wins more often.
func TestMeansChangeNothing(t *testing.T) {
	const epochs = 40
	plain, wealthy, weighed := drawn(t, epochs, false, 1), drawn(t, epochs, true, 1), drawn(t, epochs, true, 4)
	if !slices.Equal(plain.story, wealthy.story) || plain.claimed != wealthy.claimed {
		t.Errorf("means changed who sits:\n%s\n\n%s", strings.Join(plain.story, "\n"), strings.Join(wealthy.story, "\n"))
	}
	if slices.Equal(weighed.story, wealthy.story) || 2*weighed.won < 3*wealthy.won {
		t.Errorf("Rich wins %d draws, and %d where hers count four times: it is not seen", wealthy.won, weighed.won)
	}
	turned := map[string]bool{}
	for _, who := range plain.story {
		turned[who] = true
	}
	if len(turned) < epochs/4 || wealthy.heavier < epochs/4 || plain.claimed < epochs/2 {
		t.Errorf("%d committees in %d epochs, %d claims, %d of Rich's refused: nothing was tried", len(turned), epochs, plain.claimed, wealthy.heavier)
	}
	t.Logf("%d committees, %d claims; Rich won %d draws, %d were refused; with draws that count four times she won %d", len(turned), plain.claimed, wealthy.won, wealthy.heavier, weighed.won)
}
