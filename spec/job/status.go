package job

import (
	"fmt"
	"time"
)

// Status is what a person or a program is told about a job; its JSON names are a contract (docs/cli.md).
type Status struct {
	Job        string             `json:"job"`
	Name       string             `json:"name,omitempty"`
	Kind       Kind               `json:"kind"`
	State      State              `json:"state"`
	Tasks      Counts             `json:"tasks"`
	Executions int                `json:"executions"` // that ended, with or without a result that counts
	Verified   int                `json:"verified"`   // tasks whose result was checked by another copy or by the checker
	Nodes      []Share            `json:"nodes"`
	Seconds    float64            `json:"seconds"`           // from submission to the end, or to now
	Result     string             `json:"result"`            // content address, "" until there is one
	Outputs    map[string]Content `json:"outputs,omitempty"` // of a Batch: guest path → what was written there
	ExitCode   int                `json:"exitCode"`
	Error      *Failure           `json:"error,omitempty"`
	Created    time.Time          `json:"created"`
	Odd        []string           `json:"odd,omitempty"`      // nodes whose result differed from the accepted one
	Doubtful   int                `json:"doubtful,omitempty"` // results of a node that was convicted later, which are to be checked
	Wrong      int                `json:"wrong,omitempty"`    // those that were wrong
	Coming     *Coming            `json:"coming,omitempty"`   // while container images are on their way to nodes
}

// Coming tells of container images that are on their way to nodes that are to run them.
type Coming struct {
	Nodes int   `json:"nodes"`
	Bytes int64 `json:"bytes"` // that have come so far, to all of them together
}

// Counts counts tasks of a job, its reduce among them.
type Counts struct {
	Total int `json:"total"`
	Done  int `json:"done"`
	Lost  int `json:"lost"`  // executions that ended with their provider
	Rerun int `json:"rerun"` // tasks that were started again after a loss, a failure or a broken sandbox
}

// Share is one node's part of a job.
type Share struct {
	Node  string  `json:"node"`
	Tasks int     `json:"tasks"` // whose result was taken from this node
	Share float64 `json:"share"` // of all tasks done, 0 … 1
}

// Code names a class of failure for programs; each has one exit code of the command line.
type Code string

// The codes of failures.
const (
	CodeUsage        Code = "usage"        // 125: the command or the specification is wrong
	CodeNotFound     Code = "not-found"    // 125: no such job, file or content
	CodeUnavailable  Code = "unavailable"  // 125: no daemon, or it is busy starting
	CodeProgram      Code = "program"      // 125: the program cannot run: not WASM, no _start
	CodeTrap         Code = "trap"         // 134: the program trapped
	CodeExit         Code = "exit"         // a task ended with another code than 0: that code
	CodeTime         Code = "time-limit"   // 124
	CodeWork         Code = "work-limit"   // 124
	CodeOutput       Code = "output-limit" // 125
	CodeMemory       Code = "memory-limit" // 125
	CodeDisk         Code = "disk-limit"   // 125
	CodeUnplaceable  Code = "unplaceable"  // 122
	CodeFunds        Code = "funds"        // 121
	CodeVerification Code = "verification" // 120
	CodeCancelled    Code = "cancelled"    // 125
	CodeInternal     Code = "internal"     // 125
)

// Failure is an error as people and programs are told: what, and what to do now.
type Failure struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

func (f *Failure) Error() string { return f.Message }

// ExitCode is what the command line exits with for this failure; program is the code that the program itself ended with.
func (f *Failure) ExitCode(program int) int {
	switch f.Code {
	case CodeExit:
		return program
	case CodeTrap:
		return 134
	case CodeTime, CodeWork:
		return 124
	case CodeUnplaceable:
		return 122
	case CodeFunds:
		return 121
	case CodeVerification:
		return 120
	}
	return 125
}

// Event is one line of a job's history.
type Event struct {
	Time  time.Time `json:"time"`
	State State     `json:"state"`
	Text  string    `json:"text"`
}

// Log is what one task said and how it ended.
type Log struct {
	Task    uint64 `json:"task"`
	Node    string `json:"node"`
	End     End    `json:"end"`
	Exit    int    `json:"exit"`
	Message string `json:"message,omitempty"`
	Doubt   string `json:"doubt,omitempty"` // what is wrong with its result, if its provider was convicted later
	Stderr  string `json:"stderr"`
	Usage   Usage  `json:"usage"`
}

// Chunk is a piece of a running task's standard output (FD 1) or error (FD 2).
type Chunk struct {
	Task   uint64 `json:"task"`
	FD     int    `json:"fd"`
	Offset int64  `json:"offset"`
	Data   []byte `json:"data"`
}

// Several is a number of things in a sentence: 1 task, 2 tasks.
func Several[N ~int | ~int64 | ~uint32 | ~uint64](n N, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n) + " " + what
}
