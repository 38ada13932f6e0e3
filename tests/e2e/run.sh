#!/bin/sh
# run.sh PROGRAM: the end-to-end tests, with npm's packages as package-lock.json pins them.
set -eu
program=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
[ -d "$here/node_modules/openai" ] || (cd "$here" && npm ci --no-audit --no-fund >&2)
A_IO_PROGRAM=$program exec node --test "$here"/*.test.mjs
