#!/bin/sh
# Installs the Debian packages that A-IO needs and this machine lacks, and those named as arguments. Says
# what it does; does nothing when all are there. Used by `make demo` and `make test`.
set -eu
needed="gcc make pkg-config libc6-dev libcurl4-openssl-dev libssl-dev libjansson-dev libcyaml-dev
libyaml-dev libpcre2-dev libedit-dev libseccomp-dev libcmocka-dev python3 python3-numpy ca-certificates $*"
command -v node >/dev/null 2>&1 || needed="$needed nodejs"
command -v npm >/dev/null 2>&1 || needed="$needed npm"
# For huggingface_hub, beside which the tests of the hub's cache run.
python3 -c 'import ensurepip, venv' 2>/dev/null || needed="$needed python3-venv"
"$(dirname "$0")/cargo.sh" --found || needed="$needed cargo-web" # 12 MB and their compiler

missing=""
for package in $needed; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
        missing="$missing $package"
done
[ -z "$missing" ] && exit 0

as_root=""
[ "$(id -u)" -eq 0 ] || as_root="sudo"
echo "setup: installing missing Debian packages with ${as_root:+sudo }apt-get:$missing" >&2
$as_root apt-get update -q >&2
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >&2
