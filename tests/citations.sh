#!/usr/bin/env bash
# Proves the citations: each `tpm-behaviour N` is a fact of docs/tpm-behaviour.md, and no page is cited that is not in
# the tree.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

places=(src tests bench demo cmake docs packaging CMakeLists.txt ARCHITECTURE.md CONTRIBUTING.md README.md)
facts=" $(sed -nE 's/^\*\*([0-9]+)\.\*\*.*/\1/p' docs/tpm-behaviour.md | tr '\n' ' ')"
failed=0
# "tpm-behaviour 9, 21 and 33", "tpm-behaviour 12 to 16".
while IFS=: read -r file line citation; do
  for number in $(grep -oE '[0-9]+' <<<"$citation"); do
    [[ $facts == *" $number "* ]] && continue
    echo "$file:$line: docs/tpm-behaviour.md has no fact $number" >&2
    failed=1
  done
done < <(grep -rnoE 'tpm-behaviour(\.md)? [0-9]+(((, | to | and )[0-9]+)*)' "${places[@]}")
if grep -rnE 'TPM-RULES|\bDESIGN\b|\bMISSION\b' "${places[@]}" --include='*' --exclude=citations.sh; then
  echo "citations: these pages are not in the tree; cite docs/ or the specification" >&2
  failed=1
fi
[ "$failed" -eq 0 ] && echo "citations: each is in the tree"
exit "$failed"
