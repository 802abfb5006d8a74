package node

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Alice changes her keys. The power fails after each step, and she begins again.
func TestNewKeysComeIntoTheirPlace(t *testing.T) {
	home := t.TempDir()
	first, err := LoadChainKeys(home)
	if err != nil {
		t.Fatal(err)
	}
	next, err := NextChainKeys(home, true, false)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(next.Consensus, first.Consensus) || !bytes.Equal(next.VRF, first.VRF) || !bytes.Equal(next.Node, first.Node) {
		t.Error("the next keys are not a new one for votes and the others as they are")
	}
	if now, err := LoadChainKeys(home); err != nil || !bytes.Equal(now.Consensus, first.Consensus) {
		t.Errorf("the key in use changed before the chain knows of another: %v", err)
	}
	again, err := NextChainKeys(home, false, true) // another wish does not forget the first: the chain may have it
	if err != nil || !bytes.Equal(again.Consensus, next.Consensus) || bytes.Equal(again.VRF, first.VRF) {
		t.Errorf("asked again, the next keys are others: %v", err)
	}
	for range 2 {
		if err := TakeNextChainKeys(home, 17); err != nil {
			t.Fatal(err)
		}
		now, err := LoadChainKeys(home)
		if err != nil || !bytes.Equal(now.Consensus, again.Consensus) || !bytes.Equal(now.VRF, again.VRF) || !bytes.Equal(now.Node, first.Node) {
			t.Fatalf("the keys in use are not the next ones: %v", err)
		}
	}
	kept, err := loadConsensusKey(filepath.Join(home, "keys", "old", "17-consensus.key"))
	if err != nil || !bytes.Equal(kept, first.Consensus) {
		t.Errorf("the old key is not kept: %v", err)
	}
	if fi, err := os.Stat(filepath.Join(home, "keys", "old", "17-vrf.key")); err != nil || runtime.GOOS != "windows" && fi.Mode().Perm() != 0o600 {
		t.Errorf("the old key of draws: %v, %v", fi, err)
	}
}

// Alice's PC lost power when the old keys were kept and one of the new ones was in its place.
func TestHalfOfTheNewKeysAreInPlace(t *testing.T) {
	home := t.TempDir()
	first, err := LoadChainKeys(home)
	if err != nil {
		t.Fatal(err)
	}
	next, err := NextChainKeys(home, true, true)
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(home, "keys")
	text, err := os.ReadFile(filepath.Join(keys, consensusKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(keys, oldKeysDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(keys, oldKeysDir, "5-"+consensusKeyFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(keys, nextKeysDir, "keys", consensusKeyFile), filepath.Join(keys, consensusKeyFile)); err != nil {
		t.Fatal(err)
	}
	resumed, err := NextChainKeys(home, false, false)
	if err != nil || !bytes.Equal(resumed.Consensus, next.Consensus) || !bytes.Equal(resumed.VRF, next.VRF) {
		t.Fatalf("begun again, the next keys are others: %v", err)
	}
	if err := TakeNextChainKeys(home, 5); err != nil {
		t.Fatal(err)
	}
	now, err := LoadChainKeys(home)
	if err != nil || !bytes.Equal(now.Consensus, next.Consensus) || !bytes.Equal(now.VRF, next.VRF) {
		t.Errorf("the keys in use are not the next ones: %v", err)
	}
	kept, err := loadConsensusKey(filepath.Join(keys, oldKeysDir, "5-"+consensusKeyFile))
	if err != nil || !bytes.Equal(kept, first.Consensus) {
		t.Errorf("the old key is not kept: %v", err)
	}
}
