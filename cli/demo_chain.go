package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/money"
)

// The demo's chain runs faster than a development network's, so that its committee turns over while people watch.
const (
	demoHeartbeat = time.Second
	demoEpoch     = 10 // blocks
	demoDay       = 15 * time.Second
	turnWithin    = 2 * time.Minute
)

// demoTerm is who sat in one epoch, by the names of the nodes in the demo.
type demoTerm struct {
	Epoch  uint64   `json:"epoch"`
	Height int64    `json:"height"`
	Seats  []string `json:"seats"`
}

// demoChain is what the demo tells of its chain.
type demoChain struct {
	ID         string     `json:"chainId"`
	Height     int64      `json:"height"`
	Killed     int64      `json:"heightAtKill"` // the chain went on from there
	Seated     bool       `json:"killedWithSeat"`
	Committees []demoTerm `json:"committees"`
	Different  int        `json:"different"` // committees
	Entered    []string   `json:"entered"`   // who drew a seat and did not sit in the beginning
}

// found makes the chain of the demo's nodes: the providers hold its four seats, the requester follows.
func (n *network) found(providers int) error {
	f := node.Founding{Ring: n.ring(), Seats: providers, Rich: providers, Heartbeat: demoHeartbeat, EpochBlocks: demoEpoch, Day: demoDay}
	for k := range providers {
		f.Homes = append(f.Homes, filepath.Join(n.dir, providerName(k)))
	}
	f.Homes = append(f.Homes, filepath.Join(n.dir, requesterName))
	for _, home := range f.Homes {
		if err := os.MkdirAll(home, 0o700); err != nil {
			return err
		}
	}
	return node.Found(f)
}

const requesterName = "requester"

func providerName(k int) string { return fmt.Sprintf("provider-%d", k+1) }

// ring is the folder with the keys of the demo's owner.
func (n *network) ring() string { return filepath.Join(n.dir, requesterName, "keys") }

// chronicle writes down who sits, while it pays a little back and forth so that there are blocks.
type chronicle struct {
	d      *demo
	ledger *ledger.Ledger
	stop   context.CancelFunc
	over   sync.WaitGroup

	mu    sync.Mutex
	chain demoChain
	err   error
}

// chronicle begins one.
func (d *demo) chronicle(ctx context.Context) (*chronicle, error) {
	address, err := os.ReadFile(filepath.Join(d.net.requester().home, node.ChainAddressFile))
	if err != nil {
		return nil, err
	}
	c := &chronicle{d: d}
	if c.ledger, err = ledger.Open(strings.TrimSpace(string(address)), ledger.Default()); err != nil {
		return nil, err
	}
	ctx, c.stop = context.WithCancel(ctx)
	c.over.Go(func() { c.watch(ctx) })
	c.over.Go(func() {
		if err := c.live(ctx); err != nil && ctx.Err() == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.err = err
		}
	})
	return c, nil
}

// close ends it. It may be repeated.
func (c *chronicle) close() {
	c.stop()
	c.over.Wait()
	_ = c.ledger.Close()
}

