package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/spec/sortition"
)

func TestANodeBringsInThreeADay(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var c carried
	for _, name := range []string{"alice", "bob", "carol"} {
		if _, err := c.take([]byte(name), now); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if _, err := c.take([]byte("dave"), now.Add(23*time.Hour)); err == nil {
		t.Error("a fourth on the same day")
	}
	if _, err := c.take([]byte("alice"), now.Add(time.Hour)); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("alice comes twice: %v", err)
	}
	undo, err := c.take([]byte("dave"), now.Add(24*time.Hour))
	if err != nil {
		t.Fatalf("dave, a day later: %v", err)
	}
	undo()
	if _, err := c.take([]byte("dave"), now.Add(24*time.Hour)); err != nil {
		t.Errorf("dave, whose first try came to nothing: %v", err)
	}
}

func TestKeysOfAChainStayAndSign(t *testing.T) {
	home := t.TempDir()
	k, err := LoadChainKeys(home)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadChainKeys(home)
	if err != nil || !k.Node.Equal(again.Node) || !k.Consensus.Equal(again.Consensus) || !k.VRF.Equal(again.VRF) {
		t.Fatalf("a second reading gives other keys: %v", err)
	}
	e, err := k.Enrol("town-1", "hpips1owner", 7)
	if err != nil {
		t.Fatal(err)
	}
	w, err := sortition.ParseRegistration(e.Word)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Check(e.Node, e.Consensus, sortition.Proof(e.VRF)); err != nil {
		t.Errorf("the registration: %v", err)
	}
	spend, err := LoadSpendKey(home)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := LoadSpendKey(home); err != nil || same.Address() != spend.Address() || !strings.HasPrefix(spend.Address(), "hpips1") {
		t.Errorf("spending key: %v", err)
	}
	for _, name := range []string{consensusKeyFile, vrfKeyFile, spendKeyFile} {
		file := filepath.Join(home, "keys", name)
		if err := os.WriteFile(file, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, errKeys := LoadChainKeys(home)
		_, errSpend := LoadSpendKey(home)
		if (errKeys == nil) == (name != spendKeyFile) || (errSpend == nil) == (name == spendKeyFile) {
			t.Errorf("%s is damaged: %v, %v", name, errKeys, errSpend)
		}
		if text, _ := os.ReadFile(file); string(text) != "damaged" {
			t.Errorf("%s was overwritten", name)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}
