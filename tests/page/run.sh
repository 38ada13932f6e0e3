#!/bin/sh
# run.sh PROGRAM: the page in a real browser; Debian's Chromium is installed where there is none.
set -eu
program=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
command -v chromium >/dev/null 2>&1 || "$here/../../tools/setup.sh" chromium
[ -d "$here/node_modules/playwright-core" ] || (cd "$here" && npm ci --no-audit --no-fund >&2)
A_IO_PROGRAM=$program exec node --test "$here"/*.test.mjs
