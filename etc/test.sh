#!/usr/bin/env bash
# All tests, quick ones first; stops at the first step that fails and ends with a summary of the steps.
set -uo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
export GOFLAGS="-buildvcs=false -trimpath" HPIPS_BIN=$PWD/bin/hpips

# Rooms in which several goroutines share state: their tests run under the race detector.
racy='p2p|seat|requester|provider|auditor|engine|store|node|market|verify|api'

summary=()
began=$SECONDS
finish() {
	echo
	echo "== $1 after $((SECONDS - began)) s"
	printf '   %s\n' "${summary[@]}"
}

# step NAME COMMAND...: runs a step and notes its time.
step() {
	local name=$1 start=$SECONDS
	shift
	echo "== $name"
	if "$@"; then
		summary+=("$(printf 'ok    %5d s  %s' $((SECONDS - start)) "$name")")
		return
	fi
	summary+=("$(printf 'FAIL  %5d s  %s' $((SECONDS - start)) "$name")")
	finish "tests FAILED"
	exit 1
}

packages() { # packages [-v] PATTERN: those whose path below the module matches, or does not
	"$GO" list ./... | grep -E "${@:1:$#-1}" -- "^github.com/hpips/hpips/(${*: -1})(/|\$)"
}

go_test() { # go_test TIMEOUT FLAGS... -- PACKAGES...
	[ "${*: -1}" != "--" ] || return 0
	local flags=() limit=$1
	shift
	while [ "$1" != "--" ]; do flags+=("$1") && shift; done
	shift
	"$GO" test -p "${at_once:-2}" -timeout "$limit" "${flags[@]}" "$@"
}

# The tests of an example that was left out are skipped; what the set-up has a compiler for may not be.
examples_built() {
	local name
	for name in concordance render primes hello tiny hello-c hello-as; do
		[ -s "examples/$name/$name.wasm" ] || { echo "examples/$name/$name.wasm is not built" >&2 && return 1; }
	done
}

other_system() { GOOS=$1 CGO_ENABLED=0 "$GO" build ./...; }

step "set-up" etc/setup.sh
step "build" make build
step "examples are built" examples_built
step "vet" "$GO" vet ./...
step "house rules" go_test 5m -- .
step "unit tests" go_test 10m -- $(packages -v "$racy|test")
step "a seat that lies" go_test 10m -count=1 -tags equivocate -run TestALiarLosesItsSeat -- ./chain/full
step "lint" make lint
CGO_ENABLED=1 step "unit tests with the race detector" go_test 15m -race -- $(packages "$racy")
CGO_ENABLED=1 step "a Ledger device made of software" go_test 10m -count=1 -race -tags "ledger test_ledger_mock" -run TestADevice -- ./ledger
step "content over 50 ms of delay" go_test 5m -count=1 -run TestFetchOverDelay -- ./store
step "build for Windows" other_system windows
step "build for macOS" other_system darwin
at_once=1 step "end to end" go_test 30m -count=1 -- $(packages "test/e2e|test/swarm|test/chaos|test/chain|test/cosmjs|test/sdk|test/trade|test/money|test/audit")
step "nodes that lie" go_test 20m -count=1 -tags lies -run 'TestSoak(Liars|Jurors|WithoutAJury)' -- ./test/swarm
step "few messages for a paid job" go_test 10m -count=1 -run TestMessagesOfAPaidJob -- ./test/bench
finish "all tests passed"
