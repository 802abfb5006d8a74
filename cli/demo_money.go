package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/money"
)

// paidWithin is how long the demo waits for its last payment to be final and its day to be closed.
const paidWithin = 2 * time.Minute

// demoMoney is what the demo's jobs cost, and where that went.
type demoMoney struct {
	Promised  money.Amount `json:"promised"` // by the requester, for both jobs
	Juries    money.Amount `json:"juries"`   // it paid besides to those who ran results again
	Gross     money.Amount `json:"gross"`    // of it redeemed, less the chain's fees
	Paid      money.Amount `json:"paid"`
	Held      money.Amount `json:"held"` // of what is paid, as the providers' bonds
	Levied    money.Amount `json:"levied"`
	Streamed  money.Amount `json:"streamed"` // begins to flow to the holders
	Supply    money.Amount `json:"supply"`
	Providers []demoEarned `json:"providers"`
}

// demoEarned is what one provider got.
type demoEarned struct {
	Node     string       `json:"node"`
	Name     string       `json:"name"`
	Promised money.Amount `json:"promised"`
	Gross    money.Amount `json:"gross"`
	Paid     money.Amount `json:"paid"`
}

// settle waits until all that was promised to the providers who live is theirs and the day is closed, then tells where the money went.
func (d *demo) settle(ctx context.Context) (demoMoney, error) {
	m := demoMoney{Providers: []demoEarned{}}
	want, err := d.promised(ctx, &m)
	if err != nil {
		return m, err
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	late := time.After(paidWithin)
	for {
		whole, err := d.collect(ctx, &m, want)
		if err == nil && whole {
			supply, err := d.chain.ledger.Supply(ctx)
			m.Supply = supply.Total
			return m, errors.Join(err, d.judged(ctx, &m))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return m, ctx.Err()
		case <-late:
			return m, demoFailed(fmt.Sprintf("after %v the providers have %s HPIPS of %s that were promised (%v)", paidWithin, m.Gross, m.Promised, err))
		}
	}
}

// promised asks the requester what its jobs cost. It gives what each provider who lives is to get at least: what it was promised, less the fees of
// its redemptions.
func (d *demo) promised(ctx context.Context, m *demoMoney) (map[string]money.Amount, error) {
	api, err := client.Open(d.net.requester().home)
	if err != nil {
		return nil, err
	}
	defer api.Close()
	want, index := map[string]money.Amount{}, map[string]int{}
	for _, p := range d.net.nodes[1:] {
		index[p.status.Node] = len(m.Providers)
		m.Providers = append(m.Providers, demoEarned{Node: p.status.Node, Name: d.net.name(p.status.Node)})
	}
	rules, err := d.chain.ledger.LeaseRules(ctx)
	if err != nil {
		return nil, err
	}
	for _, j := range d.report.Jobs {
		cost, err := api.Cost(ctx, j.Job)
		if err != nil {
			return nil, err
		}
		m.Promised += money.Amount(cost.Promised)
		for _, l := range cost.Leases {
			k, known := index[l.Node]
			if !known {
				continue
			}
			m.Providers[k].Promised += money.Amount(l.Promised)
			if fees := uint64(2) * rules.Fee; l.Node != d.report.Killed && l.Promised > fees { // two redemptions of a lease at most
				want[l.Node] += money.Amount(l.Promised - fees)
			}
		}
	}
	return want, nil
}

// judged asks how many results were checked, now that juries have looked at them, and what those were paid.
func (d *demo) judged(ctx context.Context, m *demoMoney) error {
	api, err := client.Open(d.net.requester().home)
	if err != nil {
		return err
	}
	defer api.Close()
	for k := range d.report.Jobs {
		st, err := api.Job(ctx, d.report.Jobs[k].Job)
		if err != nil {
			return err
		}
		cost, err := api.Cost(ctx, d.report.Jobs[k].Job)
		if err != nil {
			return err
		}
		d.report.Jobs[k].Verified = st.Verified
		m.Juries += money.Amount(cost.Juries)
	}
	return nil
}

// collect sums up the chain's closed days, and tells whether each provider has what it wants.
func (d *demo) collect(ctx context.Context, m *demoMoney, want map[string]money.Amount) (bool, error) {
	last, err := d.chain.ledger.LastDay(ctx)
	if err != nil {
		return false, err
	}
	m.Gross, m.Paid, m.Held, m.Levied, m.Streamed = 0, 0, 0, 0, 0
	for k := range m.Providers {
		m.Providers[k].Gross, m.Providers[k].Paid = 0, 0
	}
	for n := range last.Day + 1 {
		day, err := d.chain.ledger.Day(ctx, n)
		if ledger.IsNotFound(err) {
			continue // the chain stood still
		}
		if err != nil {
			return false, err
		}
		m.add(day)
	}
	for _, p := range m.Providers {
		if p.Gross < want[p.Node] {
			return false, nil
		}
	}
	return m.Gross > 0, nil
}

func (m *demoMoney) add(day ledger.Day) {
	m.Gross, m.Paid, m.Levied = m.Gross+based(day.Gross), m.Paid+based(day.Paid), m.Levied+based(day.Levied)
	m.Held += based(day.Held)
	m.Streamed += based(day.Levied) + based(day.Converted)
	for _, e := range day.Providers {
		for k := range m.Providers {
			if m.Providers[k].Node != e.Node {
				continue
			}
			for _, a := range e.Assets {
				if a.Denom == money.Denom {
					m.Providers[k].Gross, m.Providers[k].Paid = m.Providers[k].Gross+based(a.Gross), m.Providers[k].Paid+based(a.Paid)
				}
			}
		}
	}
}

// based reads an amount of uhpips; the chain writes no other.
func based(text string) money.Amount {
	a, err := money.ParseBase(text)
	if err != nil {
		return 0
	}
	return a
}

// tell shows people where the money went.
func (m demoMoney) tell(w io.Writer, killed string) {
	fmt.Fprint(w, "\nmoney, in HPIPS\tpromised\tearned\tpaid (90 %)\n")
	for _, p := range m.Providers {
		note := ""
		if p.Node == killed {
			note = "\tkilled"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s%s\n", p.Name, p.Promised, p.Gross, p.Paid, note)
	}
	fmt.Fprintf(w, "the requester promised\t%s, and paid %s to who ran results again\nthe providers have\t%s, %s of it held as their bonds\nlevied, and flowing to all holders\t%s\nsupply\t%s\n", m.Promised, m.Juries, m.Paid, m.Held, m.Levied, m.Supply)
}
