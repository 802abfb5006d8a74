package enginetest

import "github.com/hpips/hpips/engine"

// The ways in which cases end.
var (
	timed  = []engine.End{engine.TimedOut}
	memory = []engine.End{engine.MemoryFull}
	disk   = []engine.End{engine.DiskFull}
	output = []engine.End{engine.OutputFull}
	trap   = []engine.End{engine.Trapped}
	some   = []engine.End{engine.Exited, engine.TimedOut, engine.MemoryFull, engine.DiskFull, engine.Trapped} // whatever stops it first
)

// rows makes cases of one class that end alike.
func rows(class string, ends []engine.End, acts ...string) []Case {
	list := make([]Case, 0, len(acts))
	for _, act := range acts {
		list = append(list, Case{Class: class, Act: act, Ends: ends})
	}
	return list
}

// loosely says how cases end where no control group counts.
func loosely(list []Case, ends ...engine.End) []Case {
	for i := range list {
		list[i].Loose = ends
	}
	return list
}

func table(parts ...[]Case) (all []Case) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// Native are the cases for engines that run native programs; testdata/hostile is the program. Its first argument is the act, the second a token by which its
// processes are known.
func Native() []Case {
	return table(processes, memories, disks, outputs, names, walls, doors, networks, deaths)
}

var processes = table(
	rows("processes", []engine.End{engine.TimedOut, engine.MemoryFull, engine.Exited, engine.Trapped}, "fork bomb", "threads"), // its own first process may fail to go on
	[]Case{{Class: "processes", Act: "fork bomb without programs", Ends: []engine.End{engine.TimedOut, engine.MemoryFull, engine.Exited}, Bound: true}},
	rows("processes", nil, "zombies", "stay behind", "stay behind, stopped", "stay behind, quietly", "another parent", "run from memory"),
	rows("processes", nil, "signal the node", "kill the first process", "kill all", "kill by a handle"),
	rows("processor", timed, "spin", "spin on all processors", "spin in the kernel", "spin as many", "ignore signals", "stop itself", "sleep", "exec for ever", "wait for a child that never ends", "leave its session", "yield for ever", "signal itself for ever"),
	rows("processor", nil, "affinity", "real time", "disk first", "priority", "autogroup"),
)

var memories = table(
	rows("memory", memory, "heap", "many small", "by brk", "stack", "moved and grown", "by copies"),
	rows("memory", memory, "shared and nameless", "shared by two names of zero"),
	rows("memory", []engine.End{engine.MemoryFull, engine.TimedOut}, "of many"),
	// Without a control group calls that make memory which belongs to no process are refused.
	loosely(rows("memory", memory, "in files of memory", "of System V"), engine.Exited),
	rows("memory", some, "in pipes", "in sockets", "in page tables", "in timers", "in watches", "in locks", "in descriptors in flight", "of files that are read"),
	rows("memory", nil, "locked", "in queues of messages", "huge pages", "poisoned", "merged", "oom score"),
)

var disks = table(
	rows("disk", disk, "fill the disk", "fill /tmp", "fill /dev/shm", "one large file", "fill the disk, hidden", "nameless files", "fill a shut folder", "many sparse files"),
	rows("inodes", []engine.End{engine.DiskFull, engine.TimedOut}, "fill the inodes", "folders without end", "links without end", "pipes without end", "names for one file"),
	rows("disk", []engine.End{engine.DiskFull, engine.Exited}, "a sparse file", "room for a terabyte"),
	rows("disk", nil, "fill the root", "fill /run", "fill /dev", "attributes", "a file that stays"),
	rows("names", disk, "deep folders", "long names"),
	rows("names", nil, "shut folders", "strange names", "strange times", "links in a circle", "strange files", "sockets and pipes", "rights of another", "sticky folders"),
)

var outputs = table(
	rows("output", output, "endless output", "endless complaints", "both", "by sendfile", "by splice"),
	rows("output", []engine.End{engine.OutputFull, engine.TimedOut}, "byte by byte"),
	rows("output", nil, "a larger pipe", "without its output", "keep the pipes"),
	rows("output", timed, "read its own output"),
)

