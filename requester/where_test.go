package requester

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// city is a town of forty-one: three that suit alice, and those that do not for one reason or another.
func city(t *testing.T) *town {
	tn := newTown(t)
	for i := range 41 {
		w := tn.arrive(fmt.Sprintf("node %02d", i))
		w.region, w.class = "eu", "amd64-linux-GenuineIntel-6-v3"
		w.gpus = []lease.Device{{ID: "0", Vendor: "NVIDIA", Model: "RTX 4090", Memory: 24 << 30}}
		switch {
		case i < 22:
			w.refuses = fmt.Sprintf("price: asks %d.500000 HPIPS for an hour of a task, the ceiling is 1.000000", 2+i%3)
		case i < 33:
			w.refuses = fmt.Sprintf("gpu memory: wants 12GiB, has %dGiB", 6+2*(i%2))
		case i < 38:
			w.region = "us"
		}
	}
	return tn
}

const whole = "38 of 41 nodes refused: 22 price, 11 GPU memory, 5 region"

// Alice wants a device with 12 GiB in Europe, and is told of everybody who has not got that, at a dry run, while her job runs, and beside what is at work.
func TestWhyNodesRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := city(t)
		r, stop := tn.life()
		defer stop()
		spec := tn.count(6)
		script, err := tn.shelf.AddBytes(t.Context(), []byte("#!/bin/sh\n"))
		if err != nil {
			t.Fatal(err)
		}
		spec.Run = job.Run{Native: script.CID.String()}
		spec.Resources.GPU, spec.Where, spec.Verify.Mode = job.GPU{Memory: 12 << 30}, []string{"region in (eu)", "os==linux", "gpu.memory>=12GiB"}, job.None
		why, err := r.Preview(context.Background(), spec)
		if err != nil || why.Asked != 41 || why.Accepted != 3 || why.Summary != "3 of 41 providers could run it; "+whole {
			t.Fatalf("%+v, %v", why, err)
		}
		if len(why.Kinds) != 3 || why.Kinds[1] != (job.Kinds{Kind: "GPU memory", Count: 11}) {
			t.Errorf("kinds %+v", why.Kinds)
		}
		for _, w := range tn.folk {
			w.mute = true
		}
		id := submit(t, r, spec)
		time.Sleep(5 * time.Minute) // some rounds of asking later
		why, err = r.Why(context.Background(), id)
		if err != nil || why.Asked != 41 || why.Accepted != 3 || !strings.HasSuffix(why.Summary, "; "+whole) {
			t.Errorf("%+v, %v", why, err)
		}
		for _, w := range tn.folk {
			w.speak()
		}
		s := finish(t, r, id)
		if s.State != job.Settled || len(s.Nodes) == 0 {
			t.Fatalf("%+v", s)
		}
		for _, n := range s.Nodes {
			for _, w := range tn.folk[:38] {
				if w.id.String() == n.Node {
					t.Errorf("%s of %q does not suit, and had %d tasks", w.name, w.region+w.refuses, n.Tasks)
				}
			}
		}
	})
}

// Nobody suits: the failure names the kinds, for thirty-eight reasons would be no sentence.
func TestNobodySuits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := city(t)
		r, stop := tn.life()
		defer stop()
		spec := tn.count(1)
		spec.Where, spec.Limits.Queue = []string{"region in (cn)", "os!=windows", "reputation>=0.1"}, job.Duration(time.Minute)
		s := finish(t, r, submit(t, r, spec))
		if s.Error == nil || s.Error.Code != job.CodeUnplaceable || s.ExitCode != 122 || !strings.HasSuffix(s.Error.Message, ": 22× price; 11× GPU memory; 8× region") {
			t.Fatalf("%+v", s.Error)
		}
	})
}

// Nodes are told apart by what was measured of them: one that nobody has measured is not known to be fast enough.
func TestAliceWantsAFastNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "slow", "fast", "never measured")
		tn.folk[0].speed, tn.folk[1].speed = 1e9, 25e8
		r, stop := tn.life()
		defer stop()
		spec := tn.count(2)
		spec.Where, spec.Verify.Mode = []string{"speed>=2"}, job.None
		s := finish(t, r, submit(t, r, spec)) // two slots are wanted, and the fast node has one
		if s.State != job.Settled || len(s.Nodes) != 1 || s.Nodes[0].Node != tn.folk[1].id.String() {
			t.Fatalf("%+v", s)
		}
	})
}

// What is preferred decides between nodes that are alike in all else: alice's jobs go to the one with more slots, whatever luck says.
func TestWhomAliceChooses(t *testing.T) {
	for i := range 8 {
		synctest.Test(t, func(t *testing.T) {
			tn := newTown(t, "narrow", fmt.Sprint("broad ", i), "likewise narrow")
			broad := tn.folk[1]
			broad.slots = 2
			r, stop := tn.life()
			defer stop()
			spec := tn.count(2)
			spec.Prefer, spec.Verify.Mode = []string{"slots", "price"}, job.None
			s := finish(t, r, submit(t, r, spec))
			if s.State != job.Settled || len(s.Nodes) != 1 || s.Nodes[0].Node != broad.id.String() {
				t.Fatalf("%+v", s)
			}
		})
	}
}
