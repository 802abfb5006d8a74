package receipts

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	abci "github.com/cometbft/cometbft/abci/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/tx"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/proto/gen/auditv1"
)

// Docket is what blocks tell of audits, disputes and what was taken from whom. Nodes are named as in ledger.NodeText, amounts are uhpips.
type Docket struct {
	Height    int64          // of the last block that was read
	Audits    map[string]int // how many were opened, attested, passed, undecided
	Disputes  map[string]*Trial
	Fines     map[string]int      // of jurors: how often
	Fined     map[string][]string // and what for, in words
	Convicted map[string]int      // how often, final pay left out
	Slashed   map[string]uint64
	Paid      map[string]uint64 // for work, by node
	Lost      map[string]uint64 // pay that went back, by node
	Juries    map[string]uint64 // pay of jurors, by node
	Panels    [][]string        // jurors of the panels that were attested
	Pending   int               // redemptions that are neither final nor lost
	Escrow    int64             // what has to lie in the account of the deposits
	Bonds     int64             // and in that of the bonds
}

// Trial is what blocks tell of one dispute.
type Trial struct {
	Node, Accused       string
	Opened, Ended       int64  // heights
	Rounds              string // "" while it is open
	Verdict             string // right, wrong, undecided, no-jury
	Committed, Revealed []string
	Lease, Sequence     string
	Place               string // of the result among those of the redemption
}

// ReadDocket reads blocks from to to, both included.
func ReadDocket(ctx context.Context, c Chain, from, to int64) (*Docket, error) {
	d := &Docket{Audits: map[string]int{}, Disputes: map[string]*Trial{}, Fines: map[string]int{}, Fined: map[string][]string{}, Convicted: map[string]int{}, Slashed: map[string]uint64{}, Paid: map[string]uint64{}, Lost: map[string]uint64{},
		Juries: map[string]uint64{}, Height: from - 1}
	return d, d.ReadTo(ctx, c, to)
}

// ReadTo reads the blocks after those that were read, up to one. After an error the docket is no good.
func (d *Docket) ReadTo(ctx context.Context, c Chain, to int64) error {
	for at := d.Height + 1; at <= to; at++ {
		results, err1 := c.BlockResults(ctx, &at)
		block, err2 := c.Block(ctx, &at)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("block %d: %w", at, err)
		}
		for i, raw := range block.Block.Txs {
			if results.TxsResults[i].Code == 0 {
				if err := d.attested(raw); err != nil {
					return fmt.Errorf("block %d: transaction %d: %w", at, i, err)
				}
			}
		}
		events := results.FinalizeBlockEvents
		for _, tx := range results.TxsResults {
			events = append(events, tx.Events...)
		}
		for _, e := range events {
			if err := d.note(e, at); err != nil {
				return fmt.Errorf("block %d: %s: %w", at, e.Type, err)
			}
		}
		d.Height = at
	}
	return nil
}

// note takes in one event.
func (d *Docket) note(e abci.Event, at int64) error {
	v := map[string]string{}
	for _, a := range e.Attributes {
		v[a.Key] = a.Value
	}
	var sums sums
	var wrong error
	who := func(key string) string {
		var name string
		name, wrong = nodeOf(v[key])
		return name
	}
	switch e.Type {
	case "hpips_audit":
		d.Audits[v["what"]]++
	case "hpips_dispute":
		wrong = d.dispute(v, at)
	case "hpips_verdict":
		t := d.Disputes[v["dispute"]]
		t.Ended, t.Rounds, t.Verdict = at, v["rounds"], v["what"]
	case "hpips_juror_fined":
		juror, why := who("juror"), "said something else than most"
		if t := d.Disputes[v["dispute"]]; !slices.Contains(t.Revealed, juror) {
			why = fmt.Sprintf("did not reveal; %d of %d did", len(t.Revealed), len(t.Committed))
		}
		d.Fines[juror]++
		d.Fined[juror] = append(d.Fined[juror], fmt.Sprintf("dispute %s of block %d: %s", v["dispute"], at, why))
	case "hpips_convicted":
		if v["final"] == "0" {
			d.Convicted[who("node")]++
		}
	case "hpips_slashed":
		amount := sums.read(v["amount"])
		d.Slashed[who("node")] += amount
		d.Bonds -= int64(amount)
	case "hpips_held":
		d.Bonds += int64(sums.read(v["amount"]))
	case "hpips_bond_returned":
		d.Bonds -= int64(sums.read(v["amount"]))
	case "hpips_lease":
		switch amount := int64(sums.read(v["amount"])); v["what"] {
		case "opened", "topped-up":
			d.Escrow += amount
		case "closed":
			d.Escrow -= amount
		case "let-go":
			d.Escrow -= int64(sums.read(v["fee"]))
		}
	case "hpips_redemption":
		d.Escrow -= int64(sums.read(v["fee"]))
		d.Pending++
	case "hpips_final":
		amount := sums.read(v["amount"])
		d.Paid[who("node")] += amount
		d.Pending--
		d.Escrow -= int64(amount)
	case "hpips_forfeited":
		amount := sums.read(v["amount"])
		d.Lost[who("node")] += amount
		d.Pending--
		d.Escrow -= int64(amount)
	case "hpips_juror_paid":
		amount := sums.read(v["amount"])
		d.Juries[who("node")] += amount
		d.Escrow -= int64(amount)
	}
	return errors.Join(append(sums, wrong)...)
}

