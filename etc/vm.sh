#!/usr/bin/env bash
# The parts of the virtual machine of test/vm.
#
#   etc/vm.sh system            makes its system, a Debian with its own kernel, systemd and a user alice, of packages from the mirrors that apt knows here, and prints the folder
#                               with kernel, initrd and root.img. The folder is kept in ~/.cache/hpips-test/vm and made anew when what it is made of has changed.
#   etc/vm.sh disk FOLDER FILE  makes the file of a disk that holds a folder and has room for 8 GiB
#
# Where something is missing it says what to install and ends with 69 (sysexits(3), EX_UNAVAILABLE). No rights of root are needed where users may make namespaces.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

if [ "$(uname -m)" != x86_64 ]; then
	echo "vm: the virtual machine is one of x86_64, and this is $(uname -m)" >&2
	exit 69
fi
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need qemu-system-x86_64 qemu-system-x86
need mmdebstrap mmdebstrap
need genext2fs genext2fs
need mkfs.ext4 e2fsprogs
if [ ${#missing[@]} -gt 0 ]; then
	echo "vm: please install: ${missing[*]}" >&2
	exit 69
fi

if [ "${1:-}" = disk ] && [ $# -eq 3 ]; then
	exec mkfs.ext4 -q -d "$2" "$3" 8G
elif [ "${1:-}" != system ]; then
	sed -n '2,/^#$/d; /^#   /p' "$0" >&2
	exit 64
fi

suite=bookworm
packages=(
	linux-image-amd64 systemd-sysv dbus dbus-user-session libpam-systemd procps # what any desktop has below its windows
	bubblewrap                                                                   # native programs
	podman crun runc catatonit uidmap slirp4netns fuse-overlayfs                 # containers
	wabt                                                                         # assembles the test programs of WASM
)

# What the Debian does when it has started: the steps of the test, which tell on the second serial line, and then it ends.
unit='[Unit]
Description=Steps of a test
After=multi-user.target user@1000.service
RequiresMountsFor=/work
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
ExecStart=/bin/sh /work/steps
StandardOutput=file:/dev/ttyS1
StandardError=inherit
TimeoutStartSec=infinity
[Install]
WantedBy=graphical.target
'

# What is done to its files: alice is there, and her services are without her; the second disk is at /work.
hooks=(
	'chroot "$1" useradd --create-home --uid 1000 --shell /bin/bash alice'
	'mkdir -p "$1/work" "$1/var/lib/systemd/linger" && touch "$1/var/lib/systemd/linger/alice"'
	'echo "/dev/vdb /work ext4 defaults 0 0" >"$1/etc/fstab" && echo debian >"$1/etc/hostname"'
	"printf '%s' '$unit' >\"\$1/etc/systemd/system/hpips-steps.service\" && chroot \"\$1\" systemctl enable hpips-steps"
	'chroot "$1" systemctl mask serial-getty@ttyS0 apt-daily.timer apt-daily-upgrade.timer'
)

sum=$(declare -p suite packages hooks | sha256sum)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/hpips-test/vm/${sum:0:16}
mkdir -p "$dir"
exec 9>"$dir.lock"
flock 9 # two tests at once make one system
if [ ! -e "$dir/root.img" ]; then
	options=()
	for hook in "${hooks[@]}" "cat \"\$1\"/boot/vmlinuz-* >'$dir/kernel' && cat \"\$1\"/boot/initrd.img-* >'$dir/initrd' && rm -r \"\$1\"/boot/*"; do
		options+=(--customize-hook="$hook")
	done
	for what in doc man locale; do
		options+=(--dpkgopt="path-exclude=/usr/share/$what/*")
	done
	sources=()
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
		[ ! -s "$f" ] || sources+=("$f")
	done
	include=$(IFS=,; echo "${packages[*]}")
	if ! mmdebstrap --variant=essential --include="$include" --aptopt='Acquire::Languages "none"' "${options[@]}" --format=ext2 "$suite" "$dir/root.new" "${sources[@]}" \
		>"$dir/log" 2>&1 </dev/null; then
		tail -20 "$dir/log" >&2
		echo "vm: the system was not made, see above and $dir/log" >&2
		exit 1
	fi
	mv "$dir/root.new" "$dir/root.img"
fi
echo "$dir"