// live lets the requester register, so that five nodes draw for four seats, and then makes payments.
func (c *chronicle) live(ctx context.Context) error {
	ring, err := ledger.OpenKeys(c.d.net.ring(), ledger.StoreTest, nil)
	if err != nil {
		return err
	}
	owner, err := ring.Signer("")
	if err != nil {
		return err
	}
	if err := c.register(ctx, owner); err != nil {
		return fmt.Errorf("the requester cannot register on the chain: %w", err)
	}
	spend, err := node.LoadSpendKey(c.d.net.requester().home)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		pay, err := ledger.Pay(owner.Address(), spend.Address(), money.Amount(1))
		if err != nil {
			return err
		}
		if _, err := c.ledger.Send(ctx, owner, pay); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// register asks the requester for its registration, signs it as its owner, and hands it back; one of the providers carries it in.
func (c *chronicle) register(ctx context.Context, owner *ledger.Holder) error {
	api, err := client.Open(c.d.net.requester().home)
	if err != nil {
		return err
	}
	defer api.Close()
	e, err := api.Registration(ctx, owner.Address())
	if err != nil {
		return err
	}
	if e.OwnerKey, e.Owner, err = ledger.SignWord(owner, e.Signed); err != nil {
		return err
	}
	_, err = api.Register(ctx, e)
	return err
}

// watch writes down each epoch's committee.
func (c *chronicle) watch(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := c.ledger.Status(ctx)
		var who ledger.Committee
		if err == nil {
			who, err = c.ledger.Committee(ctx)
		}
		if err == nil {
			c.note(st, who)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c *chronicle) note(st ledger.Status, who ledger.Committee) {
	var seats []string
	for _, s := range who.Seats {
		seats = append(seats, c.d.net.name(s.Node))
	}
	slices.Sort(seats)
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &c.chain
	t.ID, t.Height = st.ChainID, st.Height
	if k := len(t.Committees); k > 0 && slices.Equal(t.Committees[k-1].Seats, seats) && t.Committees[k-1].Epoch == who.Epoch {
		return
	}
	t.Committees = append(t.Committees, demoTerm{Epoch: who.Epoch, Height: st.Height, Seats: seats})
	different := map[string]bool{}
	for _, one := range t.Committees {
		different[strings.Join(one.Seats, " ")] = true
	}
	t.Different = len(different)
	for _, name := range seats {
		if !slices.Contains(t.Committees[0].Seats, name) && !slices.Contains(t.Entered, name) {
			t.Entered = append(t.Entered, name)
		}
	}
}

// name is what the demo calls a node.
func (n *network) name(id string) string {
	for _, p := range n.nodes {
		if p.status.Node == id {
			return filepath.Base(p.home)
		}
	}
	return id
}

// lost notes that a node was killed.
func (c *chronicle) lost(id string) {
	name := c.d.net.name(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &c.chain
	t.Killed = t.Height
	if k := len(t.Committees); k > 0 {
		t.Seated = slices.Contains(t.Committees[k-1].Seats, name)
	}
}

// soFar is what has been seen.
func (c *chronicle) soFar() (demoChain, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.chain
	t.Committees, t.Entered = slices.Clone(t.Committees), slices.Clone(t.Entered)
	return t, c.err
}

// end waits until somebody has drawn a seat who had none and the chain has gone on after the loss of a seat, then tells.
func (c *chronicle) end(ctx context.Context) (demoChain, error) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	late := time.After(turnWithin)
	for {
		t, err := c.soFar()
		switch {
		case err != nil:
			return t, err
		case len(t.Entered) > 0 && t.Height > t.Killed+demoEpoch:
			return t, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return t, ctx.Err()
		case <-late:
			if len(t.Entered) == 0 {
				return t, demoFailed(fmt.Sprintf("nobody has drawn a seat who had none by block %d", t.Height))
			}
			return t, demoFailed(fmt.Sprintf("with one of four seats lost the chain stands at block %d", t.Height))
		}
	}
}

// tell shows people how the committee turned over.
func (t demoChain) tell(w io.Writer) {
	fmt.Fprintf(w, "\nThe chain %s made %d blocks meanwhile. Five nodes draw for its four seats; in each epoch of %d blocks a seat may go to a new draw.\n", t.ID, t.Height, demoEpoch)
	if t.Seated {
		fmt.Fprintf(w, "A provider was killed with its seat at block %d: the other three went on, and the seat is given away once it has missed enough.\n", t.Killed)
	}
	fmt.Fprintf(w, "Who had no seat and drew one: %s.\n", strings.Join(t.Entered, ", "))
	fmt.Fprint(w, "epoch\tfrom block\tseats\n")
	last := ""
	for _, one := range t.Committees {
		if seats := strings.Join(one.Seats, " "); seats != last {
			fmt.Fprintf(w, "%d\t%d\t%s\n", one.Epoch, one.Height, seats)
			last = seats
		}
	}
}
