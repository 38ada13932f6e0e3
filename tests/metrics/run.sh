#!/bin/sh
# run.sh PROGRAM: the metrics in a real Prometheus; Debian's is installed where there is none.
set -eu
program=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
command -v promtool >/dev/null 2>&1 || "$here/../../tools/setup.sh" prometheus
A_IO_PROGRAM=$program exec node --test "$here"/*.test.mjs
