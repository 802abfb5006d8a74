// Package job keeps the words of work: what was asked (Spec), its life (State), the unit for one machine (Task) and what came of it (Result).
// It promises strict reading: a specification is taken as a whole or refused with the line, the field and a remedy, and equal results have equal digests.
// It leaves carrying a job out to the requester and the provider, and the terms between them to package lease.
package job

// APIVersion is the only version of the specification that this program reads and writes.
const APIVersion = "hpips/v1"

// Kind is the shape of a job.
type Kind string

// The kinds of hpips/v1. A kind without an engine in this version is refused by Check.
const (
	Batch   Kind = "Batch" // one task
	Map     Kind = "Map"   // many tasks over parts of an input, with an optional reduce
	MPI     Kind = "MPI"
	Ray     Kind = "Ray"
	Service Kind = "Service"
	Boinc   Kind = "Boinc"
	Pin     Kind = "Pin"
)

// Spec is what was asked. Names and defaults: README.md beside this file.
type Spec struct {
	APIVersion string    `json:"apiVersion,omitempty" cbor:"apiVersion,omitempty"`
	Kind       Kind      `json:"kind" cbor:"kind"`
	Name       string    `json:"name,omitempty" cbor:"name,omitempty"`
	Run        Run       `json:"run" cbor:"run"`
	Stdin      string    `json:"stdin,omitempty" cbor:"stdin,omitempty"` // content address of the standard input
	Inputs     []Input   `json:"inputs,omitempty" cbor:"inputs,omitempty"`
	Outputs    []Output  `json:"outputs,omitempty" cbor:"outputs,omitempty"`
	Over       *Over     `json:"over,omitempty" cbor:"over,omitempty"`
	Reduce     *Reduce   `json:"reduce,omitempty" cbor:"reduce,omitempty"`
	Resources  Resources `json:"resources" cbor:"resources"`
	Limits     Limits    `json:"limits" cbor:"limits"`
	Retries    int       `json:"retries,omitempty" cbor:"retries,omitempty"` // attempts after a lost or broken execution are free; these are for failed ones
	Verify     Verify    `json:"verify" cbor:"verify"`
	Parallel   int       `json:"parallel,omitempty" cbor:"parallel,omitempty"` // tasks at once at most; 0 = as many as there are slots
	Network    string    `json:"network,omitempty" cbor:"network,omitempty"`
	Reach      []string  `json:"reach,omitempty" cbor:"reach,omitempty"`   // places outside that tasks may call, see Reach
	Where      []string  `json:"where,omitempty" cbor:"where,omitempty"`   // what a node has to be, such as "region in (eu,us)"
	Prefer     []string  `json:"prefer,omitempty" cbor:"prefer,omitempty"` // what is chosen by among those that offer, the first word first
}

// Run is the program of a task: exactly one of its engines is set.
type Run struct {
	WASM   string            `json:"wasm,omitempty" cbor:"wasm,omitempty"`     // content address of a WASI module
	Image  string            `json:"image,omitempty" cbor:"image,omitempty"`   // content address of a container image: an OCI image layout
	Native string            `json:"native,omitempty" cbor:"native,omitempty"` // content address of a program for Linux
	Args   []string          `json:"args,omitempty" cbor:"args,omitempty"`
	Env    map[string]string `json:"env,omitempty" cbor:"env,omitempty"`
}

// Input is content that every task sees, read-only, at an absolute guest path.
type Input struct {
	From string `json:"from" cbor:"from"`
	To   string `json:"to" cbor:"to"`
}

// Output is a guest folder that tasks may write and that is kept. To is empty or "ipfs": the content goes to the requester's store.
type Output struct {
	Path string `json:"path" cbor:"path"`
	To   string `json:"to,omitempty" cbor:"to,omitempty"`
}

// Over says what a Map ranges over: exactly one of From (with a split), Count and Matrix.
type Over struct {
	From   string     `json:"from,omitempty" cbor:"from,omitempty"`
	Split  string     `json:"split,omitempty" cbor:"split,omitempty"` // file | bytes:N | lines:N | parts:N
	Count  int        `json:"count,omitempty" cbor:"count,omitempty"`
	Matrix OrderedMap `json:"matrix,omitempty" cbor:"matrix,omitempty"`
}

// Reduce is the task that sees all parts, sorted by index, under /in; its standard output is the job's result.
type Reduce struct {
	Run Run `json:"run" cbor:"run"`
}

// Resources is what one task needs.
type Resources struct {
	CPU    int  `json:"cpu,omitempty" cbor:"cpu,omitempty"` // cores
	Memory Size `json:"memory,omitempty" cbor:"memory,omitempty"`
	Disk   Size `json:"disk,omitempty" cbor:"disk,omitempty"`
	GPU    GPU  `json:"gpu,omitzero" cbor:"gpu,omitzero"`
}

// Limits end what takes too much.
type Limits struct {
	Time   Duration `json:"time,omitempty" cbor:"time,omitempty"`     // of one task's execution
	Queue  Duration `json:"queue,omitempty" cbor:"queue,omitempty"`   // without any provider before the job fails
	Output Size     `json:"output,omitempty" cbor:"output,omitempty"` // standard output and error of one task
	Work   int64    `json:"work,omitempty" cbor:"work,omitempty"`     // instructions of one task, as spec/meter counts them; 0 is no limit
	Price  string   `json:"price,omitempty" cbor:"price,omitempty"`   // ceiling for the job, "0.50 HPIPS"
	Hour   string   `json:"hour,omitempty" cbor:"hour,omitempty"`     // ceiling for an hour of one task
}

// State is where a job is; the words are the rooms' names.
type State string

// The life of a job: pending → planned → leased → running → verifying → settled, or failed, or cancelled.
const (
	Pending   State = "pending"
	Planned   State = "planned"
	Leased    State = "leased"
	Running   State = "running"
	Verifying State = "verifying"
	Settled   State = "settled"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Final reports whether the job is over.
func (s State) Final() bool { return s == Settled || s == Failed || s == Cancelled }
