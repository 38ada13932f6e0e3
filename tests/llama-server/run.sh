#!/bin/sh
# run.sh PROGRAM [PYTEST'S OPTIONS]: llama-server's own tests against a-io serve (README.md). They come from the source
# package of llama-cpp-python, are kept in build/llama-server, and are no part of this repository. Without the registry
# it says so and is skipped.
set -eu
A_IO_PROGRAM=$(realpath "$1")
shift
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
kept=$root/build/llama-server
package=llama_cpp_python-0.3.36
export A_IO_PROGRAM A_IO_LLAMA_TESTS="$here" LLAMA_SERVER_BIN_PATH="$here/llama-server.py"
skip() { echo "SKIPPED: $1"; exit 0; }
mkdir -p "$kept"
if ! "$kept/venv/bin/python" -c 'import pytest, pytest_timeout, openai, wget' 2>/dev/null; then
  python3 -m venv "$kept/venv"
  "$kept/venv/bin/pip" install --quiet --requirement "$here/requirements.txt" || skip "the Python registry is not there"
fi
if [ ! -d "$kept/llama.cpp/tools/server/tests/unit" ]; then
  "$kept/venv/bin/pip" download --quiet --no-deps --no-binary llama-cpp-python --dest "$kept" llama-cpp-python==0.3.36 ||
    skip "the Python registry is not there"
  mkdir -p "$kept/llama.cpp"
  tar -xzf "$kept/$package.tar.gz" -C "$kept/llama.cpp" --strip-components=3 \
    "$package/vendor/llama.cpp/tools/server/tests" "$package/vendor/llama.cpp/models/templates"
  rm "$kept/$package.tar.gz"
fi
mkdir -p "$kept/llama.cpp/tools/server/tests/tmp" # where a draft model would be fetched to; ours stands in
touch "$kept/llama.cpp/tools/server/tests/tmp/stories15M-q4_0.gguf"
cp "$here/conftest.py" "$kept/llama.cpp/tools/server/tests/conftest.py"
cd "$kept/llama.cpp/tools/server/tests"
exec "$kept/venv/bin/python" -m pytest --timeout 300 -p no:cacheprovider "$@"
