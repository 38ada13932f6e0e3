#!/bin/sh
# run.sh ENGINE PROGRAM: the tests against another engine, ENGINE.test.mjs. The engine comes from the Python registry as
# ENGINE.txt pins it, once, into a folder that all trees share; without the registry it says so and the tests are skipped.
set -eu
cd "$(dirname "$0")/../.."
here=tests/engines
engine=$1
folder=${XDG_CACHE_HOME:-$HOME/.cache}/a-io/engines/$engine
if ! cmp -s "$here/$engine.txt" "$folder/.installed"; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || tools/setup.sh python3-venv
    rm -rf "$folder"
    mkdir -p "$(dirname "$folder")"
    python3 -m venv "$folder"
    # The list is whole: what packages say that they need is not looked at.
    if "$folder/bin/python" -m pip install --quiet --no-deps --requirement "$here/$engine.txt"; then
        cp "$here/$engine.txt" "$folder/.installed"
    else
        echo "engines: the registry does not give $engine" >&2
    fi
fi
if [ -e "$folder/.installed" ] && [ -e "$here/prepare_$engine.py" ]; then
    "$folder/bin/python" "$here/prepare_$engine.py" "$folder"
fi
A_IO_PROGRAM=$(realpath "$2") A_IO_ENGINE=$folder exec node --test "$here/$engine.test.mjs"