var names = table(
	rows("escape by names", nil, "climb from /out", "climb from /in", "climb from /tmp", "climb from /usr", "climb from its folder", "the canary", "links of its inputs", "links out", "links out of links"),
	rows("escape by names", nil, "hard links", "hard links to what is open", "move the output away", "move an input", "out of a shut room", "files by handle", "name of a handle", "watch all"),
	rows("escape by names", timed, "change names while it is watched", "change folders while they are watched"),
	rows("what is given", nil, "its input", "an input, anew", "its program", "its rights", "its standard input", "open files"),
	rows("the host's files", nil, "/root", "/home", "/etc", "/var", "/sys", "/boot", "/run", "the root", "other systems"),
	rows("/proc", nil, "root of the first process", "folder of the first process", "memory of the first process", "files of the first process", "maps of the first process", "what the first process was started with", "its own root", "other processes", "the host's process",
		"the kernel's memory", "the kernel's log", "the host's sockets by name"),
	rows("/proc", nil, "core_pattern", "modprobe", "drop_caches", "sysrq", "hostname", "forwarding", "overcommit", "sysrq-trigger", "uid_map", "gid_map", "setgroups", "irq", "timerslack", "a core's filter"),
)

var walls = table(
	rows("devices", nil, "nodes of memory", "nodes of the disk", "nodes of the log", "a node of null", "more in /dev", "a new one in /dev", "terminals", "virtual machines", "file systems by programs", "tunnels", "loops", "video"),
	rows("root", nil, "setuid", "setgid", "setgroups as root", "setresuid", "chown", "capset", "ambient capabilities", "new privileges", "secure bits", "programs of root", "capabilities in files", "its state"),
	rows("mount", nil, "mount", "bind", "remount", "unmount", "pivot_root", "chroot", "open_tree", "fsopen", "fsmount", "fspick", "fsconfig", "move_mount", "mount_setattr", "statmount", "a file under /usr"),
	rows("namespaces", nil, "unshare user", "unshare mount", "unshare network", "unshare pid", "unshare ipc", "unshare uts", "unshare cgroup", "clone user", "clone mount", "clone network", "clone pid", "clone3", "setns", "user by a program"),
)

var doors = table(
	rows("trace", nil, "ptrace attach", "ptrace seize", "ptrace traceme", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise"),
	rows("kernel", nil, "bpf map", "bpf program", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "seccomp", "memfd_secret", "personality", "another word size", "x32", "calls without a name"),
	rows("keys", nil, "keyctl", "add_key", "request_key"),
	rows("modules", nil, "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot"),
	rows("clock", nil, "settimeofday", "clock_settime", "adjtimex", "clock_adjtime"),
	rows("the machine", nil, "sethostname", "setdomainname", "swapon", "swapoff", "syslog", "acct", "sync", "syncfs", "quotactl", "vhangup", "ports of devices", "segments", "migrate_pages", "move_pages"),
	rows("the terminal", nil, "type for the owner", "the owner's terminal"),
	rows("limits", nil, "larger cores", "larger files", "more files", "more locked memory", "limits of the node", "more open files than allowed"),
)

var networks = table(
	rows("sockets", nil, "raw", "raw, version 6", "packets", "vsock", "the kernel's ciphers", "audit", "netfilter", "events of devices", "generic netlink", "xdp", "bluetooth", "can", "rds", "tipc", "sctp", "dccp", "mptcp"),
	rows("network", nil, "loopback by TCP", "loopback by TCP 6", "loopback by UDP", "the PC's neighbours", "the cloud's secrets", "the internet", "many at once", "names", "devices", "a new device", "a new address"),
	rows("network", nil, "an abstract socket", "a socket in the house", "the system bus", "the container engine"),
)

var deaths = table(
	rows("cores", trap, "a core", "SIGABRT", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGXCPU"),
)
