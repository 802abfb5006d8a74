package chain_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/committee"
	"github.com/hpips/hpips/chain/reward"
	"github.com/hpips/hpips/chain/storage"
	"github.com/hpips/hpips/chain/supply"
	"github.com/hpips/hpips/spec/sortition"
)

// rows are all that the last state holds, as store/key to value, both in hexadecimal digits.
func (d *desk) rows() map[string]string {
	d.t.Helper()
	all := map[string]string{}
	stores := d.app.CommitMultiStore()
	for name, key := range stores.(interface {
		StoreKeysByName() map[string]storetypes.StoreKey
	}).StoreKeysByName() {
		it := stores.GetKVStore(key).Iterator(nil, nil)
		for ; it.Valid(); it.Next() {
			all[name+"/"+hex.EncodeToString(it.Key())] = hex.EncodeToString(it.Value())
		}
		if err := it.Close(); err != nil {
			d.t.Fatal(err)
		}
	}
	return all
}

// moves tells whether a row changes with every seed or with the seats. All others must come through a restart as they are.
func moves(row string) bool {
	if !strings.HasPrefix(row, committee.Name+"/") {
		return false
	}
	for _, prefix := range []string{"01", "0d", "0e", "0f", "10", "11", "13"} { // parameters, tickets and their indexes
		if strings.HasPrefix(row, committee.Name+"/"+prefix) {
			return false
		}
	}
	return true
}

// must makes a block of one transaction of alice's, which succeeds.
func (d *desk) must(sequence uint64, messages ...chaintest.Message) {
	d.t.Helper()
	if r := d.block(d.signed(chaintest.Envelope{Sequence: sequence}, messages...))[0]; r.Code != 0 {
		d.t.Fatal(r.Log)
	}
}

