#!/bin/sh
# run.sh PROGRAM: the tests against other engines. The engine comes from the Python registry, once, into a folder of its
# own; without the registry it says so and the tests are skipped.
set -eu
cd "$(dirname "$0")/../.."
packages=build/engines
if ! cmp -s tests/engines/requirements.txt "$packages/.installed"; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || tools/setup.sh python3-venv
    rm -rf "$packages"
    python3 -m venv "$packages"
    if "$packages/bin/python" -m pip install --quiet --requirement tests/engines/requirements.txt; then
        cp tests/engines/requirements.txt "$packages/.installed"
    else
        echo "engines: the registry does not give them" >&2
    fi
fi
A_IO_PROGRAM=$(realpath "$1") A_IO_ENGINES=$(realpath "$packages") exec node --test tests/engines/*.test.mjs
