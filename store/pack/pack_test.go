package pack

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/multiformats/go-multihash"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// record is random data and their hash.
func record(t testing.TB, seed uint64, n int) (multihash.Multihash, []byte) {
	t.Helper()
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data) // never fails
	h, err := multihash.Sum(data, multihash.SHA2_256, -1)
	must(t, err)
	return h, data
}

func openPacks(t testing.TB, dir string, size int64) *Packs {
	t.Helper()
	p, err := Open(dir, size, 0)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	return p
}

// kept is what alice remembers of her records.
type kept struct {
	h    multihash.Multihash
	data []byte
	at   Place
}

func (p *Packs) fill(t testing.TB, n int, size func(i int) int) (all []kept) {
	t.Helper()
	for i := range n {
		h, data := record(t, uint64(i), size(i))
		at, err := p.Append(h, data)
		must(t, err)
		all = append(all, kept{h, data, at})
	}
	return all
}

// The bytes of a record are the same everywhere.
func TestVector(t *testing.T) {
	p := openPacks(t, t.TempDir(), 1<<20)
	data := []byte("three grains of sand")
	h, err := multihash.Sum(data, multihash.SHA2_256, -1)
	must(t, err)
	at, err := p.Append(h, data)
	must(t, err)
	must(t, p.Sync())
	got, err := os.ReadFile(filepath.Join(p.dir, "00000001.pack"))
	must(t, err)
	want := "48505231" + "00000014" + "0022" + "fa0cae56" + hex.EncodeToString(h) + hex.EncodeToString(data)
	if at != (Place{1, 0, 20}) || hex.EncodeToString(got) != want {
		t.Errorf("%+v holds\n%x, want\n%s", at, got, want)
	}
}

