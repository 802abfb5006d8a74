//go:build linux

package bench

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	sdklog "cosmossdk.io/log/v2"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	"github.com/cometbft/cometbft/rpc/client/local"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/server"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/committee"
	fullnode "github.com/hpips/hpips/chain/full"
	housenode "github.com/hpips/hpips/node"
	"github.com/hpips/hpips/proto/gen/committeev1"
)

// A node that nobody asks anything, with its seat on the chain, is a guest on its owner's PC: one with the public heartbeat of 30 s and one with the
// development network's of 10 s, both at once. Processor time is read from the kernel, so that other work on the machine does not count.
func TestChainIdle(t *testing.T) {
	bin := program(t)
	type guest struct {
		name string
		*node
		began         time.Time
		cpu           time.Duration
		height, bytes int64
	}
	var all []*guest
	for _, g := range []*guest{{name: "public"}, {name: "dev"}} {
		if g.name == "public" {
			home := t.TempDir()
			must(t, housenode.Found(housenode.Founding{Ring: filepath.Join(home, "keys"), Homes: []string{filepath.Join(home, "dev", "node-1")}, Seats: 1, Heartbeat: 30 * time.Second, EpochBlocks: 720}))
			g.node = upAt(t, bin, home, "--dev")
		} else {
			g.node = upAt(t, bin, t.TempDir(), "--dev")
		}
		all = append(all, g)
	}
	rest(t, time.Duration(either(5, 60))*time.Second) // until what the start made is done
	for _, g := range all {
		g.began, g.height, g.bytes = time.Now(), g.chainHeight(), disk(t, g.home)
		s, _ := readStat(fmt.Sprintf("/proc/%d/stat", g.cmd.Process.Pid))
		g.cpu = s.cpu
	}
	rest(t, time.Duration(either(20, 480))*time.Second)
	for _, g := range all {
		took := time.Since(g.began)
		s, _ := readStat(fmt.Sprintf("/proc/%d/stat", g.cmd.Process.Pid))
		name := "chain-idle-" + g.name
		rss, cpu := memory(t, g.cmd.Process.Pid, "VmRSS"), 100*(s.cpu-g.cpu).Seconds()/took.Seconds()
		figure(t, name+"-memory", rss, "MB")
		figure(t, name+"-cpu", cpu, "% of a core")
		figure(t, name+"-blocks", float64(g.chainHeight()-g.height)/took.Minutes(), "blocks a minute")
		figure(t, name+"-disk", float64(disk(t, g.home)-g.bytes)/megabyte*(24*time.Hour).Seconds()/took.Seconds(), "MB a day, straight on from these minutes, with logs that databases have not packed yet")
		if rss >= 220 {
			t.Errorf("%s: an idle node takes %.0f MB, more than 220", g.name, rss)
		}
		if limit := map[bool]float64{true: 1, false: 10}[*full]; g.name == "public" && cpu >= limit {
			t.Errorf("%s: an idle node takes %.2f %% of a core, more than %.0f; load %s", g.name, cpu, limit, load(t))
		}
	}
}

// chainHeight is how many blocks the node's chain has.
func (n *node) chainHeight() int64 {
	n.t.Helper()
	return n.await(func(st client.Status) bool { return st.Chain != nil && st.Chain.Height > 0 }).Chain.Height
}

// disk is what the files below a folder take on the disk, in bytes.
func disk(t *testing.T, dir string) (sum int64) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a file that a database has just removed
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	}))
	return sum
}

// idleDay is how many blocks an idle public chain makes in a day at most: a heartbeat and its proof block every 30 s.
const idleDay = 2 * 24 * 60 * 2

// A whole idle day's blocks, made as fast as the machine can: same application, same engine, same files and settings as a node has, but without the
// pauses. What a day adds to the disk is read from the second such day on, when the databases have begun to pack.
func TestChainIdleDay(t *testing.T) {
	seats := people("seat", 1)
	doc := founding(t, seats, nil, func(g *chain.Genesis) { g.Tune = func(p *committeev1.Params) { *p = committee.Public() } })
	s := settings(t, doc, seats[0])
	home := t.TempDir()
	c := copied(s, home)
	c.Consensus.TimeoutCommit, c.Consensus.CreateEmptyBlocksInterval = time.Millisecond, time.Millisecond
	app, err := chain.New(chain.Options{
		ChainID: doc.ChainID, DB: openState(t, home), Log: sdklog.NewNopLogger(), VRF: seats[0].VRF, Home: home,
		Retain: 14 * 86_400, Snapshots: filepath.Join(home, "snapshots"), SnapshotEvery: 1500,
	})
	must(t, err)
	n := engine(t, c, doc, seats[0], server.NewCometABCIWrapper(app), app.Close)
	w := &town{name: "idle", clients: []rpcclient.Client{local.New(n)}}
	day, days := int64(either(200, idleDay)), int64(either(2, 4))
	parts := []string{"application.db", "blockstore.db", "state.db", "tx_index.db", "evidence.db", "cs.wal"}
	before, sizes := int64(0), map[string]int64{}
	var grown float64
	for d := range days {
		began, spent := time.Now(), ownCPU(t)
		w.await(t, 1+(d+1)*day)
		must(t, fullnode.Trim(home)) // as a node does each minute
		if last := 1 + (d+1)*day - 10_000; last > 0 {
			must(t, app.Prune(last))
		}
		now := disk(t, home)
		t.Logf("day %d: %d blocks in %v, %v of processor time; %.1f MB more", d+1, day, time.Since(began).Round(time.Second), (ownCPU(t) - spent).Round(time.Millisecond), float64(now-before)/megabyte)
		for _, part := range append(parts, "../snapshots") {
			size := disk(t, filepath.Join(home, "data", part))
			t.Logf("   %-14s %+.2f MB", part, float64(size-sizes[part])/megabyte)
			sizes[part] = size
		}
		if d > 0 {
			grown += float64(now-before) / megabyte / float64(days-1)
		}
		before = now
	}
	figure(t, "chain-idle-day", grown, "MB a day, by all blocks of an idle day with one seat")
	if *full && grown >= 20 {
		t.Errorf("an idle day adds %.1f MB to the disk, more than 20", grown)
	}
}

func openState(t *testing.T, home string) dbm.DB {
	t.Helper()
	db, err := dbm.NewGoLevelDB("application", filepath.Join(home, "data"), nil)
	must(t, err)
	return db
}
