package requester

import (
	"context"
	"fmt"
	"testing"

	"github.com/hpips/hpips/spec/job"
)

// BenchmarkRecords writes what one commit saw of 64 of so many known nodes, and reads all of them back.
func BenchmarkRecords(b *testing.B) {
	dir, ctx := b.TempDir(), context.Background()
	j, err := openJournal(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	seen := tallies{}
	for i := range maxKnown {
		seen.add(hardware{fmt.Sprint("node ", i), "amd64"}, right, 1)
	}
	if err := j.commit(ctx, "", batch{tallies: seen}, job.Status{}); err != nil {
		b.Fatal(err)
	}
	few := tallies{}
	for i := range 64 {
		few.add(hardware{fmt.Sprint("node ", i), "amd64"}, right, 8)
	}
	b.Run("write 64", func(b *testing.B) {
		for b.Loop() {
			if err := j.commit(ctx, "", batch{tallies: few}, job.Status{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write none", func(b *testing.B) {
		for b.Loop() {
			if err := j.commit(ctx, "", batch{}, job.Status{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read all", func(b *testing.B) {
		for b.Loop() {
			if err := j.recall(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkChecked writes results that a checker found right, 512 to a transaction.
func BenchmarkChecked(b *testing.B) {
	j, err := openJournal(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	h := &hire{node: "bob", owner: "bob", class: "amd64"}
	next := uint64(0)
	for b.Loop() {
		entries := make([]entry, 512)
		for i := range entries {
			entries[i] = entry{hire: h, checked: true, result: job.Result{Index: next, End: job.Exited}}
			next++
		}
		if err := j.commit(context.Background(), "job", batch{entries: entries}, job.Status{}); err != nil {
			b.Fatal(err)
		}
	}
}
