#!/bin/sh
# run.sh PROGRAM: the clients people use, unmodified, against the demo pair: a table of what works.
# Their packages are kept in build/clients. Without the registry it says so and is skipped.
set -eu
program=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
packages=$root/build/clients
if [ ! -x "$packages/bin/python" ] || ! "$packages/bin/python" -c 'import openai, anthropic, ollama, litellm' 2>/dev/null; then
  python3 -m venv "$packages"
  "$packages/bin/pip" install --quiet --requirement "$here/requirements.txt" || { echo "SKIPPED: the Python registry is not there"; exit 0; }
fi
log=$(mktemp)
cd "$root"
"$program" serve --port 0 2>"$log" &
server=$!
trap 'kill $server 2>/dev/null; rm -f "$log"' EXIT
for _ in $(seq 100); do
  grep -q '^try:' "$log" && break
  kill -0 $server 2>/dev/null || { cat "$log"; exit 1; }
  sleep 0.2
done
"$packages/bin/python" "$here/clients.py" "$(sed -n 's/.*listening on \(http[^ ]*\).*/\1/p' "$log")"
