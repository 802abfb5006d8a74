#!/usr/bin/env bash
# Builds examples/NAME/NAME.wasm. Go is always at hand; an example in another language is left out, with one line
# that says so, where its tool is missing.
set -euo pipefail
cd "$(dirname "$0")/../examples"
GO=${GO:-go}

# stale OUTPUT SOURCE...: true if the output is missing or older than a source.
stale() {
	local out=$1 src
	shift
	[ -f "$out" ] || return 0
	for src in "$@"; do [ "$src" -nt "$out" ] && return 0; done
	return 1
}

left_out() { echo "examples: $1 is left out: $2" >&2; }

go_example() {
	GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 "$GO" build -buildvcs=false -trimpath -ldflags "-s -w" -o "$1/$1.wasm" "./$1"
}

wat_example() {
	stale "$1/$1.wasm" "$1/$1.wat" || return 0
	command -v wat2wasm >/dev/null || { left_out "$1" "no wat2wasm (Debian: wabt)"; return 0; }
	wat2wasm -o "$1/$1.wasm" "$1/$1.wat"
}

c_example() {
	stale hello-c/hello-c.wasm hello-c/hello.c || return 0
	local here
	here=$(mktemp -d)
	# The smallest program tells whether compiler, linker, C library and run-time are all there.
	echo 'int main(void) { return 0; }' >"$here/a.c"
	if ! clang --target=wasm32-wasi -o "$here/a.wasm" "$here/a.c" 2>/dev/null; then
		rm -r "$here"
		left_out hello-c "no clang for wasm32-wasi (Debian: clang lld wasi-libc libclang-rt-dev-wasm32)"
		return 0
	fi
	rm -r "$here"
	clang --target=wasm32-wasi -O2 -Wall -Wextra -s -o hello-c/hello-c.wasm hello-c/hello.c
}

rust_example() {
	stale hello-rust/hello-rust.wasm hello-rust/hello.rs || return 0
	local rustc sysroot target linker
	export RUSTUP_AUTO_INSTALL=0 # rustup's rustc may be there without a toolchain: to look is not to fetch one
	for rustc in rustc /usr/bin/rustc; do
		sysroot=$("$rustc" --print sysroot 2>/dev/null) || continue
		for target in wasm32-wasip1 wasm32-wasi; do
			ls "$sysroot/lib/rustlib/$target/lib"/libstd-* >/dev/null 2>&1 || continue
			for linker in rust-lld wasm-ld; do # rustup brings its own linker, Debian's is lld's
				"$rustc" --edition 2021 --target "$target" -C opt-level=2 -C strip=symbols -C linker="$linker" \
					-o hello-rust/hello-rust.wasm hello-rust/hello.rs 2>/dev/null && return 0
			done
		done
	done
	left_out hello-rust "no rustc with a WASI target (rustup target add wasm32-wasip1; Debian: rustc libstd-rust-dev-wasm32 lld)"
}

assemblyscript_example() {
	stale hello-as/hello-as.wasm hello-as/hello.ts hello-as/asconfig.json hello-as/package-lock.json || return 0
	command -v node >/dev/null && command -v npm >/dev/null || { left_out hello-as "no Node.js with npm"; return 0; }
	(
		cd hello-as
		if stale node_modules/.package-lock.json package-lock.json; then
			npm ci --no-fund --no-audit --loglevel=error >/dev/null 2>&1 || exit 9
			touch node_modules/.package-lock.json
		fi
	) || { left_out hello-as "npm could not install the AssemblyScript compiler (npm ci in examples/hello-as says why)"; return 0; }
	(cd hello-as && node_modules/.bin/asc --config asconfig.json -o hello-as.wasm)
}

for name in concordance render primes hello; do go_example "$name"; done
[ ! -f tiny/tiny.wat ] || wat_example tiny
c_example
rust_example
assemblyscript_example
