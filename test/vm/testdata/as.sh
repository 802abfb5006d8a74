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

# plain is a service of the user's without that right.
plain() { runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/1000 systemd-run --user --quiet --wait --pipe --collect --working-directory="$PWD" $set_env "$@"; }

# doctor AS CONTAINERS has a node of that kind, which has just been started, examine itself; CONTAINERS is true where it is to try containers, too.
doctor() {
	home=/work/tmp/home-$1 owner=alice
	case $1 in root | bare) owner=root ;; esac
	install -d -m 700 -o $owner -g $owner "$home"
	printf 'version = 1\n[work]\ncontainers = %s\n' "$2" >"$home/config.toml"
	chown $owner: "$home/config.toml"
	$1 hpips up --home "$home" --log-level warn &
	node=$! code=1
	while kill -0 $node 2>/dev/null; do
		if [ -s "$home/api.addr" ]; then
			hpips --home "$home" node doctor
			code=$?
			pkill -x hpips
			break
		fi
		sleep 1
	done
	wait
	return $code
}
