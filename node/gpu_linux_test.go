package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/engine/process"
	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/spec/job"
)

// card is a device of a PC that has none: its file is one that reads as zeros, under a name that no device has.
func card(t *testing.T, number int) machine.GPU {
	t.Helper()
	node := filepath.Join(t.TempDir(), fmt.Sprint("hpips-fake", number))
	if err := errors.Join(unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))), os.Chmod(node, 0o666)); err != nil {
		t.Skipf("mknod: %v: device files are made by root only", err)
	}
	f, err := os.Open(node)
	if err != nil {
		t.Skipf("device files do not work on the disk of temporary files: %v", err)
	}
	f.Close()
	memory := int64(24564) << 20
	id := fmt.Sprintf("GPU-%d", number)
	return machine.GPU{ID: id, Vendor: "NVIDIA", Model: "NVIDIA GeForce RTX 4090", Memory: &memory, Passage: machine.Passage{Nodes: []string{node}, Visible: id}}
}

// carded starts a node whose PC has these devices.
func carded(t *testing.T, cfg Config, all ...machine.GPU) *running {
	t.Helper()
	h, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if why := h.first().lacking()[process.Name]; why != "" {
		t.Skip("native programs are not run here: " + why)
	}
	h.sharing.graphics = func(context.Context, time.Time) []machine.GPU { return all }
	n := start(t, h, nil)
	comes(t, "the devices are seen", func() bool { s, err := n.api.Share(t.Context()); return err == nil && len(s.Devices) == len(all) })
	return n
}

