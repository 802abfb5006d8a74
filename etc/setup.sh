#!/usr/bin/env bash
# Installs by apt-get what `make test` and `make bench` need beside Go, git and make, with the word "soak" also what `make soak` needs, and only what is missing. It says
# nothing when all is there.
set -euo pipefail

# A package is there when its command is, or, for a library, when dpkg knows it.
missing=()
need_command() { command -v "$1" >/dev/null || missing+=("$2"); }
need_package() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' || missing+=("$1"); }

need_command gcc gcc       # the race detector links with it
need_command wat2wasm wabt # assembles the small test programs
need_command parallel parallel
need_command clang clang # the example in C
need_command wasm-ld lld
need_command wasm-opt binaryen # the kernels of test/bench
need_command node nodejs # test/cosmjs: a wallet as others write them; with Debian's npm 355 small packages, 23 MB
need_command npm npm
need_command bwrap bubblewrap # native programs are run in its sandboxes
need_command podman podman # images are run in its containers
need_command chromium chromium # test/sdk: pages that fetch from gateways
need_command strace strace # chain/full: what is on the disk when a vote leaves
if [ "${1:-}" = soak ] && [ "$(uname -m)" = x86_64 ]; then # test/vm: a virtual machine, and what makes its system
	need_command qemu-system-x86_64 qemu-system-x86
	need_command mmdebstrap mmdebstrap
	need_command genext2fs genext2fs
fi
if command -v dpkg-query >/dev/null; then
	need_package runc # makes Podman's containers also where control groups are of both versions
	need_package catatonit
	need_package libc6-dev
	need_package wasi-libc
	dpkg-query -W -f '${Status}\n' 'libclang-rt-*dev-wasm32' 2>/dev/null | grep -q 'ok installed' || missing+=(libclang-rt-dev-wasm32)
fi
[ ${#missing[@]} -gt 0 ] || exit 0

give_up() {
	echo "setup: $1" >&2
	echo "setup: please install: ${missing[*]}" >&2
	exit 1
}

command -v apt-get >/dev/null || give_up "no apt-get on this system"
root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || give_up "neither root nor sudo"
	root=(sudo)
fi
echo "setup: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { "${root[@]}" apt-get update -q && "${root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
	tail -20 "$log" >&2
	give_up "apt-get failed, see above"
fi
echo "setup: done"
