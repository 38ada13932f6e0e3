#!/bin/sh
# run.sh PROGRAM: the end-to-end tests, with npm's packages as package-lock.json pins them. With ONLY=name in the
# environment those whose files' names hold it.
set -eu
program=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
set -- "$here"/*"${ONLY:-}"*.test.mjs
[ -e "$1" ] || exit 0
# What npm installed last is older than the lock file: a client was added or another version is wanted.
[ "$here/node_modules/.package-lock.json" -nt "$here/package-lock.json" ] || (cd "$here" && npm ci --no-audit --no-fund >&2)
for shell in zsh fish; do
  command -v "$shell" >/dev/null 2>&1 || "$here/../../tools/setup.sh" "$shell" || true # what completes for them is then skipped
done
A_IO_PROGRAM=$program exec node --test "$@"
