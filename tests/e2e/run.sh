#!/bin/sh
# run.sh PROGRAM: the end-to-end tests, with npm's packages as package-lock.json pins them.
set -eu
program=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
# What npm installed last is older than the lock file: a client was added or another version is wanted.
[ "$here/node_modules/.package-lock.json" -nt "$here/package-lock.json" ] || (cd "$here" && npm ci --no-audit --no-fund >&2)
A_IO_PROGRAM=$program exec node --test "$here"/*.test.mjs
