package full

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/hpips/hpips/chain/chaintest"
)

// guarded opens alice's signer in a folder, on a chain in some epoch.
func guarded(t testing.TB, home string, epoch *uint64) *signer {
	t.Helper()
	s, err := openSigner(Config{Home: home, Consensus: chaintest.New("alice").Consensus, Log: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.attend(func() uint64 { return *epoch }, time.Hour); err != nil {
		t.Fatal(err)
	}
	return s
}

func vote(height int64, block string) *cmtproto.Vote {
	hash := sha256.Sum256([]byte(block))
	return &cmtproto.Vote{
		Type: cmtproto.PrecommitType, Height: height, Timestamp: time.Unix(1, 0),
		BlockID: cmtproto.BlockID{Hash: hash[:], PartSetHeader: cmtproto.PartSetHeader{Total: 1, Hash: hash[:]}},
	}
}

func TestNothingIsSignedTwice(t *testing.T) {
	home, epoch := t.TempDir(), uint64(1)
	s := guarded(t, home, &epoch)
	first := vote(5, "one")
	if err := s.SignVote(testChain, first); err != nil {
		t.Fatal(err)
	}
	if err := s.SignVote(testChain, vote(5, "another")); err == nil {
		t.Error("two blocks of one height were signed")
	}
	if err := s.SignVote(testChain, vote(4, "earlier")); err == nil {
		t.Error("an earlier height was signed")
	}
	s = guarded(t, home, &epoch) // the PC lost power; all that was signed is on the disk
	if err := s.SignVote(testChain, vote(5, "another")); err == nil {
		t.Error("two blocks of one height were signed, with a restart between")
	}
	again := vote(5, "one")
	if err := s.SignVote(testChain, again); err != nil || string(again.Signature) != string(first.Signature) {
		t.Errorf("the same vote again: %v", err)
	}
	s.close()
	if err := s.SignVote(testChain, vote(6, "late")); err == nil {
		t.Error("a closing node signed")
	}
}

func TestAHomeInTwoPlacesIsSilentForAnEpoch(t *testing.T) {
	for _, row := range []struct {
		what string
		do   func(t *testing.T, home string) string
	}{
		{"copied to another folder", func(t *testing.T, home string) string {
			to := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(to, os.DirFS(home)); err != nil {
				t.Fatal(err)
			}
			return to
		}},
		{"without the record of its last vote", func(t *testing.T, home string) string {
			if err := os.Remove(filepath.Join(home, voteFile)); err != nil {
				t.Fatal(err)
			}
			return home
		}},
		{"with a damaged record", func(t *testing.T, home string) string {
			if err := os.WriteFile(filepath.Join(home, voteFile), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
			return home
		}},
		{"without the signer's own", func(t *testing.T, home string) string {
			if err := os.Remove(filepath.Join(home, recordFile)); err != nil {
				t.Fatal(err)
			}
			return home
		}},
	} {
		t.Run(row.what, func(t *testing.T) {
			home, epoch := t.TempDir(), uint64(7)
			if err := guarded(t, home, &epoch).SignVote(testChain, vote(5, "one")); err != nil {
				t.Fatal(err)
			}
			home = row.do(t, home)
			s := guarded(t, home, &epoch)
			if err := s.SignVote(testChain, vote(9, "two")); err == nil || s.down() == "" {
				t.Fatalf("it signs at once: %v", err)
			}
			epoch = 20 // what it catches up with is old news: nothing of it counts
			if s.rise(false) || s.rise(true) {
				t.Error("it rose while it caught up")
			}
			if epoch = 21; s.rise(true) {
				t.Error("it rose before a whole epoch had gone by")
			}
			s.see(30, []byte("alice's key, elsewhere"))
			if epoch = 22; s.rise(true) {
				t.Error("it rose though its key signed elsewhere")
			}
			s = guarded(t, home, &epoch) // a restart does not help
			if s.down() == "" {
				t.Error("a restart let it sign")
			}
			if epoch = 24; !s.rise(true) {
				t.Error("it stays silent after a whole epoch")
			}
			if err := s.SignVote(testChain, vote(40, "three")); err != nil {
				t.Error(err)
			}
		})
	}
}

// Time counts for an epoch only while the chain stands still: blocks may come slower than heartbeats, and an epoch of them last longer.
func TestAStandstillCountsForAnEpoch(t *testing.T) {
	home, epoch := t.TempDir(), uint64(7)
	synctest.Test(t, func(t *testing.T) {
		s := guarded(t, home, &epoch)
		s.see(30, []byte("alice's key, elsewhere"))
		for range 10 {
			time.Sleep(50 * time.Minute)
			if s.moves(); s.rise(true) {
				t.Fatal("it rose in the epoch in which it stood down, while blocks were made")
			}
		}
		time.Sleep(59 * time.Minute)
		if s.rise(true) {
			t.Error("it rose too early")
		}
		time.Sleep(time.Minute)
		if !s.rise(true) {
			t.Error("it stays silent while the chain waits for it")
		}
	})
}

func TestASeatThatSeesItsKeyElsewhereStandsDown(t *testing.T) {
	home, epoch := t.TempDir(), uint64(3)
	s := guarded(t, home, &epoch)
	mine := vote(5, "one")
	if err := s.SignVote(testChain, mine); err != nil {
		t.Fatal(err)
	}
	s.see(5, mine.Signature)
	s.see(4, []byte("what an earlier process signed"))
	if why := s.down(); why != "" {
		t.Fatalf("it stands down for its own vote: %s", why)
	}
	s.see(5, []byte("not this process's"))
	if s.down() == "" {
		t.Error("it does not mind another vote of its key")
	}
	other, quiet := t.TempDir(), uint64(3)
	s = guarded(t, other, &quiet)
	s.see(1, []byte("a commit that this home knows nothing of"))
	if s.down() == "" {
		t.Error("a home older than a commit of its key goes on")
	}
}

// A PC loses its power between the two votes of a block, and is back while the others wait for it: they give it back its first one.
func TestAVoteOfBeforeTheRestartIsNoOthers(t *testing.T) {
	home, epoch := t.TempDir(), uint64(3)
	first := vote(5, "one")
	first.Type = cmtproto.PrevoteType
	if err := guarded(t, home, &epoch).SignVote(testChain, first); err != nil {
		t.Fatal(err)
	}
	s := guarded(t, home, &epoch)
	if err := s.SignVote(testChain, vote(5, "one")); err != nil {
		t.Fatal(err)
	}
	s.see(5, first.Signature)
	if why := s.down(); why != "" {
		t.Errorf("it stands down for its own vote: %s", why)
	}
	if err := s.SignVote(testChain, vote(6, "two")); err != nil {
		t.Fatal(err)
	}
	s.see(6, []byte("not this home's"))
	if s.down() == "" {
		t.Error("it does not mind another vote of its key")
	}
}

// A seat comes and goes: what it remembers of its votes does not grow with its terms.
func TestVotesOfEarlierTermsAreForgotten(t *testing.T) {
	s := &signer{made: map[int64][][]byte{}}
	for term := range int64(5) {
		for h := range int64(keepVotes) {
			s.remember(1+term*10_000+h, []byte("vote"))
		}
	}
	if len(s.made) != keepVotes || s.from != 1+4*10_000 {
		t.Errorf("%d heights are remembered, from %d on", len(s.made), s.from)
	}
}
