package wasm

// Check is one layer of the sandbox as it really is on this machine, found by trying it in a child.
type Check struct {
	_ struct{} `cbor:",toarray"`
	// Name is the layer: "landlock", "seccomp", "limits", "no-new-privs", "die-with-parent", "compiler".
	Name string
	// OK says that the layer holds.
	OK bool
	// Detail says what was seen; for a layer that does not hold, also what that means and what to do.
	Detail string
}

// reach is what a child may touch on the host, and how much of the machine it may take.
type reach struct {
	read    []string // files and folders
	write   string   // a folder; "" is none
	file    int64    // bytes of the largest file
	memory  int64    // bytes of addresses beyond what the process starts with
	seconds uint64   // of processor time; 0 is no limit
	nice    int
}

// reserve is what a child may take beyond the program's own memory and what its module needs: tables, calls, and the Go runtime.
const reserve = 1 << 30

// perModule is how many bytes a child may take for each byte of its module: decoded, compiled, mapped.
const perModule = 24
