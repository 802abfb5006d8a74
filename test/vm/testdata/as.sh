# As whom a step is run. Each takes a command, which is alone in its control group where it has been given one.

export PATH=/work/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
set_env="-E PATH=$PATH -E TMPDIR=/work/tmp -E HPIPS_PRESENCE=headless"

# root is a service of the system that may make groups.
root() { systemd-run --quiet --wait --pipe --collect --working-directory="$PWD" $set_env -E HOME=/root -p Delegate=yes "$@"; }

# bare is root without that right: a service whose group is the system's.
bare() { systemd-run --quiet --wait --pipe --collect --working-directory="$PWD" $set_env -E HOME=/root -p Delegate=no "$@"; }

# service is a service of the user alice's that may make groups.
service() { runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/1000 systemd-run --user --quiet --wait --pipe --collect --working-directory="$PWD" $set_env -p Delegate=yes "$@"; }

# terminal is a shell in a window of alice's, and what it starts: the group is theirs together.
terminal() { runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/1000 TMPDIR=/work/tmp HPIPS_PRESENCE=headless systemd-run --user --quiet --scope --working-directory="$PWD" sh -c '"$@"; exit $?' sh "$@"; }

# session is alice logged in at a console or from afar: the group is the system's.
session() { systemd-run --quiet --wait --pipe --collect --working-directory="$PWD" --uid=alice $set_env -E HOME=/home/alice -p PAMName=login "$@"; }

# step NAME AS FOLDER COMMAND... runs a step and tells how it ended.
step() {
	name=$1 as=$2
	cd "$3"
	shift 3
	echo "@@ begin $name"
	$as "$@" 2>&1 </dev/null
	echo "@@ end $name $?"
	cd /
}

# doctor AS has a node of that kind, which has just been started, examine itself.
doctor() {
	home=/work/tmp/home-$1
	$1 hpips up --home "$home" &
	for _ in $(seq 120); do
		[ -s "$home/api.addr" ] && hpips --home "$home" node doctor && break
		sleep 1
	done
	code=$?
	pkill -x hpips
	wait
	return $code
}
