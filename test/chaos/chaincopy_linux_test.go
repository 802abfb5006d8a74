package chaos

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	rpcclient "github.com/cometbft/cometbft/rpc/client"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/proto/gen/committeev1"
)

// Bob's home is copied to a second PC. While the first one runs, the copy signs nothing; nor does a third PC to which he took his keys alone. When
// the first is gone, the copy waits for one whole epoch and then has bob's seat. At no time does anybody sign twice.
func TestSoakChainCopiedHome(t *testing.T) {
	t.Parallel()
	v := newVillage(t, plan{names: []string{"alice", "bob", "carol", "dave", "copy", "keys"}, seats: 4, payers: 4,
		tune: func(p *committeev1.Params) { lasting(4)(p); p.EpochBlocks, p.ClaimBlocks = 6, 4 }})
	bob, copied, keys := v.folk[1], v.folk[4], v.folk[5]
	v.folk = v.folk[:4]
	rest := append(v.folk[:1:1], v.folk[2:]...)
	v.start()
	v.goesOn(3, v.folk...)
	if code := bob.Stop(t); code != 0 {
		t.Fatalf("bob ends with %d\n%s", code, bob.Log(10))
	}
	copied.copy(bob)
	v.take([]*citizen{keys}, []*citizen{bob})
	keys.join = append(keys.join, rest[0].address())
	bob.start()
	v.goesOn(2, v.folk...)
	l := v.load(rest...)

	began := v.epoch(rest[0])
	copied.start()
	keys.start()
	for _, c := range []*citizen{copied, keys} {
		c.stands("stands down", func(s client.ChainStatus) bool { return s.Down != "" })
	}
	v.until("two epochs have gone by", func() bool { return v.epoch(rest[0]) >= began+uint64(counted(3, 10)) })
	for _, c := range []*citizen{copied, keys} {
		if s := c.stands("stands down", func(client.ChainStatus) bool { return true }); s.Down == "" {
			t.Errorf("%s signs, while bob does", c.Name)
		}
	}
	if down := bob.stands("has a chain", func(client.ChainStatus) bool { return true }).Down; down != "" {
		t.Errorf("bob, who was first, stands down: %s", down)
	}
	votes := v.signatures(bob, rest[0], rest[0].height()-5, rest[0].height()-1)
	if votes < 3 {
		t.Errorf("bob signed %d of the last five blocks", votes)
	}
	v.nobodySignedTwice(rest[0])
	t.Logf("while bob signs, his copy and his keys elsewhere do not, epochs %d to %d", began, v.epoch(rest[0]))

	bob.Kill(t)
	keys.Kill(t)
	v.goesOn(2, rest...)
	off, at := rest[0].height(), time.Now()
	copied.stands("signs again", func(s client.ChainStatus) bool { return s.Down == "" })
	v.until("bob's seat signs", func() bool { return v.signatures(bob, rest[0], off, rest[0].height()-1) > 0 })
	took, last, first := time.Since(at), off, off
	for v.signatures(bob, rest[0], last, last) == 0 {
		last--
	}
	for v.signatures(bob, rest[0], first, first) == 0 {
		first++
	}
	if before, after := v.epochOf(rest[0], last), v.epochOf(rest[0], first); after < before+2 {
		t.Errorf("bob signed block %d of epoch %d, his copy block %d of epoch %d: it has not waited for a whole one\n%s", last, before, first, after, copied.Log(20))
	}
	l.end(rest...)
	v.agree(1, append(rest, copied)...)
	v.nobodySignedTwice(rest[0])
	t.Logf("bob's last block was %d, his copy's first %d, %.0f s later", last, first, took.Seconds())
}

// copy makes the PC's home a copy of another's, on a computer of another name where root can say so.
func (c *citizen) copy(from *citizen) {
	c.t.Helper()
	own := read(c.t, filepath.Join(c.Home, node.ConfigFile))
	if err := os.RemoveAll(c.Home); err != nil {
		c.t.Fatal(err)
	}
	err := filepath.WalkDir(from.Home, func(name string, e fs.DirEntry, err error) error {
		below, err2 := filepath.Rel(from.Home, name)
		if err != nil || err2 != nil || !e.Type().IsRegular() {
			return err
		}
		c.write(below, read(c.t, name))
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.keys = from.keys
	c.write(node.ConfigFile, own) // both run on this machine, where a port is one's own
	if _, err := os.Stat("/etc/machine-id"); err != nil || os.Geteuid() != 0 {
		c.t.Log("the copy is in another folder of the same computer: another name of the computer needs root and /etc/machine-id")
		return
	}
	// There the copy lies at the very place where it lay here: only the computer is another.
	c.write("machine-id", strings.Repeat("c0", 16)+"\n")
	second := fmt.Sprintf(`mount --bind '%[1]s' '%[2]s' && mount --bind '%[1]s/machine-id' /etc/machine-id && shift 3 && exec '%[3]s' up --home '%[2]s' "$@"`, c.Home, from.Home, built.hpips)
	c.runsAs("unshare --mount", second)
}

// runsAs makes the PC start through a line of a shell, which another command runs.
func (c *citizen) runsAs(command, line string) {
	c.t.Helper()
	file := c.program + ".there"
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+line+"\n"), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(c.program, []byte("#!/bin/sh\nexec "+command+" sh '"+file+"' \"$@\"\n"), 0o700); err != nil {
		c.t.Fatal(err)
	}
}

// stands waits until a PC tells of its chain what is wanted.
func (c *citizen) stands(what string, wanted func(client.ChainStatus) bool) (last client.ChainStatus) {
	c.t.Helper()
	c.Await(c.t, what, func(s client.Status) bool {
		if s.Chain == nil {
			return false
		}
		last = *s.Chain
		return wanted(last)
	})
	return last
}

func (v *village) epoch(through *citizen) uint64 {
	_, window, err := through.look()
	if err != nil {
		return 0
	}
	k, err := window.Committee(v.t.Context())
	if err != nil {
		return 0
	}
	return k.Epoch
}

// epochOf is the epoch to which a block belongs: that of the state before it.
func (v *village) epochOf(through *citizen, height int64) uint64 {
	v.t.Helper()
	rpc, _ := through.through()
	got, err := rpc.ABCIQueryWithOptions(v.t.Context(), "/hpips.committee.v1.Query/Committee", nil, rpcclient.ABCIQueryOptions{Height: height - 1})
	var answer committeev1.QueryCommitteeResponse
	if err == nil {
		err = answer.Unmarshal(got.Response.Value)
	}
	if err != nil || answer.Epoch.Number == 0 {
		v.t.Fatalf("the epoch of block %d: %v, %+v", height, err, got)
	}
	return answer.Epoch.Number
}

// signatures counts the blocks from one height to another that a PC's key has signed.
func (v *village) signatures(of, through *citizen, from, to int64) (n int) {
	v.t.Helper()
	rpc, _ := through.through()
	address := ed25519.PrivKey(of.keys.Consensus).PubKey().Address().String()
	for h := max(1, from); h <= to; h++ {
		ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
		commit, err := rpc.Commit(ctx, &h)
		stop()
		if err != nil {
			v.t.Fatalf("block %d: %v", h, err)
		}
		for _, s := range commit.Commit.Signatures {
			if s.ValidatorAddress.String() == address && len(s.Signature) > 0 {
				n++
			}
		}
	}
	return n
}

func (v *village) nobodySignedTwice(through *citizen) {
	v.t.Helper()
	if got := v.offenders(through); len(got) > 0 {
		v.t.Errorf("%d double signatures are recorded", len(got))
	}
}
