package requester

import (
	"math"
	"testing"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// TestImagesOnTheirWay adds up what providers say of images that come to them, as long as any does; a negative number is none, and no number passes what an image may have.
func TestImagesOnTheirWay(t *testing.T) {
	g := &gathering{e: &errand{changed: make(chan struct{})}, hires: []*hire{{id: "bob"}, {id: "carol"}}}
	for _, step := range []struct {
		who   string
		bytes int64
		want  job.Coming
	}{{"bob", 100, job.Coming{Nodes: 1, Bytes: 100}}, {"carol", 50, job.Coming{Nodes: 2, Bytes: 150}}, {"bob", math.MaxInt64, job.Coming{Nodes: 2, Bytes: maxPulled + 50}}, {"bob", 0, job.Coming{Nodes: 1, Bytes: 50}}, {"carol", -7, job.Coming{}}} {
		_, changed := g.e.watch()
		done := false
		if err := g.take(t.Context(), delivery{lease: step.who, msg: lease.Message{Coming: &lease.Coming{Bytes: step.bytes}}, done: func() { done = true }}); err != nil || !done {
			t.Fatal(err, done)
		}
		<-changed
		got := job.Coming{}
		if c := g.e.snapshot().Coming; c != nil {
			got = *c
		}
		if got != step.want {
			t.Errorf("after %s's %d: %+v, want %+v", step.who, step.bytes, got, step.want)
		}
	}
	g.hires[0].pulled = 10
	g.comes()
	if g.e.enter(job.Failed); g.e.snapshot().Coming != nil {
		t.Error("a job that is over has images on their way")
	}
}
