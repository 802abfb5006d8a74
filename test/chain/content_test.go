package chain

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/test/e2e/pc"
)

// Bob's gateway sells a film for 0.1 HPIPS a MiB. Alice, whose node is connected to his, gets it in no other way than by buying it; it comes whole, and a day of the chain later bob's account has nine tenths of what she
// promised, less the fee, and his bond's part of it.
func TestBobSellsAFilm(t *testing.T) {
	t.Parallel()
	program, err := pc.Program(filepath.Join("..", ".."), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	alice := pc.New(t, program, "alice", "--dev", "--nodes", "1", "--no-provider")
	alice.Launch(t)
	l := window(t, alice.Home)
	bob := pc.New(t, program, "bob", "--join", alice.Address(t), "--no-provider", "--gateway", ":0", "--pins")
	bob.Up(t)
	window(t, bob.Home)
	at := bob.Await(t, "has a gateway", func(st client.Status) bool { return st.Gateway != nil && st.Gateway.Pins }).Gateway.URL
	bob.Must(t, "cdn", "add", at, "--token-file", filepath.Join(bob.Home, "pins.token"))
	content, path := film(t, 7)
	if a := bob.Hpips(t, "cdn", "publish", path, "--price", "0.1/MiB"); a.Code == 0 || !strings.Contains(a.Stderr, "cannot be paid now") {
		t.Errorf("sold by a node without an owner: %+v", a)
	}
	var owner ledger.Account
	reads(t, bob.Must(t, "wallet", "new", "bob", "--keyring", "test", "-o", "json"), &owner)
	var last pc.Answer
	said := func() string { return last.Stdout + last.Stderr }
	pc.Eventually(t, "bob is registered", func() bool { last = bob.Hpips(t, "chain", "register"); return last.Code == 0 }, said)
	pc.Eventually(t, "bob's gateway sells it", func() bool {
		last = bob.Hpips(t, "cdn", "publish", path, "--price", "0.1/MiB", "-o", "json")
		return last.Code == 0
	}, said)
	var told struct{ CID string }
	reads(t, strings.TrimSpace(last.Stdout), &told)

	if code, text := unpaid(t, at, told.CID); code != http.StatusPaymentRequired || !strings.Contains(text, "0.1 HPIPS/MiB") {
		t.Errorf("without pay: %d %s", code, text)
	}
	out := filepath.Join(t.TempDir(), "film")
	if a := alice.Hpips(t, "get", told.CID, "-O", out, "--timeout", "3s"); a.Code == 0 {
		t.Error("alice has it from bob's node for nothing")
	}
	if a := alice.Hpips(t, "get", told.CID, "-O", out, "--gateway", at, "--pay", "0.2"); a.Code != 121 || !strings.Contains(a.Stderr, "0.1 HPIPS/MiB") || !strings.Contains(a.Stderr, "--pay 0.25") {
		t.Errorf("for less than it costs: %+v", a)
	}
	var got struct {
		Size int
		Paid money.Amount
	}
	pc.Eventually(t, "alice may pay, and buys it", func() bool {
		last = alice.Hpips(t, "get", told.CID, "-O", out, "--gateway", at, "--pay", "1", "-o", "json")
		return last.Code == 0
	}, said)
	reads(t, strings.TrimSpace(last.Stdout), &got)
	if text, err := os.ReadFile(out); err != nil || !bytes.Equal(text, content) {
		t.Errorf("%d bytes came: %v", len(text), err)
	}
	if got.Size != len(content) || got.Paid < 250_000 || got.Paid > 251_000 {
		t.Errorf("alice is told %+v", got)
	}

	rules, err := l.LeaseRules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	paid := uint64(got.Paid) - rules.Fee
	want := paid - (paid+9)/10
	var has uint64
	pc.Eventually(t, "bob is paid", func() bool {
		last = bob.Hpips(t, "share", "earnings", "-o", "json")
		var e ledger.Earnings
		if last.Code != 0 || json.Unmarshal([]byte(last.Stdout), &e) != nil || len(e.Redemptions) != 1 {
			return false
		}
		b, err := l.Balance(t.Context(), owner.Address)
		if err != nil {
			return false
		}
		has = uint64(b.Balance) + heldOf(t, l, owner.Address)
		for _, d := range e.Days { // what the fund pays him for the archive is not alice's
			for _, extra := range []string{d.Bonus, d.Duty} {
				if n, err := strconv.ParseUint(extra, 10, 64); err == nil && n <= has {
					has -= n
				}
			}
		}
		return has == want
	}, func() string {
		return strconv.FormatUint(has, 10) + " of " + strconv.FormatUint(want, 10) + ": " + said()
	})

	bob.Must(t, "cdn", "publish", path) // it is free again
	if code, text := unpaid(t, at, told.CID); code != http.StatusOK {
		t.Errorf("when it is free: %d %s", code, text)
	}
	// Once more at a price: without its pinning service the gateway does not give it away either.
	bob.Must(t, "cdn", "publish", path, "--price", "0.2/MiB")
	bob.Stop(t)
	bob.Up(t, "--pins=false")
	at = bob.Await(t, "has a gateway", func(st client.Status) bool { return st.Gateway != nil && !st.Gateway.Pins }).Gateway.URL
	code, text := 0, ""
	pc.Eventually(t, "bob sells without the service", func() bool {
		code, text = unpaid(t, at, told.CID)
		return code != http.StatusServiceUnavailable
	}, func() string { return text })
	if code != http.StatusPaymentRequired || !strings.Contains(text, "0.2 HPIPS/MiB") {
		t.Errorf("without the service: %d %s", code, text)
	}
}

// unpaid asks a gateway for a block as anybody may.
func unpaid(t *testing.T, at, cid string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+"/ipfs/"+cid+"?format=raw", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
