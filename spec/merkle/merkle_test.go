package merkle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The roots that Certificate Transparency's own tests expect over these leaves, which are not digests.
func TestTheTreeIsThatOfRFC6962(t *testing.T) {
	leaves := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	var tree Tree
	for i, want := range roots {
		if got := tree.Root(); hex.EncodeToString(got[:]) != want {
			t.Errorf("%d leaves: %x, want %s", i, got, want)
		}
		if i < len(leaves) {
			leaf, err := hex.DecodeString(leaves[i])
			if err != nil {
				t.Fatal(err)
			}
			tree.Push(Leaf(leaf))
		}
	}
}

// whole is section 2.1 of the RFC as it is written.
func whole(d [][32]byte) [32]byte {
	switch n := len(d); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return d[0]
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		return Join(whole(d[:k]), whole(d[k:]))
	}
}

func TestATreeGrowsAndIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 200).Draw(t, "leaves")
		var tree Tree
		var all [][32]byte
		for i := range n {
			d := sha256.Sum256([]byte{byte(i)})
			all = append(all, d)
			tree.Push(d)
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				again, err := Read(tree.Size(), tree.Bytes())
				if err != nil {
					t.Fatal(err)
				}
				tree = again
			}
		}
		if tree.Root() != whole(all) || tree.Size() != uint64(n) {
			t.Fatalf("%d leaves: another root than all at once", n)
		}
	})
	if _, err := Read(3, make([]byte, 32)); err == nil {
		t.Error("a tree of three leaves has two peaks")
	}
}

// A leaf is proven by its path, at its own place only, and nothing else is.
func TestPathsLeadToTheRoot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 70).Draw(t, "leaves")
		var tree Tree
		all := make([][32]byte, n)
		for i := range all {
			all[i] = sha256.Sum256([]byte{byte(i)})
			tree.Push(all[i])
		}
		place := uint64(rapid.IntRange(0, n-1).Draw(t, "place"))
		path := Path(all, place)
		root, size := tree.Root(), uint64(n)
		if err := Check(root, size, place, all[place], path); err != nil {
			t.Fatalf("leaf %d of %d: %v", place, n, err)
		}
		wrong := map[string]error{
			"another place":  Check(root, size, (place+1)%size, all[place], path),
			"another leaf":   Check(root, size, place, [32]byte{1}, path),
			"another root":   Check([32]byte{1}, size, place, all[place], path),
			"a longer path":  Check(root, size, place, all[place], append(path[:len(path):len(path)], [32]byte{})),
			"beyond the end": Check(root, size, size, all[place], path),
		}
		if n == 1 {
			delete(wrong, "another place")
		}
		for what, err := range wrong {
			if !errors.Is(err, ErrPath) {
				t.Fatalf("%s of leaf %d of %d: %v", what, place, n, err)
			}
		}
	})
}

func FuzzCheck(f *testing.F) {
	f.Add(uint64(3), uint64(2), make([]byte, 64))
	f.Add(^uint64(0), ^uint64(0)-1, make([]byte, 64*32))
	f.Fuzz(func(t *testing.T, size, place uint64, b []byte) {
		var path [][32]byte
		for ; len(b) >= 32 && len(path) < 70; b = b[32:] {
			path = append(path, [32]byte(b))
		}
		if Check([32]byte{}, size, place, [32]byte{1}, path) == nil {
			t.Fatal("a root of zeros has leaves")
		}
	})
}

// A path is the same whether all leaves before it are there or their peaks alone, wherever the cut is.
func TestAPathNeedsNoLeavesBeforeIt(t *testing.T) {
	for size := range uint64(70) {
		var leaves [][32]byte
		for i := range size {
			leaves = append(leaves, sha256.Sum256([]byte{byte(i)}))
		}
		root := Root(leaves)
		for cut := range size {
			var before Tree
			for _, l := range leaves[:cut] {
				before.Push(l)
			}
			for place := range size {
				path, err := before.Path(leaves[cut:], place)
				if place < cut {
					if err == nil {
						t.Fatalf("%d of %d: there is a path to a leaf that is not kept", place, size)
					}
					continue
				}
				if err != nil || !slices.Equal(path, Path(leaves, place)) {
					t.Fatalf("%d of %d, cut at %d: %v", place, size, cut, err)
				}
				if err := Check(root, size, place, leaves[place], path); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := before.Path(leaves[cut:], size); err == nil {
				t.Fatal("there is a path to a leaf beyond the last")
			}
		}
	}
}
