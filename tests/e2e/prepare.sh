#!/bin/sh
# prepare.sh: what the end-to-end tests need: npm's packages as package-lock.json pins them, and shells that complete.
set -eu
here=$(dirname "$(realpath "$0")")
# What npm installed last is older than the lock file: a client was added or another version is wanted.
[ "$here/node_modules/.package-lock.json" -nt "$here/package-lock.json" ] || (cd "$here" && npm ci --no-audit --no-fund >&2)
for shell in zsh fish; do
  command -v "$shell" >/dev/null 2>&1 || "$here/../../tools/setup.sh" "$shell" || true # what completes for them is then skipped
done
