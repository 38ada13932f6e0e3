#!/bin/sh
# Runs every test program, each in its own process, from the repository's root; keeps going after a
# failure and says at the end which ones failed.
set -u
variant=$1
shift
failed=""
for program in "$@"; do
    name=${program#"$variant"/}
    echo "== ${name#tests/}"
    "$program" 2>&1 || failed="$failed $program"
done
if [ -n "$failed" ]; then
    echo "FAILED:$failed" >&2
    exit 1
fi
