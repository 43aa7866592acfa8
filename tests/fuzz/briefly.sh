#!/bin/sh
# briefly.sh FUZZER SEEDS ARGUMENTS...: runs a fuzzer on its seeds; what it learns is thrown away, so that every run
# starts from the same.
set -eu
fuzzer=$1 seeds=$2
shift 2
learned=$(mktemp -d)
trap 'rm -rf "$learned"' EXIT
"$fuzzer" "$@" "$learned" "$seeds"
