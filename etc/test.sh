#!/usr/bin/env bash
# All tests, quick ones first; stops at the first step that fails and ends with a summary of the steps.
set -uo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
export GOFLAGS="-buildvcs=false -trimpath" HPIPS_BIN=$PWD/bin/hpips

# Rooms in which several goroutines share state: their tests run under the race detector. With node comes all of the chain's engine, which takes minutes to compile again: make soak has it.
racy='p2p|seat|engine|market|verify|api'
# The same, but what they stand on takes another minute to compile for the detector: make test has them without it, make long with it.
racy_late='requester|provider|auditor|engine/execution|store'
# The tests of these are minutes of other programs' work, in which the detector has nothing to see.
heavy='engine/process|engine/wasm|engine/container|store/replica|store/archive|store/gateway'
# Tests that take long, and rooms with several chains, faults or histories: make long has them.
later='TestFourAgreeOverFiveEpochs|TestStatesArePruned|TestAnArchiveKeepsAll|TestDrawsAreUniform|TestKilledInTheMiddleOf|TestDepositsGrowWithTheWork'
later+='|TestAHomeIsRebuiltFromBlocks|TestBobComesBackToHisPC|TestBobsJuryRestsWhileHeIsThere' # what takes minutes of a clock
later+='|TestTheJournalForgetsWhoWasSeenLongestAgo|TestHistoriesWithPowerCuts|TestADiskThatSpoilsBlocks|TestKilledAtAnyMoment'
later+='|TestGeneratedCodeIsWhatTheSourcesSay|TestTrimLinked|TestAlike' # these build much that nothing else needs; modules are compared by the hundred
main_job='^TestTheMainJob$'
late_e2e='TestAnArchiveBuilds|TestKuboPinsAtANode|TestFullDisk|TestAnInterruptedDemo|TestSoak|TestOwnNetworks/chance'
late_chain='TestAHomeComesFromTheArchive|TestBobSellsAFilm|TestOthersKeepAlicesFile|TestAnObjectComesBackFromItsParts|TestAnArchiveKeepsAllAndAJoinerTheNewest'
late_chain+='|TestBobChangesHisKeys|TestWhoLeavesHandsItsPartOver|TestWhoComesBackTakesItsPartUpAgain|TestANodeSpendsWithoutItsOwnersKey'

summary=()
began=$SECONDS
told=$(mktemp) # what the tests said
trap 'rm -f "$told"' EXIT
finish() {
	echo
	echo "== $1 after $((SECONDS - began)) s"
	printf '   %s\n' "${summary[@]}"
	skipped
}

# skipped names the tests that were skipped, and why.
skipped() {
	grep -q '^=== SKIP' "$told" || return 0
	echo "== skipped"
	awk '/^=== SKIP: /{name = $3 " " $4; next} name != "" && NF {sub(/^ +/, ""); print "   " name ": " $0; name = ""}' "$told"
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
	if [ -n "${aside_pid:-}" ]; then # it ends by itself, so that its nodes end with it
		echo "== waiting for: $aside_name"
		awaited
	fi
	finish "tests FAILED"
	exit 1
}

# aside NICENESS NAME COMMAND...: begins a step beside those after it. What it says is told when it is awaited.
aside() {
	local niceness=$1 name=$2
	shift 2
	aside_said=$(mktemp)
	set -m # a process group of its own, which ends whole
	{ renice -n "$niceness" -p $BASHPID >/dev/null && "$@"; } >"$aside_said" 2>&1 &
	aside_pid=$!
	set +m
	trap '[ -z "$aside_pid" ] || kill -- -$aside_pid 2>/dev/null; rm -f "$aside_said" "$told"' EXIT
	aside_name=$name
}

awaited() {
	wait "$aside_pid"
	local rc=$?
	aside_pid=
	cat "$aside_said"
	return $rc
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
	"$(CGO_ENABLED=0 "$GO" tool -modfile=etc/tools/go.mod -n gotestsum)" --format pkgname --format-hide-empty-pkg -- \
		-p "${at_once:-2}" -timeout "$limit" -vet=off -ldflags=-s "${flags[@]}" "$@" 2>&1 | tee -a "$told" # vet is a part of lint; without symbols, which no test asks for, programs are linked in half the time
}

