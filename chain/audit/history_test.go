package audit

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/trust"
)

// Whatever is redeemed, attested and disputed, with jurors of whom some lie and some are silent: each dispute ends within its two rounds, each redemption ends once and in its order, nobody who told the
// truth loses anything, no unit comes from nowhere, and at the end nothing is kept of any lease.
func TestEveryDisputeEnds(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := founded(r, 24, func(p *auditv1.Params) { p.CommitBlocks, p.RevealBlocks, p.Batch = 4, 2, 3 })
		all := func() (sum int64) {
			for _, n := range s.bonds {
				sum += n
			}
			for _, n := range s.free {
				sum += n
			}
			for _, n := range s.paid {
				sum += n
			}
			for who, n := range s.back {
				if who != "alice" { // what was forfeited lies with the escrow before
					sum += n
				}
			}
			return sum + s.fund
		}
		j := s.hires("lease", 1_000_000)
		whole, honest := all(), map[person]bool{}
		for p := range s.tickets {
			honest[p] = true
		}
		bond := rapid.SampledFrom([]int64{0, 1000, 100_000}).Draw(r, "bond")
		whole += bond - s.bonds["bob"]
		s.bonds["bob"] = bond
		truthful := true
		for range rapid.IntRange(1, 5).Draw(r, "redemptions") {
			wrong := rapid.IntRange(0, 3).Draw(r, "wrong") == 0
			n := rapid.IntRange(1, 6).Draw(r, "results")
			for i := range n {
				j.does(uint64(rapid.IntRange(0, 500).Draw(r, "work")), wrong && i == 0)
			}
			truthful = truthful && !wrong
			q := s.redeems(j, uint64(rapid.IntRange(1, 1000).Draw(r, "amount")))
			s.blocks(2)
			if rapid.Bool().Draw(r, "restart") {
				s.restart()
			}
			a := s.audit(q)
			if a.Until == 0 || len(a.Seed) == 0 {
				continue // nothing was drawn, or it waits behind others
			}
			if !wrong && rapid.Bool().Draw(r, "attested") {
				for a = s.audit(q); a.Until != 0; a = s.audit(q) {
					s.must(s.send(s.attestation(j, q, 1)))
				}
				continue
			}
			place := int(a.TasksBefore)
			if s.send(s.question(j, q, place)) != nil {
				continue
			}
			last, err := s.keeper.last.Get(s.ctx)
			s.must(err)
			began := s.index
			for {
				if there, err := s.keeper.disputes.Has(s.ctx, last); err != nil || !there {
					break
				}
				liars := rapid.IntRange(0, 3).Draw(r, "liars")
				made := trust.Digest{1}
				s.answers(j, last, Places(s.dispute(last).Round), func(n int, p person) *trust.Digest {
					if n < liars {
						honest[p] = false
						if n == 2 {
							return nil
						}
						return &made
					}
					return &j.truth[place]
				})
			}
			if s.index-began > 2*(1+4+2)+2 {
				r.Fatalf("a dispute took %d blocks", s.index-began)
			}
		}
		s.block(25 * time.Hour)
		s.blocks(10)
		s.block(100 * time.Hour)
		s.blocks(3)
		if got := all(); got != whole {
			r.Fatalf("%d units are there, %d were", got, whole)
		}
		if len(s.waiting["bob"]) > 0 || len(s.final)+len(s.lost) != int(s.last) {
			r.Fatalf("%d wait, %d are final and %d lost of %d", len(s.waiting["bob"]), len(s.final), len(s.lost), s.last)
		}
		for p, h := range honest {
			if h && s.bonds[p] != 1000 {
				r.Fatalf("%s told the truth and has a bond of %d", p, s.bonds[p])
			}
		}
		if truthful && (s.bonds["bob"] != bond || len(s.lost) > 0) {
			r.Fatalf("bob told the truth and has a bond of %d, lost %v", s.bonds["bob"], s.lost)
		}
		if busy, err := s.keeper.Busy(s.ctx, j.lease); err != nil || busy {
			r.Fatalf("something of the lease is kept: %v", err)
		}
	})
}
