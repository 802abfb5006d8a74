package lease

import (
	"fmt"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
)

// Session is the name of the p2p session that carries messages under leases.
const Session = "work-1"

// Work is what all tasks of a lease have in common.
type Work struct {
	Module    string            `cbor:"module"` // content address of the program
	Args      []string          `cbor:"args,omitempty"`
	Env       map[string]string `cbor:"env,omitempty"`
	Inputs    []job.Input       `cbor:"inputs,omitempty"`
	Outputs   []string          `cbor:"outputs,omitempty"` // guest folders that are kept
	Count     uint64            `cbor:"count"`             // HPIPS_COUNT
	Stdin     string            `cbor:"stdin,omitempty"`   // content address
	Live      bool              `cbor:"live,omitempty"`    // standard input comes as Stdin messages
	Stream    bool              `cbor:"stream,omitempty"`  // send standard output and error as they come, besides the result
	Resources job.Resources     `cbor:"resources"`
	Limits    job.Limits        `cbor:"limits"`
	Seed      [32]byte          `cbor:"seed"`
	Reach     []string          `cbor:"reach,omitempty"` // places outside that tasks may call: those of the order
}

// Message is one message under a lease: exactly one of its parts is set.
//
// Life of a lease: the requester sends Begin (again after either side restarted), the provider answers Held; the requester then keeps at most
// the credited number of tasks assigned; the provider sends Results as tasks end. A task that the provider holds is not run
// again when it is assigned again; results without an acknowledgement come again before Held. End, or the end of the term, forgets the lease.
type Message struct {
	Lease   string   `cbor:"lease"`
	Begin   *Begin   `cbor:"begin,omitempty"`   // requester → provider
	Assign  *Assign  `cbor:"assign,omitempty"`  // requester → provider
	Cancel  *Cancel  `cbor:"cancel,omitempty"`  // requester → provider
	Stdin   *Stdin   `cbor:"stdin,omitempty"`   // requester → provider
	End     *End     `cbor:"end,omitempty"`     // requester → provider
	Voucher *Voucher `cbor:"voucher,omitempty"` // requester → provider
	Held    *Held    `cbor:"held,omitempty"`    // provider → requester
	Credit  *Credit  `cbor:"credit,omitempty"`  // provider → requester
	Results *Results `cbor:"results,omitempty"` // provider → requester
	Output  *Output  `cbor:"output,omitempty"`  // provider → requester
	Taken   *Taken   `cbor:"taken,omitempty"`   // provider → requester
	Refused *Refused `cbor:"refused,omitempty"` // provider → requester
	Coming  *Coming  `cbor:"coming,omitempty"`  // provider → requester
}

// Begin opens a lease on the provider, or takes it up again.
type Begin struct {
	Lease Lease  `cbor:"lease"`
	Work  Work   `cbor:"work"`
	Round uint64 `cbor:"round,omitempty"` // another one each time that the requester begins anew; Held repeats it
}

// Assign gives tasks; what is held already is passed over.
type Assign struct {
	Tasks []job.Task `cbor:"tasks"`
}

// Cancel takes tasks back; no results come for them.
type Cancel struct {
	Tasks []uint64 `cbor:"tasks"`
}

// Stdin is a piece of a live standard input.
type Stdin struct {
	Task   uint64 `cbor:"task"`
	Offset int64  `cbor:"offset"`
	Data   []byte `cbor:"data,omitempty"`
	EOF    bool   `cbor:"eof,omitempty"`
}

// End ends a lease: what it still runs is stopped, what it kept is deleted.
type End struct{}

// Held answers Begin: what the provider has of this lease, all of it.
type Held struct {
	Tasks  []uint64 `cbor:"tasks,omitempty"` // waiting and running; finished ones come as Results
	Credit int      `cbor:"credit"`
	Round  uint64   `cbor:"round,omitempty"` // of the Begin that it answers
	Taken  uint64   `cbor:"taken,omitempty"` // see Taken; of leases whose payer wants a jury
}

// Credit says how many tasks of the lease the provider wants to hold, at most; it follows how long the tasks take.
type Credit struct {
	Tasks int `cbor:"tasks"`
}

// Coming says how much of a container image has come to the provider so far, in bytes: once a second at most, where that takes longer. 0: nothing is on its way any more.
type Coming struct {
	Bytes int64 `cbor:"bytes"`
}

// Results tells how executions ended.
type Results struct {
	Results []job.Result `cbor:"results"`
}

// Output is a piece of standard output (FD 1) or error (FD 2) of a streaming task.
type Output struct {
	Task   uint64 `cbor:"task"`
	FD     int    `cbor:"fd"`
	Offset int64  `cbor:"offset"`
	Data   []byte `cbor:"data"`
}

// Refused tells that the lease as a whole does not go on here.
type Refused struct {
	Reason  string `cbor:"reason"`
	Hint    string `cbor:"hint,omitempty"`
	Program bool   `cbor:"program,omitempty"` // the program is at fault: another provider would refuse it too
}

// Encode returns the canonical bytes of m.
func (m Message) Encode() ([]byte, error) { return canon.Encode(m) }

// DecodeMessage reads one message strictly; bytes from outside are limited to MaxMessage.
func DecodeMessage(b []byte) (Message, error) {
	var m Message
	if err := canon.Decode(b, MaxMessage, &m); err != nil {
		return Message{}, err
	}
	if n := m.parts(); n != 1 || m.Lease == "" {
		return Message{}, fmt.Errorf("lease message: %d parts under lease %q: want exactly one", n, m.Lease)
	}
	if v := m.Voucher; v != nil && v.Voucher.Root == [32]byte{} && (v.From != 0 || len(v.Tasks) > 0 || len(v.Answers) > 0) {
		return Message{}, fmt.Errorf("%w: they are named under no root", ErrNames)
	}
	return m, nil
}

func (m Message) parts() int {
	n := 0
	for _, set := range []bool{m.Begin != nil, m.Assign != nil, m.Cancel != nil, m.Stdin != nil, m.End != nil, m.Voucher != nil,
		m.Held != nil, m.Credit != nil, m.Results != nil, m.Output != nil, m.Taken != nil, m.Refused != nil, m.Coming != nil} {
		if set {
			n++
		}
	}
	return n
}