# The tests of an example that was left out are skipped; what the set-up has a compiler for may not be.
examples_built() {
	local name
	for name in concordance render primes hello tiny hello-c hello-as; do
		[ -s "examples/$name/$name.wasm" ] || { echo "examples/$name/$name.wasm is not built" >&2 && return 1; }
	done
}

elsewhere() {
	GOOS=windows CGO_ENABLED=0 "$GO" build ./... && GOOS=darwin CGO_ENABLED=0 "$GO" build ./...
}

# What a change is tried with: 25 minutes on two processors with an empty build cache. What others have on a PC stands behind all else, so nothing else is at work beside the main job, and no linter beside jobs; a chain's days are waited for
# beside both.
quick() {
	at_once=3 step "unit tests" go_test 10m -skip "$later" -- $(packages -v "$racy|test" | grep -vE "/hpips\$|/($heavy)(/|\$)") ./engine/execution
	at_once=3 CGO_ENABLED=1 step "unit tests with the race detector" go_test 15m -race -short -skip "$later" -- $(packages "$racy" | grep -vE "/($heavy|engine/execution)\$")
	at_once=1 step "the main job" go_test 10m -count=1 -run "$main_job" -- ./test/e2e
	aside 0 "a chain, its wallet and its money; several rooms together" go_test 20m -count=1 -skip "$late_chain" -- ./test/chain $(packages "test/swarm|test/cosmjs|test/sdk|test/trade")
	at_once=1 step "end to end" go_test 20m -count=1 -skip "$main_job|$late_e2e" -- $(packages "test/e2e")
	step "lint" make lint
	step "$aside_name" awaited
}

# What takes longer, of what is not counted in hours.
long() {
	aside 19 "builds for Windows and macOS, meanwhile" elsewhere
	at_once=1 step "sandboxes, and stores of many nodes" go_test 20m -short -- $(packages "$heavy")
	step "long tests of single rooms" go_test 20m -run "$later" -- ./chain/full ./chain/committee ./store/... ./node ./proto ./machine
	step "a hundred metered modules on two engines" go_test 10m -count=1 -run TestAlike -- ./spec/meter -args -modules 100
	CGO_ENABLED=1 step "the other rooms in which goroutines share state, with the race detector" go_test 20m -race -short -skip "$later" -- $(packages "$racy_late" | grep -vE "/($heavy)\$")
	step "a seat that lies" go_test 10m -count=1 -tags equivocate -run TestALiarLosesItsSeat -- ./chain/full
	step "a Ledger device made of software" go_test 10m -count=1 -tags "ledger test_ledger_mock" -run TestADevice -- ./ledger
	step "content over 50 ms of delay" go_test 5m -count=1 -run TestFetchOverDelay -- ./store
	step "histories of deals, money, audits and thieves" go_test 30m -count=1 -- $(packages "test/money|test/audit|test/deals|test/thief")
	at_once=1 step "end to end: full disks, interrupted demos, Kubo" go_test 20m -count=1 -run "$late_e2e" -- $(packages "test/e2e")
	at_once=1 step "chains" go_test 30m -count=1 -run "$late_chain" -- ./test/chain
	at_once=1 step "what happens to PCs" go_test 30m -count=1 -- ./test/chaos
	step "nodes that lie" go_test 60m -count=1 -tags lies -run 'TestSoak(Liars|Jurors|WithoutAJury)' -- ./test/swarm
	step "few messages for a paid job" go_test 10m -count=1 -run TestMessagesOfAPaidJob -- ./test/bench
	step "what the rules of trust do to liars, reduced" go_test 5m -count=1 -run 'TestTrust(WithoutAudits|Jurors)?$' -- ./test/bench
	step "$aside_name" awaited
}

step "set-up" etc/setup.sh
step "build" make build
step "examples are built" examples_built
step "house rules" go_test 5m -- .
case ${1:-} in
"") quick && finish "all tests passed; make long has those that take longer" ;;
long) long && finish "all long tests passed" ;;
*) echo "usage: etc/test.sh [long]" >&2 && exit 2 ;;
esac
