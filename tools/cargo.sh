#!/bin/sh
# Runs cargo: the one on PATH where it is new enough, else Debian's cargo-web (tools/setup.sh installs
# it). `tools/cargo.sh --found` only says by its exit status whether there is one.
set -eu
needed=1.87 # what the crates of src/Cargo.lock ask for

new_enough() {
    version=$("$1" --version 2>/dev/null | cut -d' ' -f2) || return 1
    [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$needed" "$version" | sort -V | head -n1)" = "$needed" ]
}

for cargo in cargo "$HOME/.cargo/bin/cargo" /usr/bin/cargo; do
    if command -v "$cargo" >/dev/null 2>&1 && new_enough "$cargo"; then
        [ "${1-}" != --found ] || exit 0
        exec "$cargo" "$@"
    fi
done
[ "${1-}" = --found ] || echo "no cargo of at least $needed: run tools/setup.sh" >&2
exit 1
