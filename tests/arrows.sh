#!/usr/bin/env bash
# Proves the arrows of ARCHITECTURE.md: a room includes only what it may, and links only what it may.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

allowed() {
  case $1 in
  wire) echo "wire" ;;
  observe) echo "observe wire" ;;
  guard) echo "guard wire" ;;
  space) echo "space wire" ;;
  queue) echo "queue wire" ;;
  engine) echo "engine guard space queue observe wire" ;;
  tpm) echo "tpm wire posix" ;;
  proto) echo "proto wire" ;;
  client) echo "client proto wire posix" ;;
  tcti) echo "tcti client proto wire" ;;
  tool) echo "tool client proto wire posix cli" ;;
  daemon) echo "daemon engine guard space queue observe tpm proto wire posix cli" ;;
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
