package vm

// Tests that are the same with any control groups, as they use none.
const groupless = "TestHostile|WithoutGroups|.*/watch-dog"

// slow is for processors made of software, on a PC that does other work.
const slow = "-slow 10 "

// mknod is root's alone.
var mknod = []string{"TestATaskHasItsDevices"}

// held is what a node says of its native programs where control groups hold all their limits, loose where none holds any.
var (
	held  = []string{"native memory limit.*control groups, version 2", "native processes limit.*control groups, version 2", "native processor limit.*control groups, version 2", "cannot write outside +refused"}
	loose = []string{"native memory limit.*kept by a watch-dog, which is looser.*Delegate=yes", "native processes limit.*a resource limit", "native processor limit.*the number of processors"}
)

// all are the steps, in their order.
var all = []step{
	{name: "cgroup-root", as: "root", room: "cgroup", args: "-version 2"},
	{name: "cgroup-bare", as: "bare", room: "cgroup", args: "-version 0", skips: live},
	{name: "cgroup-service", as: "service", room: "cgroup", args: "-version 2"},
	{name: "cgroup-plain", as: "plain", room: "cgroup", args: "-version 0", skips: live},
	{name: "cgroup-terminal", as: "terminal", room: "cgroup", args: "-version 2"},
	{name: "cgroup-session", as: "session", room: "cgroup", args: "-version 0", skips: live},
	{name: "process-service", as: "service", room: "process", args: slow + "-test.skip '" + groupless + "'", skips: mknod},
	{name: "doctor-terminal", as: "doctor", cmd: "terminal false", wants: held},
	{name: "doctor-session", as: "doctor", cmd: "session false", wants: loose},
	{name: "doctor-bare", as: "doctor", cmd: "bare false", wants: []string{"native .*runs as root and can make no control groups.*systemd keeps", "as a service with Delegate=yes"}},
	{name: "doctor-plain", as: "doctor", cmd: "plain false", wants: loose},
	{name: "doctor-service", as: "doctor", cmd: "service false", wants: held},
	{name: "process-root", as: "root", room: "process", args: slow + "-test.skip '" + groupless + "'"},
	{name: "hostile-service", as: "service", room: "process", args: slow + "-test.run TestHostile/groups"},
	{name: "process-session", as: "session", room: "process", args: slow + "-test.skip '" + groupless + "'", skips: mknod},
	{name: "hostile-session", as: "session", room: "process", args: slow + "-test.short -test.run TestHostile/groups"},
	{name: "hostile-root", as: "root", room: "process", args: slow + "-test.run TestHostile/groups"},
	{name: "doctor-root", as: "doctor", cmd: "root true", wants: append([]string{"container memory limit.*control groups"}, held...)},
}

// live are the tests that need groups.
var live = []string{"Test(LimitOf.*|Freeze|AStrangersGroup|TheDeadLeaveNoGroups)"}