// hands hands in a script that needs devices.
func hands(t *testing.T, n *running, script string, wish job.GPU) string {
	t.Helper()
	program, err := n.api.PutBytes(t.Context(), strings.NewReader("#!/bin/sh\n"+script))
	if err != nil {
		t.Fatal(err)
	}
	id, err := n.api.Submit(t.Context(), job.Spec{Kind: job.Batch, Run: job.Run{Native: program.CID}, Resources: job.Resources{GPU: wish}, Verify: job.Verify{Mode: job.None}}, false)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// said is what a job's program wrote, once it has ended.
func said(t *testing.T, n *running, id string) string {
	t.Helper()
	var last job.Status
	if err := n.api.Watch(t.Context(), id, func(st job.Status) error { last = st; return nil }); err != nil {
		t.Fatal(err)
	}
	if last.State != job.Settled {
		t.Fatalf("%+v: %v", last, last.Error)
	}
	r, err := n.api.Read(t.Context(), last.Result, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// devicesSaid is the state of each device, and why it is kept.
func devicesSaid(t *testing.T, n *running) string {
	t.Helper()
	s, err := n.api.Share(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, d := range s.Devices {
		words = append(words, strings.TrimSpace(d.State+" "+d.Why))
	}
	return strings.Join(words, ", ")
}

// Bob's PC has two devices, and alice's jobs use them: each sees its own and no other, nobody gets one that is leased, and bob's rules hold for each.
func TestAliceUsesBobsDevices(t *testing.T) {
	cfg := quiet(t)
	cfg.Slots = 2
	one, two := card(t, 0), card(t, 1)
	bob := carded(t, cfg, one, two)
	desk := quiet(t)
	desk.Provide, desk.Join = false, bob.Addresses()
	h, err := New(t.Context(), desk)
	alice := start(t, h, err)
	wish := job.GPU{Count: 1, Model: "rtx 4090", Memory: 24 << 30}

	findings, err := bob.api.Doctor(t.Context())
	if i := slices.IndexFunc(findings, func(f client.Finding) bool { return f.Name == "gpu 1" }); err != nil || i < 0 || findings[i].Text != "NVIDIA GeForce RTX 4090 can be given to native programs and images" {
		t.Errorf("bob's doctor finds %+v, %v", findings, err)
	}
	offers, err := alice.api.Offers(t.Context(), job.Resources{CPU: 1, GPU: wish})
	if err != nil || len(offers) != 1 || len(offers[0].GPUs) != 2 || offers[0].GPUs[0].Model != one.Model {
		t.Fatalf("offers %+v, %v", offers, err)
	}
	look := fmt.Sprintf("for d in %s %s; do [ -c $d ] && echo has $d && head -c 1 $d | od -An -tx1; done; echo sees $CUDA_VISIBLE_DEVICES", one.Passage.Nodes[0], two.Passage.Nodes[0])
	text := said(t, alice, hands(t, alice, look, wish))
	first, second := strings.Contains(text, "has "+one.Passage.Nodes[0]), strings.Contains(text, "has "+two.Passage.Nodes[0])
	if first == second || !strings.Contains(text, " 00\n") || first != strings.Contains(text, "sees GPU-0\n") || second != strings.Contains(text, "sees GPU-1\n") {
		t.Errorf("a job with one device says %q", text)
	}
	if text := said(t, alice, hands(t, alice, look, job.GPU{})); strings.Contains(text, "has") || !strings.HasSuffix(text, "sees\n") {
		t.Errorf("a job without a device says %q", text)
	}

	long := hands(t, alice, "while :; do sleep 0.1; done", job.GPU{Count: 2})
	comes(t, "both are leased", func() bool { return devicesSaid(t, bob) == "leased, leased" })
	spec := job.Spec{Kind: job.Batch, Run: job.Run{Native: "bafkqaaa"}, Resources: job.Resources{GPU: wish}}
	why, err := alice.api.Preview(t.Context(), spec)
	if err != nil || why.Accepted != 0 || !strings.Contains(why.Summary, "1 of 1 node refused: 1 GPU") || why.Rejected[0].Reason != "gpu: leased" {
		t.Errorf("%+v, %v", why, err)
	}
	if err := alice.api.Cancel(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	comes(t, "both are free again", func() bool { return devicesSaid(t, bob) == "free, free" })

	if _, err := SetShareList(cfg.Home, "gpus", []string{"0=never"}); err != nil {
		t.Fatal(err)
	}
	if got := devicesSaid(t, bob); got != "kept its owner does not share it, free" {
		t.Errorf("bob's devices: %s", got)
	}
	spec.Resources.GPU.Count = 2
	if why, err := alice.api.Preview(t.Context(), spec); err != nil || why.Rejected[0].Reason != "gpu: wants 2, has 1 free; another: its owner does not share it" {
		t.Errorf("%+v, %v", why, err)
	}
	if text := said(t, alice, hands(t, alice, look, wish)); !strings.Contains(text, "sees GPU-1\n") {
		t.Errorf("a job with the device that is left says %q", text)
	}
	spec.Resources.GPU = job.GPU{Count: 1, Memory: 80 << 30}
	if why, err := alice.api.Preview(t.Context(), spec); err != nil || !strings.HasSuffix(why.Summary, "1 of 1 node refused: 1 GPU memory") {
		t.Errorf("%+v, %v", why, err)
	}
}

// On a machine with a graphics device, a task that leases it sees that one and no other.
func TestARealDevice(t *testing.T) {
	all := machine.GPUs(t.Context())
	i := slices.IndexFunc(all, func(g machine.GPU) bool { return g.Passage.Why == "" })
	switch {
	case len(all) == 0:
		t.Skip("no graphics device on this machine")
	case i < 0:
		t.Skip("the graphics device of this machine cannot be passed on: " + all[0].Passage.Why)
	}
	g := all[i]
	bob := carded(t, quiet(t), g)
	script := "for n in " + strings.Join(g.Passage.Nodes, " ") + "; do [ -c $n ] || exit 3; done; ls /dev /dev/dri 2>/dev/null"
	if g.Vendor == "NVIDIA" {
		script += "; nvidia-smi --query-gpu=uuid --format=csv,noheader"
	}
	text := said(t, bob, hands(t, bob, script, job.GPU{Count: 1, Vendor: strings.ToLower(g.Vendor)}))
	for k, other := range all {
		if k != i && (strings.Contains(text, other.ID) || len(other.Passage.Nodes) > 0 && strings.Contains(text, filepath.Base(other.Passage.Nodes[0])+"\n")) {
			t.Errorf("the task sees another's device, %s: %s", other.ID, text)
		}
	}
	if g.Vendor == "NVIDIA" && !strings.Contains(text, g.ID) {
		t.Errorf("the task does not see its device %s: %s", g.ID, text)
	}
}
