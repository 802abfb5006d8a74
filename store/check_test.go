package store

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/store/pack"
)

var harm = flag.Int("harm", 1000, "blocks that a test of a disk damages")

// reduced is a quarter of a count in a short run, such as that with the race detector.
func reduced(n int) int {
	if testing.Short() {
		return (n + 3) / 4
	}
	return n
}

// Bob's disk spoils blocks of every size, cuts some short, and loses some: not one of them is given away, the check finds each, and alice has what is missing.
func TestADiskThatSpoilsBlocks(t *testing.T) {
	ctx, dice, harm := t.Context(), rand.New(rand.NewPCG(1, 2)), reduced(*harm)
	alice, bob := pair(t)
	var files []cid.Cid
	contents := map[cid.Cid][]byte{}
	blocks := 0
	for n := uint64(1); blocks < harm+harm/2; n++ {
		data := random(1+dice.IntN(80<<10), n) // half of them are kept in SQLite
		if n%50 == 0 {
			data = random(2<<20+dice.IntN(1<<20), n)
			blocks += 3
		}
		e, err := alice.AddBytes(ctx, data)
		must(t, err)
		_, err = bob.Fetch(ctx, e.CID, nil, alice.host.ID())
		must(t, err)
		must(t, bob.Pin(ctx, e.CID, fmt.Sprint("file ", n)))
		files = append(files, e.CID)
		contents[e.CID] = data
		blocks++
	}
	must(t, bob.Flush(ctx))
	hit := bob.spoil(t, dice, harm)
	bob.blocks.mu.Lock()
	bob.blocks.since = time.Time{} // more than a minute goes by
	bob.blocks.mu.Unlock()
	before, _ := bob.blocks.totals()
	asked := 0
	for h := range hit { // whoever asks before the check gets none of the first hundred
		if b, err := bob.Block(ctx, cid.NewCidV1(cid.Raw, []byte(h))); err == nil {
			t.Fatalf("a damaged block of %d bytes was given away", len(b.RawData()))
		}
		if asked++; asked == 100 {
			break
		}
	}
	got, err := bob.Check(ctx, nil)
	must(t, err)
	if after, _ := bob.blocks.totals(); after != before-int64(harm) || got.Damaged < int64(harm-asked) {
		t.Errorf("%d of %d damaged blocks were found, %d are left of %d", got.Damaged, harm, after, before)
	}
	if len(got.Short) == 0 || len(got.Short) > harm {
		t.Errorf("%d pins lack something", len(got.Short))
	}
	for _, p := range got.Short {
		_, err := bob.Fetch(ctx, p.CID, nil, alice.host.ID())
		must(t, err)
	}
	if again, err := bob.Check(ctx, nil); err != nil || again.Damaged != 0 || len(again.Short) != 0 {
		t.Errorf("after the repair: %+v, %v", again, err)
	}
	for _, c := range files {
		r, err := bob.Open(ctx, c)
		must(t, err)
		if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, contents[c]) {
			t.Fatalf("%s: %d other bytes: %v", c, len(b), err)
		}
		must(t, r.Close())
	}
	t.Logf("%d blocks, %d of them spoiled, cut or lost; %d pins were repaired", before, harm, len(got.Short))
}