// dispute notes a step of one.
func (d *Docket) dispute(v map[string]string, at int64) error {
	id := v["dispute"]
	if v["what"] == "opened" {
		node, err1 := nodeOf(v["node"])
		accused, err2 := nodeOf(v["accused"])
		d.Disputes[id] = &Trial{Node: node, Accused: accused, Opened: at, Lease: v["lease"], Sequence: v["sequence"], Place: v["place"]}
		return errors.Join(err1, err2)
	}
	t := d.Disputes[id]
	if v["juror"] == "" {
		return nil
	}
	juror, err := nodeOf(v["juror"])
	if v["what"] == "committed" {
		t.Committed = append(t.Committed, juror)
	} else {
		t.Revealed = append(t.Revealed, juror)
	}
	return err
}

// attested notes whose word a transaction attests.
func (d *Docket) attested(raw []byte) error {
	var t tx.Tx
	if err := t.Unmarshal(raw); err != nil {
		return err
	}
	for _, m := range t.Body.Messages {
		if m.TypeUrl != "/hpips.audit.v1.MsgAttest" {
			continue
		}
		var a auditv1.MsgAttest
		if err := a.Unmarshal(m.Value); err != nil {
			return err
		}
		for _, p := range a.Panels {
			var jurors []string
			for _, v := range p.Voices {
				jurors = append(jurors, ledger.NodeText(v.Juror))
			}
			d.Panels = append(d.Panels, jurors)
		}
	}
	return nil
}

// Longest is the most blocks that a dispute took; false while one is open.
func (d *Docket) Longest() (blocks int64, all bool) {
	for _, t := range d.Disputes {
		if t.Ended == 0 {
			return blocks, false
		}
		blocks = max(blocks, t.Ended-t.Opened)
	}
	return blocks, true
}

// Verdicts counts disputes by who was accused and how they ended.
func (d *Docket) Verdicts() map[[2]string]int {
	all := map[[2]string]int{}
	for _, t := range d.Disputes {
		all[[2]string{t.Accused, t.Verdict}]++
	}
	return all
}

func nodeOf(digits string) (string, error) {
	key, err := hex.DecodeString(digits)
	if err != nil {
		return "", err
	}
	return ledger.NodeText(key), nil
}

// Sound compares the accounts of deposits and bonds with what the blocks say lies there. A block that came since may be the reason of an error.
func (d *Docket) Sound(ctx context.Context, window *ledger.Ledger) error {
	for name, want := range map[string]int64{"escrow": d.Escrow, "bond": d.Bonds} {
		at, err := sdk.Bech32ifyAddressBytes("hpips", authtypes.NewModuleAddress(name))
		if err != nil {
			return err
		}
		b, err := window.Balance(ctx, at)
		if err != nil {
			return err
		}
		if int64(b.Balance) != want {
			return fmt.Errorf("%s holds %d uhpips, and %d are owed", name, b.Balance, want)
		}
	}
	return nil
}
