#!/usr/bin/env bash
# Proves the arrows of ARCHITECTURE.md: a room includes only what it may, and links only what it may.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

allowed() {
  case $1 in
  base) echo "base" ;;
  wire) echo "wire" ;;
  observe) echo "observe wire base" ;;
  guard) echo "guard wire" ;;
  books) echo "books wire base" ;;
  space) echo "space books wire base" ;;
  queue) echo "queue wire base" ;;
  engine) echo "engine space books queue observe wire base" ;;
  tpm) echo "tpm wire base" ;;
  proto) echo "proto wire" ;;
  peer) echo "peer guard books base" ;;
  log) echo "log peer observe proto wire base" ;;
  loop) echo "loop log peer guard proto base" ;;
  config) echo "config guard log engine tpm proto books wire base" ;;
  explain) echo "explain config peer guard books observe proto tpm wire base" ;;
  access) echo "access config peer guard books wire base" ;;
  host) echo "host loop log peer engine guard space books observe proto tpm wire base" ;;
  client) echo "client proto wire base" ;;
  tcti) echo "tcti client proto wire" ;;
  tool) echo "tool client proto wire base" ;;
  daemon) echo "daemon access host loop log explain config peer engine guard space books observe tpm proto wire base" ;;
  *) echo "$1" ;;
  esac
}

failed=0
for room in src/*/; do
  room=$(basename "$room")
  may=" $(allowed "$room") "
  while IFS=: read -r file line include; do
    other=$(sed -E 's/^#include "([^/]+)\/.*/\1/' <<<"$include")
    if [[ $may != *" $other "* ]]; then
      echo "$file:$line: $room may not include $other" >&2
      failed=1
    fi
  done < <(grep -nE '^#include "[a-z]+/' -r "src/$room" --include='*.h' --include='*.cc' || true)
  # Includes are written from src/: a bare or relative one would slip by.
  if grep -nE '^#include "([^/"]+|\.\..*)"' -r "src/$room" --include='*.h' --include='*.cc' | grep -v '\.inc"'; then
    echo "$room: write includes from src/" >&2
    failed=1
  fi
  while read -r other; do
    if [[ $may != *" $other "* ]]; then
      echo "src/$room/CMakeLists.txt: $room may not link $other" >&2
      failed=1
    fi
  done < <(grep -ohE 'tpmspace_[a-z]+' "src/$room/CMakeLists.txt" 2>/dev/null | sed 's/tpmspace_//' | grep -vE '^(options|tests)$' | sort -u)
done
[ "$failed" -eq 0 ] && echo "arrows: every room includes and links only what it may"
exit "$failed"