// spoil damages n blocks on the disk, each in one of three ways, and gives their hashes.
func (s *Store) spoil(t *testing.T, dice *rand.Rand, n int) map[string]bool {
	t.Helper()
	hit := map[string]bool{}
	rows := func(table string) (all [][]byte) {
		found, err := s.blocks.index.db.Query("SELECT mh FROM " + table + " ORDER BY mh")
		must(t, err)
		defer found.Close()
		for found.Next() {
			var h []byte
			must(t, found.Scan(&h))
			all = append(all, h)
		}
		return all
	}
	small, big := rows("small"), rows("big")
	for len(hit) < n {
		list := small
		if dice.IntN(2) == 0 && len(big) > 0 {
			list = big
		}
		h := list[dice.IntN(len(list))]
		if hit[string(h)] {
			continue
		}
		hit[string(h)] = true
		if len(small) > 0 && &list[0] == &small[0] {
			data, err := s.blocks.index.load(t.Context(), h)
			must(t, err)
			if len(data) > 1 && dice.IntN(3) == 0 {
				data = data[:dice.IntN(len(data))]
			} else {
				data[dice.IntN(len(data))] ^= 1 << dice.IntN(8)
			}
			_, err = s.blocks.index.db.Exec("UPDATE small SET data = ? WHERE mh = ?", data, h)
			must(t, err)
			continue
		}
		at, _, err := s.blocks.index.place(t.Context(), h)
		must(t, err)
		room := int(at.End(len(h)) - at.At)
		header := room - at.Size // at least, without what follows the data
		switch dice.IntN(3) {
		case 0:
			s.blocks.scribble(t, at, dice.IntN(14+len(h)+at.Size), 1<<dice.IntN(8))
		case 1: // the end was never written
			s.blocks.blank(t, at, header+dice.IntN(at.Size-1000), room)
		case 2:
			s.blocks.blank(t, at, 0, room)
		}
	}
	return hit
}

// blank writes zeros over a part of a record.
func (b *blocks) blank(t *testing.T, at pack.Place, from, to int) {
	t.Helper()
	f, err := os.OpenFile(b.packPath(at.Pack), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(make([]byte, to-from), at.At+int64(from))
	must(t, err)
	must(t, f.Close())
}

// Bob's disk lost one pack and cut another short: what was in them is missed, what was in others is not, and alice has it.
func TestADiskThatLosesPacks(t *testing.T) {
	ctx, a, b := t.Context(), newHost(t), newHost(t)
	cfg := Default()
	cfg.PackSize = 4 << 20
	alice := openStore(t, t.TempDir(), a)
	bob, err := Open(slog.New(slog.DiscardHandler), t.TempDir(), b, cfg)
	must(t, err)
	t.Cleanup(func() { must(t, bob.Close()) })
	must(t, a.Connect(ctx, peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}))
	var files []cid.Cid
	for n := range uint64(20) {
		e, err := alice.AddBytes(ctx, random(1<<20, n))
		must(t, err)
		_, err = bob.Fetch(ctx, e.CID, nil, alice.host.ID())
		must(t, err)
		must(t, bob.Pin(ctx, e.CID, fmt.Sprint("file ", n)))
		files = append(files, e.CID)
	}
	must(t, os.Remove(bob.blocks.packPath(1)))
	must(t, os.Truncate(bob.blocks.packPath(2), 2<<20))
	if has, err := bob.Has(ctx, files[0]); has || err != nil {
		t.Errorf("a block of the lost pack is said to be there: %v", err)
	}
	got, err := bob.Check(ctx, nil)
	must(t, err)
	if got.Damaged != 4+3 || len(got.Short) != 7 || got.Blocks != 20 {
		t.Errorf("%+v", got)
	}
	for _, p := range got.Short {
		_, err := bob.Fetch(ctx, p.CID, nil, alice.host.ID())
		must(t, err)
	}
	if again, err := bob.Check(ctx, nil); err != nil || again.Damaged != 0 || len(again.Short) != 0 || again.Blocks != 20 {
		t.Errorf("after the repair: %+v, %v", again, err)
	}
}

// A disk that is not mounted is no disk that lost its blocks.
func TestADiskThatIsAway(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	e, err := s.AddBytes(t.Context(), random(1<<20, 3))
	must(t, err)
	must(t, s.Pin(t.Context(), e.CID, "a file"))
	folder := filepath.Join(s.dir, packFolder)
	must(t, os.Rename(folder, folder+".away"))
	s.blocks.mu.Lock()
	s.blocks.since = time.Time{}
	s.blocks.mu.Unlock()
	if c, err := s.Check(t.Context(), nil); !errors.Is(err, ErrAway) || c.Damaged != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	must(t, os.Rename(folder+".away", folder))
	if c, err := s.Check(t.Context(), nil); err != nil || c.Damaged != 0 || len(c.Short) != 0 || c.Blocks != 1 {
		t.Errorf("mounted again: %+v, %v", c, err)
	}
}
