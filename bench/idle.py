#!/usr/bin/env python3
"""make bench-idle: what an idle server takes of a core.

Starts `a-io serve` with the demo pair, has it answer some requests, and reads the process's CPU time before
and after a time in which nobody asks anything. Python's standard library only.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

QUESTIONS = ("What is 12 plus 30?", "Write a function that doubles a number.", "Who wrote Faust?")
START_SECONDS = 60


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def address(server):
    for line in server.stderr:
        found = re.search(r"listening on (http://\S+)", line)
        if found:
            return found.group(1)
    raise SystemExit("bench-idle: the server did not start")


def ask(url, question):
    body = {"model": "auto", "max_tokens": 64, "messages": [{"role": "user", "content": question}]}
    request = urllib.request.Request(
        url + "/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=START_SECONDS) as reply:
        json.load(reply)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--program", default="build/a-io")
    arguments.add_argument("--seconds", type=float, default=30)
    arguments.add_argument("--requests", type=int, default=12)
    given = arguments.parse_args()
    server = subprocess.Popen([given.program, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True)
    try:
        url = address(server)
        for i in range(given.requests):
            ask(url, QUESTIONS[i % len(QUESTIONS)])
        time.sleep(1)
        before, start = cpu_seconds(server.pid), time.monotonic()
        time.sleep(given.seconds)
        used, passed = cpu_seconds(server.pid) - before, time.monotonic() - start
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    print(
        f"idle    after {given.requests} requests: {used:.2f} s of CPU time in {passed:.1f} s, "
        f"{100 * used / passed:.2f} % of a core"
    )
    return 0 if used < 0.01 * passed else 1


if __name__ == "__main__":
    sys.exit(main())
