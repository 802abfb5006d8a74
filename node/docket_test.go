package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/auditor"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
)

// bench is a chain that counts the questions about juries.
type bench struct {
	audits, standings int
	away              error
}

func (b *bench) Audits(context.Context) ([]ledger.Audit, error) {
	b.audits++
	return []ledger.Audit{{Payer: "alice", Height: int64(b.audits)}}, b.away
}

func (b *bench) Disputes(context.Context) ([]ledger.Dispute, error) { return nil, b.away }

func (b *bench) Standing(context.Context, []byte) (ledger.Standing, error) {
	b.standings++
	return ledger.Standing{Owner: "bob"}, b.away
}

// A juror and a requester look at what stands on the chain every few seconds: it is read once a block, and again when this node has changed it itself.
func TestTheDocketIsReadOnceABlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, chain, told := &clerk{}, &bench{}, uint64(1)
		look := func(spare time.Duration) *docket {
			t.Helper()
			d, err := c.look(t.Context(), chain, told, spare)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		read := func(what string, want int) {
			t.Helper()
			if chain.audits != want {
				t.Errorf("%s: the chain was read %d times, want %d", what, chain.audits, want)
			}
		}
		for range 5 {
			look(0)
			time.Sleep(2 * time.Second)
		}
		read("no block in ten seconds", 1)
		told++
		if d := look(0); d.audits[0].Height != 2 {
			t.Errorf("after a block the docket of before is shown")
		}
		told++
		look(time.Second)
		read("a block came a moment ago, and what was seen just before is good enough", 2)
		look(0)
		read("and where it is not", 3)
		time.Sleep(docketFor)
		look(0)
		read("no block in half a minute: perhaps none is told of", 4)
		c.forget()
		look(time.Second)
		read("this node has said something itself", 5)
		told = 0
		look(0)
		look(0)
		read("nobody tells of blocks", 7)
		look(time.Second)
		read("nobody tells of blocks, and what was seen is good enough", 7)
		other := &bench{}
		if _, err := c.look(t.Context(), other, told, time.Second); err != nil || other.audits != 1 {
			t.Errorf("a chain node that has begun anew was asked %d times, %v", other.audits, err)
		}
		other.away = errors.New("away")
		if _, err := c.look(t.Context(), other, 9, 0); !errors.Is(err, other.away) {
			t.Errorf("a chain that does not answer: %v", err)
		}
	})
}

// How nodes stand is asked of each once, whoever asks in the time of one block.
func TestAStandingIsAskedForOnce(t *testing.T) {
	chain := &bench{}
	d, err := (&clerk{}).look(t.Context(), chain, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		call, err := d.summon(t.Context(), trust.Matter{Node: sortition.Key{byte(i % 2)}}, 3, 7, "alice")
		if err != nil || call.Places != 3 || call.Height != 7 || len(call.Owners) != 2 || call.Owners[0] != "bob" {
			t.Fatalf("%+v, %v", call, err)
		}
	}
	if chain.standings != 2 {
		t.Errorf("the standings of two nodes were asked for %d times", chain.standings)
	}
	chain.away = errors.New("away")
	for range 2 { // an answer that did not come is not kept
		if _, err := d.of(t.Context(), sortition.Key{9}); !errors.Is(err, chain.away) {
			t.Errorf("%v", err)
		}
	}
	if s := standing(ledger.Standing{Owner: "carol", Holds: true, Since: 3}); s != (auditor.Standing{Owner: "carol", Holds: true, Since: 3}) {
		t.Errorf("%+v", s)
	}
}
