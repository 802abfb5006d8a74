// Package syscalls keeps which calls of the kernel sandboxed programs may make, for the engines that hold their programs by seccomp.
// It promises that what is not known to be harmless is refused, calls of another word size and calls younger than this program among it.
// It leaves to each engine which further calls its own programs have no use for, and the installing of the filter.
package syscalls

import "strings"

// Doors are the calls that no sandboxed program of any engine has a use for: other processes' memory, file systems and namespaces, the kernel's larger
// doors, its modules, clocks and keys, devices' ports, files by handle, and what would change the machine for its owner.
var Doors = strings.Fields(`
unshare setns ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise process_mrelease
mount umount2 pivot_root chroot move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick mount_setattr listmount statmount swapon swapoff
bpf perf_event_open io_uring_setup io_uring_enter io_uring_register userfaultfd keyctl add_key request_key
kexec_load kexec_file_load init_module finit_module delete_module create_module reboot acct quotactl quotactl_fd syslog
settimeofday clock_settime adjtimex clock_adjtime iopl ioperm sethostname setdomainname personality modify_ldt
open_by_handle_at name_to_handle_at fanotify_init fanotify_mark lookup_dcookie vhangup uselib nfsservctl _sysctl sync syncfs
sched_setaffinity sched_setscheduler sched_setparam sched_setattr ioprio_set migrate_pages move_pages memfd_secret seccomp`)
