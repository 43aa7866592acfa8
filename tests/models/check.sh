#!/usr/bin/env bash
# Checks one run of admission.pml: check.sh EXPECTED DIRECTORY COMPILER [-DMACRO...]
# EXPECTED: holds (all of it, by a complete search), or what a run that leaves a rule out must find: deadlock, starves,
# asserts. The trail stays in DIRECTORY; README.md says how to read it.
set -euo pipefail
model=$(realpath "$(dirname "${BASH_SOURCE[0]}")")/admission.pml
expected=$1 directory=$2 compiler=$3
shift 3
rm -rf "$directory"
mkdir -p "$directory"
cd "$directory"
cp "$model" .
spin "$@" -a admission.pml >spin.log || { cat spin.log; exit 1; }

# search NAME "COMPILER OPTIONS" "RUN OPTIONS": all states are kept as they are, and no step is left out for another.
# Not optimized: compiling is most of the time.
search() {
  local run=${3:-}
  "$compiler" -O0 -w -DMEMLIM=2000 -DNOREDUCE $2 -o "pan_$1" pan.c
  "./pan_$1" -m1000000 $run >"$1.log" 2>&1 || true
  grep -E 'errors:|states, stored|elapsed|^pan:[0-9]|^error' "$1.log" | sed "s/^ */$1: /" || true
}
complete() {
  if ! grep -q 'errors: 0' "$1" || grep -qE 'max search depth too small|Search not completed|out of memory|^error' "$1"; then
    cat "$1"
    exit 1
  fi
}
finds() {
  if ! grep -q "$2" "$1"; then
    echo "a rule was left out, and nothing failed ($2)"
    exit 1
  fi
}

case $expected in
holds)
  search states "-DSAFETY -DNOCLAIM"
  complete states.log
  search served "-DNFAIR=5" "-a -f"
  complete served.log
  ;;
deadlock)
  search states "-DSAFETY -DNOCLAIM"
  finds states.log "invalid end state"
  ;;
asserts)
  search states "-DSAFETY -DNOCLAIM"
  finds states.log "assertion violated"
  ;;
starves)
  search served "-DNFAIR=5" "-a -f"
  finds served.log "acceptance cycle"
  ;;
*) exit 2 ;;
esac