// lived is a chain with a bit of everything: money sent, rights and allowances given, some soon over, an upgrade decided, a vote under way.
func lived(t *testing.T) *desk {
	doc := newDesk(t).doc
	patient := bytes.Replace(doc.AppState, []byte(`"voting_period":"60s"`), []byte(`"voting_period":"604800s"`), 1)
	if bytes.Equal(patient, doc.AppState) {
		t.Fatal("the voting period is not where it was")
	}
	doc.AppState = patient
	d := deskOn(t, doc)
	d.block()
	alice, bob, carol := d.alice, chaintest.New("bob"), chaintest.New("carol")
	soon, late := d.time.Add(5*time.Minute), d.time.Add(1000*time.Hour)
	right := func(to chaintest.Person, until *time.Time) sdk.Msg {
		m, err := authz.NewMsgGrant(alice.Account(), to.Account(), authz.NewGenericAuthorization(sdk.MsgTypeURL(&banktypes.MsgSend{})), until)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	fees := func(to chaintest.Person, until *time.Time) sdk.Msg {
		m, err := feegrant.NewMsgGrantAllowance(&feegrant.BasicAllowance{SpendLimit: chaintest.Coins(100), Expiration: until}, alice.Account(), to.Account())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	propose := func(title string, hurry bool, messages ...sdk.Msg) sdk.Msg {
		m, err := govv1.NewMsgSubmitProposal(messages, chaintest.Coins(5_000_000), alice.Address(), "why", title, title, hurry)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	vote := func(id uint64) sdk.Msg { return govv1.NewMsgVote(alice.Account(), id, govv1.OptionYes, "") }
	d.must(0, chaintest.Send(alice, bob, 12_345))
	d.must(1, right(bob, nil), right(carol, &soon), fees(bob, &late), fees(carol, &soon))
	plan := &upgradetypes.MsgSoftwareUpgrade{Authority: chain.Authority(), Plan: upgradetypes.Plan{Name: "better", Height: 100_000}}
	d.must(2, propose("upgrade", true, plan))
	d.must(3, vote(1))
	for range 40 {
		d.block()
	}
	d.must(4, propose("a second question", false))
	d.must(5, vote(2))
	return d
}

// Nobody but alice is left. What all had, they have in the chain that goes on, and it does go on.
func TestARestartKeepsEverything(t *testing.T) {
	d := lived(t)
	before := d.rows()
	if !slices.ContainsFunc(keys(before), func(row string) bool { return row == "upgrade/00" }) {
		t.Fatal("the upgrade was not decided: the test tests less than it says")
	}
	s, err := d.app.Standstill()
	if err != nil {
		t.Fatal(err)
	}
	if s.Height != d.height || !bytes.Equal(s.AppHash, d.hash()) || s.Day != time.Minute || !slices.Equal(s.Voters, []sortition.Key{d.alice.ID()}) {
		t.Fatalf("standstill %+v", s)
	}
	at := s.Time.Add(10 * time.Minute).Truncate(time.Second)
	doc, err := d.app.Restart(d.doc, s.Sitting, at)
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.app.Restart(d.doc, s.Sitting, at)
	if err != nil {
		t.Fatal(err)
	}
	one, err1 := chain.GenesisBytes(doc)
	two, err2 := chain.GenesisBytes(again)
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(one, two) {
		t.Fatalf("two exports of one state differ, %v", err)
	}
	if _, err := chain.ReadGenesis(one); err != nil {
		t.Fatal(err)
	}
	if after := d.rows(); !same(t, before, after, func(string) bool { return false }) {
		t.Fatal("an export changed the state")
	}

	next := deskOn(t, doc)
	next.calm = time.Hour
	if next.height != s.Height+sortition.RestartGap-1 {
		t.Fatalf("it goes on at %d", next.height)
	}
	next.time = doc.GenesisTime.Add(-time.Second)
	next.block()
	purses := func(row string) bool { // the first block ends the day of the halt, and the fund pays alice for her seat
		return strings.HasPrefix(row, "bank/02") && (strings.Contains(row, hex.EncodeToString(next.alice.Account())) ||
			strings.Contains(row, hex.EncodeToString(authtypes.NewModuleAddress(supply.Fund))))
	}
	if was, is := sum(t, before, purses), sum(t, next.rows(), purses); was != is {
		t.Errorf("alice and the fund had %d uhpips, and have %d", was, is)
	}
	gone := func(row string) bool { // what ran out between
		return moves(row) || purses(row) || strings.HasPrefix(row, reward.Name+"/") || strings.HasPrefix(row, storage.Name+"/05") || strings.HasPrefix(row, "authz/02") || strings.Contains(row, hex.EncodeToString(chaintest.New("carol").Account())) && !strings.HasPrefix(row, authtypes.StoreKey)
	}
	same(t, before, next.rows(), gone)
	c := next.committee()
	if len(c.Seats) != 1 || c.Epoch.Opened != next.height || c.Epoch.Claims != 0 || len(c.Substitutes) != 0 {
		t.Errorf("committee %+v", c)
	}
	if r := next.block(next.signed(chaintest.Envelope{Sequence: 6}, chaintest.Send(next.alice, chaintest.New("bob"), 1)))[0]; r.Code != 0 {
		t.Error(r.Log)
	}
}

// sum adds up the balances in rows.
func sum(t *testing.T, rows map[string]string, which func(string) bool) (n int64) {
	t.Helper()
	for row, value := range rows {
		if !which(row) {
			continue
		}
		text, err1 := hex.DecodeString(value)
		one, err2 := strconv.ParseInt(string(text), 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		n += one
	}
	return n
}

func keys(m map[string]string) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// same reports rows that differ, but for those that may.
func same(t *testing.T, before, after map[string]string, may func(row string) bool) bool {
	t.Helper()
	equal := true
	for _, row := range slices.Compact(slices.Sorted(slices.Values(append(keys(before), keys(after)...)))) {
		if before[row] != after[row] && !may(row) {
			t.Errorf("%s: was %q, is %q", row, before[row], after[row])
			equal = false
		}
	}
	return equal
}

// A node that never sat, one that is named twice, nobody: none of them makes a committee.
func TestARestartSeatsOnlyWhoSat(t *testing.T) {
	d := newDesk(t)
	if _, err := d.app.Standstill(); err == nil {
		t.Error("a chain without blocks stands still")
	}
	d.block()
	alice, mallory := d.alice.ID(), chaintest.New("mallory").ID()
	for name, seats := range map[string][]sortition.Key{"nobody": nil, "a stranger": {alice, mallory}, "twice": {alice, alice}} {
		if _, err := d.app.Restart(d.doc, seats, d.time); !errors.Is(err, committee.ErrGenesis) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
