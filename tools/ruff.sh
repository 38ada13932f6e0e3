#!/bin/sh
# ruff.sh ARGUMENTS: ruff, which formats and lints Python, of one version (they format differently), from the
# Python registry into build/ruff. Where that cannot be reached it says so and is content.
set -eu
version=0.17.6
folder="$(dirname "$0")/../build/ruff"
if [ "$("$folder/bin/ruff" --version 2>/dev/null)" != "ruff $version" ]; then
    rm -rf "$folder"
    if ! { python3 -m venv "$folder" && "$folder/bin/pip" install -q --disable-pip-version-check "ruff==$version"; } >&2; then
        echo "ruff.sh: no ruff $version from the Python registry: Python is neither formatted nor linted" >&2
        exit 0
    fi
fi
exec "$folder/bin/ruff" "$@"
