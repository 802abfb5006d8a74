package escrow

import (
	"testing"
	"time"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// commit writes the state to its trees, as the end of a block does.
func (s *town) commit() { s.stores.Commit() }

// BenchmarkRedeem is a redemption of 200 claims.
func BenchmarkRedeem(b *testing.B) {
	s := founded(b)
	const n = 200
	var claims []escrowv1.Claim
	for i := range uint64(n) {
		s.must(s.open(alice, s.deposit(i, hpips)))
		claims = append(claims, promise(b, i, hpips/2))
	}
	s.commit()
	m := redemption(bob, claims...)
	b.ResetTimer()
	for range b.N {
		ctx, _ := s.ctx.CacheContext()
		if _, err := s.msgs.Redeem(ctx, m); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/claim")
}

// BenchmarkLetGo is the same of leases that are let go of unused.
func BenchmarkLetGo(b *testing.B) {
	s := founded(b)
	const n = 200
	var claims []escrowv1.Claim
	for i := range uint64(n) {
		s.must(s.open(alice, s.deposit(i, hpips)))
		claims = append(claims, unused(i))
	}
	s.commit()
	m := redemption(bob, claims...)
	b.ResetTimer()
	for range b.N {
		ctx, _ := s.ctx.CacheContext()
		if _, err := s.msgs.Redeem(ctx, m); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/claim")
}

// BenchmarkFinal is a block in which 200 of 5,000 redemptions become final, with a plain split.
func BenchmarkFinal(b *testing.B) {
	s := founded(b)
	const n, each = 5000, 100
	for i := uint64(0); i < n; i += each {
		var deposits []escrowv1.Deposit
		var claims []escrowv1.Claim
		for j := range uint64(each) {
			deposits, claims = append(deposits, s.deposit(i+j, 50_000)), append(claims, promise(b, i+j, 1000))
		}
		s.must(s.open(alice, deposits...))
		s.must(s.redeem(bob, claims...))
		s.commit()
	}
	s.block(time.Second)
	b.ResetTimer()
	for range b.N {
		ctx, _ := s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 1).CacheContext()
		s.finals = nil
		if err := s.keeper.Advance(ctx); err != nil {
			b.Fatal(err)
		}
		if len(s.finals) != 200 {
			b.Fatalf("%d final", len(s.finals))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/block")
}
