package vm

// Tests that are the same with any control groups, as they use none.
const groupless = "TestHostile|WithoutGroups|.*/watch-dog"

// mknod is root's alone.
var mknod = []string{"TestATaskHasItsDevices"}

// held and loose are what a node says of its native programs where control groups hold all their limits, and where none holds any.
var (
	held  = []string{"native memory limit.*control groups, version 2", "native processes limit.*control groups, version 2", "native processor limit.*control groups, version 2"}
	loose = []string{"native memory limit.*kept by a watch-dog, which is looser.*Delegate=yes", "native processes limit.*a resource limit", "native processor limit.*the number of processors"}
)

// all are the steps, in their order.
var all = []step{
	{name: "cgroup-root", as: "root", room: "cgroup", args: "-version 2"},
	{name: "cgroup-service", as: "service", room: "cgroup", args: "-version 2"},
	{name: "cgroup-terminal", as: "terminal", room: "cgroup", args: "-version 2"},
	{name: "cgroup-bare", as: "bare", room: "cgroup", args: "-version 2"},
	{name: "cgroup-session", as: "session", room: "cgroup", args: "-version 0", skips: []string{"Test.*"}},
	{name: "doctor-root", as: "doctor", cmd: "root", wants: held},
	{name: "doctor-service", as: "doctor", cmd: "service", wants: held},
	{name: "doctor-terminal", as: "doctor", cmd: "terminal", wants: held},
	{name: "doctor-session", as: "doctor", cmd: "session", wants: loose},
	{name: "process-root", as: "root", room: "process", args: "-test.skip '" + groupless + "'"},
	{name: "process-service", as: "service", room: "process", args: "-test.skip '" + groupless + "'", skips: mknod},
	{name: "process-terminal", as: "terminal", room: "process", args: "-test.skip '" + groupless + "|TestLate'", skips: mknod},
	{name: "process-session", as: "session", room: "process", args: "-test.skip '" + groupless + "'", skips: mknod},
	{name: "hostile-root", as: "root", room: "process", args: "-test.run TestHostile/groups"},
	{name: "hostile-service", as: "service", room: "process", args: "-test.run TestHostile/groups"},
	{name: "hostile-session", as: "session", room: "process", args: "-test.run TestHostile/groups"},
}