// What alice appended is there while she appends, after a reopening, and in whatever file it came to lie.
func TestRecordsComeBack(t *testing.T) {
	dir := t.TempDir()
	p, err := Open(dir, 1<<20, 0)
	must(t, err)
	sizes := []int{0, 1, 462, 463, 464, 465, 512, 33 << 10, 1 << 20, 2 << 20}
	all := p.fill(t, 60, func(i int) int { return sizes[i%len(sizes)] })
	for range 2 {
		for _, k := range all {
			if got, err := p.Read(k.h, k.at); err != nil || !bytes.Equal(got, k.data) || !p.Has(k.h, k.at) {
				t.Fatalf("%+v: %d bytes, %v", k.at, len(got), err)
			}
			if k.at.At%step != 0 {
				t.Errorf("%+v begins between two steps", k.at)
			}
		}
		must(t, p.Close())
		p = openPacks(t, dir, 1<<20)
	}
	if n := all[len(all)-1].at.Pack; n < 10 {
		t.Errorf("all is in %d files", n)
	}
	h, data := record(t, 1000, 100)
	at, err := p.Append(h, data)
	must(t, err)
	for _, k := range all { // it lies on none of the others
		if got, err := p.Read(k.h, k.at); err != nil || !bytes.Equal(got, k.data) {
			t.Fatalf("%+v after an append at %+v: %v", k.at, at, err)
		}
	}
	for name, f := range map[string]func() error{
		"too long":     func() error { _, err := p.Append(h, make([]byte, maxData+1)); return err },
		"no hash":      func() error { _, err := p.Append(nil, data); return err },
		"a long hash":  func() error { _, err := p.Append(make([]byte, maxHash+1), data); return err },
		"a long place": func() error { _, err := p.Read(h, Place{1, 0, maxData + 1}); return err },
	} {
		if err := f(); !errors.Is(err, ErrSize) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.Read(h, Place{999, 0, 1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := p.Read(h, all[0].at); !errors.Is(err, ErrDamaged) {
		t.Errorf("the place of another record: %v", err)
	}
}

// Few files are open however many there are, and a seal ends one.
func TestFewFilesAreOpen(t *testing.T) {
	p := openPacks(t, t.TempDir(), 64<<10)
	all := p.fill(t, 100, func(int) int { return 40 << 10 })
	must(t, p.Sync())
	if len(p.open) != 1 || all[99].at.Pack != 50 {
		t.Errorf("%d of %d files are open", len(p.open), all[99].at.Pack)
	}
	settled, err := p.Settled()
	must(t, err)
	if len(settled) != 49 {
		t.Errorf("%d files are settled", len(settled))
	}
	p.Seal()
	must(t, p.Sync())
	h, data := record(t, 1000, 100)
	at, err := p.Append(h, data)
	must(t, err)
	if settled, err = p.Settled(); err != nil || len(settled) != 50 || at != (Place{51, 0, 100}) {
		t.Errorf("after the seal %d are settled, the next is at %+v, %v", len(settled), at, err)
	}
	p.Seal()
	p.Seal()
	if at, err := p.Append(h, data); err != nil || at.Pack != 52 {
		t.Errorf("after two seals: %+v, %v", at, err)
	}
}

// A disk that is full takes half a record: nothing is there of it, and the next one lies in its place.
func TestFullDisk(t *testing.T) {
	p := openPacks(t, t.TempDir(), 1<<20)
	all := p.fill(t, 3, func(int) int { return 50 << 10 })
	was := p.write
	p.write = func(f *os.File, data []byte, at int64) error {
		if len(data) > 1000 {
			_ = was(f, data[:1000], at)
			return &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
		}
		return was(f, data, at)
	}
	h, data := record(t, 9, 50<<10)
	var hands sync.WaitGroup
	for range 4 {
		hands.Go(func() {
			if _, err := p.Append(h, data); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("a full disk: %v", err)
			}
		})
	}
	hands.Wait()
	if last := p.Last(); last.Size != all[2].at.End(len(h)) {
		t.Errorf("%d bytes are taken by %d", last.Size, all[2].at.End(len(h)))
	}
	p.write = was
	at, err := p.Append(h, data)
	must(t, err)
	if at.At != all[2].at.End(len(h)) {
		t.Errorf("the next one is at %d, not at %d", at.At, all[2].at.End(len(h)))
	}
	for _, k := range append(all, kept{h, data, at}) {
		if got, err := p.Read(k.h, k.at); err != nil || !bytes.Equal(got, k.data) {
			t.Errorf("%+v: %v", k.at, err)
		}
	}
}

// After a sync that failed nothing is appended to the same file.
func TestFailedSyncEndsAFile(t *testing.T) {
	p := openPacks(t, t.TempDir(), 1<<20)
	p.fill(t, 1, func(int) int { return 100 })
	was := p.sync
	p.sync = func(*os.File) error { return syscall.EIO }
	if err := p.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("the sync: %v", err)
	}
	p.sync = was
	if again := p.fill(t, 1, func(int) int { return 100 }); again[0].at != (Place{2, 0, 100}) {
		t.Errorf("the next one is at %+v", again[0].at)
	}
	must(t, p.Sync())
}

// A file that is lost is not made again under its number while somebody remembers it.
func TestNumbersAreNotUsedTwice(t *testing.T) {
	p, err := Open(t.TempDir(), 1<<20, 7)
	must(t, err)
	if all := p.fill(t, 1, func(int) int { return 100 }); all[0].at.Pack != 8 {
		t.Errorf("the next file is %d", all[0].at.Pack)
	}
	must(t, p.Close())
}

// Whatever happens to one record, Scan finds the others.
func TestScanFindsWhatIsBesideDamage(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		p := openPacks(t, t.TempDir(), 1<<30)
		all := p.fill(t, 12, func(int) int { return dice.IntN(5 << 10) })
		must(t, p.Close())
		hit := dice.IntN(len(all))
		k := all[hit]
		data, err := os.ReadFile(p.path(1))
		must(t, err)
		length := fixed + len(k.h) + len(k.data)
		kind := dice.IntN(3)
		switch kind {
		case 0:
			data[int(k.at.At)+dice.IntN(length)] ^= 1 << dice.IntN(8)
		case 1:
			clear(data[k.at.At : k.at.At+int64(length)])
		case 2:
			hit = len(all) - 1
			data = data[:int(all[hit].at.At)+dice.IntN(fixed+len(all[hit].h)+len(all[hit].data))]
		}
		must(t, os.WriteFile(p.path(1), data, 0o600))
		found := map[Place]bool{}
		must(t, p.Scan(1, 0, func(h multihash.Multihash, at Place, end int64, data []byte) error {
			sum, err := multihash.Sum(data, multihash.SHA2_256, -1)
			if err == nil && bytes.Equal(sum, h) {
				found[at] = true
			}
			if end != at.End(len(h)) {
				t.Errorf("%+v ends at %d", at, end)
			}
			return err
		}))
		for i, k := range all {
			if found[k.at] != (i != hit) {
				t.Errorf("round %d, kind %d: record %d of %d was found: %v, damaged was %d", round, kind, i, len(all), found[k.at], hit)
			}
			if _, err := p.Read(k.h, k.at); i != hit && err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
	}
}

// Many append, read and sync at once.
func TestManyHands(t *testing.T) {
	p := openPacks(t, t.TempDir(), 200<<10)
	var hands sync.WaitGroup
	for hand := range 8 {
		hands.Go(func() {
			for i := range 50 {
				h, data := record(t, uint64(hand*50+i), 1+(hand*7919+i*104729)%(40<<10))
				at, err := p.Append(h, data)
				if err == nil && i%10 == hand {
					err = p.Sync()
				}
				if err == nil && i%25 == hand {
					p.Seal()
				}
				got, readErr := p.Read(h, at)
				if err := errors.Join(err, readErr); err != nil || !bytes.Equal(got, data) {
					t.Errorf("hand %d, record %d: %v", hand, i, err)
					return
				}
			}
		})
	}
	hands.Wait()
	n := 0
	files, err := p.List()
	must(t, err)
	for _, f := range files {
		must(t, p.Scan(f.ID, 0, func(multihash.Multihash, Place, int64, []byte) error { n++; return nil }))
	}
	if n != 400 {
		t.Errorf("%d records of 400 are there", n)
	}
}

// Cut leaves what is before the end, and what is not ours stays.
func TestCut(t *testing.T) {
	p := openPacks(t, t.TempDir(), 1<<20)
	must(t, os.WriteFile(filepath.Join(p.dir, "1.pack"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(p.dir, "notes"), nil, 0o600))
	all := p.fill(t, 4, func(int) int { return 10_000 })
	p.Seal()
	must(t, p.Sync())
	must(t, p.Cut(1, all[1].at.End(len(all[1].h))))
	for i, k := range all {
		if _, err := p.Read(k.h, k.at); (err == nil) != (i < 2) || p.Has(k.h, k.at) != (i < 2) {
			t.Errorf("record %d after the cut: %v", i, err)
		}
	}
	must(t, p.Cut(1, 0))
	if files, err := p.List(); err != nil || len(files) != 0 {
		t.Errorf("%v is left, %v", files, err)
	}
	if entries, err := os.ReadDir(p.dir); err != nil || len(entries) != 2 {
		t.Errorf("%d other files are left, %v", len(entries), err)
	}
}

// Carol writes what she likes into a file: what Scan gives of it is a record that says so itself.
func FuzzScan(f *testing.F) {
	h, data := record(f, 1, 700)
	head, err := header(h, len(data))
	must(f, err)
	f.Add(append(head, data...))
	f.Add(append(make([]byte, step), head...))
	f.Add([]byte("HPR1\xff\xff\xff\xff\x00\x22"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Open(t.TempDir(), 1<<20, 0)
		must(t, err)
		must(t, os.WriteFile(p.path(1), text, 0o600))
		last := int64(0)
		must(t, p.Scan(1, 0, func(h multihash.Multihash, at Place, end int64, data []byte) error {
			head, err := header(h, len(data))
			if err != nil || at.At < last || end <= at.At || !bytes.Equal(text[at.At:int(at.At)+len(head)], head) || !bytes.Equal(text[int(at.At)+len(head):][:len(data)], data) {
				return fmt.Errorf("%+v is not in the file: %w", at, err)
			}
			got, err := p.Read(h, at)
			if !bytes.Equal(got, data) {
				t.Errorf("%+v reads as %d other bytes", at, len(got))
			}
			last = end
			return err
		}))
	})
}
