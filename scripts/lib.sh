# shellcheck shell=bash
# shellcheck disable=SC2034  # used by those that source it
# What the scripts of this folder share. Sourced, never run.

set -euo pipefail
export LC_ALL=C

# The repository's root folder: every path below is built from it.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# rustup puts cargo here, and a fresh login shell may not know it yet.
cargo_bin=${CARGO_HOME:-$HOME/.cargo}/bin
case ":$PATH:" in *":$cargo_bin:"*) ;; *) PATH="$cargo_bin:$PATH" ;; esac

# Debian's tools of the system administrator, which a plain user's PATH leaves out.
case ":$PATH:" in *":/usr/sbin:"*) ;; *) PATH="$PATH:/usr/sbin:/sbin" ;; esac
export PATH

say() { printf '%s\n' "$*"; }

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    fail "needs root for: $* (run this script as root, or install sudo)"
  fi
}

# Where cargo puts what it builds.
target_dir() { printf '%s\n' "${CARGO_TARGET_DIR:-$root/target}"; }

# BERTH_HOME holds a whole instance in one folder; without it the usual places of a system service.
if [ -n "${BERTH_HOME:-}" ]; then
  data_dir=${BERTH_DATA_DIR:-$BERTH_HOME/data}
  run_dir=${BERTH_RUN_DIR:-$BERTH_HOME/run}
else
  data_dir=${BERTH_DATA_DIR:-/var/lib/berth}
  run_dir=${BERTH_RUN_DIR:-/run/berth}
fi
socket=${BERTH_SOCKET:-$run_dir/berth.sock}
listen=${BERTH_LISTEN:-127.0.0.1:7777}
# Beside the data and not in it: the folder is the scripts' own, `berth` does not know it.
state_dir=${data_dir%/}.up

# curl against the unix socket: root needs no token there.
api() { as_root curl --silent --show-error --unix-socket "$socket" "$@"; }

# The start time of a process in clock ticks since boot: with the pid it names one process for good (proc_pid_stat(5), field 22).
start_time() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # The command's name may hold spaces and brackets: count from the last one.
  stat=${stat##*) }
  # shellcheck disable=SC2086
  set -- $stat
  printf '%s\n' "${20}"
}

# Prints the pid of the berth that ./scripts/up started, when that very process is still there.
running_pid() {
  local pid start
  [ -r "$state_dir/pid" ] || return 1
  read -r pid start <"$state_dir/pid" || return 1
  [ "$(start_time "$pid" || true)" = "$start" ] || return 1
  printf '%s\n' "$pid"
}
