#!/usr/bin/env python3
"""How long a request that one server refuses takes to the next: `forward.py --program build/a-io`.

Four servers of one model work on four requests at once, ten milliseconds each, and refuse more; the fourth says that it
is idle and refuses nine of ten. Twelve clients send 500 requests (bench/forward.c is all of these). A forward is the
time from a server's refusal (its last byte is written) to the same request's arrival at the next one, and counts where
one of the honest servers has room. Python's standard library alone.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def start_router(program, folder, ports):
    config = pathlib.Path(folder, "pool.yaml")
    urls = ", ".join(f'"http://127.0.0.1:{port}/v1"' for port in ports)
    config.write_text(f"version: 1\nmodels:\n  - {{name: large, replicas: [{urls}]}}\n")
    with open(pathlib.Path(folder, "log"), "w") as log:
        router = subprocess.Popen(
            [program, "serve", "--port", "0", "--config", config], stderr=log, stdout=subprocess.DEVNULL
        )
    for _ in range(200):
        text = pathlib.Path(folder, "log").read_text()
        if found := re.search(r"listening on http://127.0.0.1:(\d+)[^~]*\ntry: ", text):
            return router, int(found.group(1))
        time.sleep(0.05)
    sys.exit(f"forward: a-io serve did not start: {text}")


def run_round(program, tool):
    with (
        subprocess.Popen([tool], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as servers,
        tempfile.TemporaryDirectory() as folder,
    ):
        router, port = start_router(program, folder, servers.stdout.readline().split())
        try:
            found = json.loads(servers.communicate(f"{port}\n")[0])
        finally:
            router.terminate()
            router.wait()
    return found


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--program", default=str(ROOT / "build/a-io"))
    options.add_argument("--tool", default=str(ROOT / "build/bench/forward"))
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--real-time", action="store_true", help="all of it goes before what else runs here (root)")
    given = options.parse_args()
    if given.real_time:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    every = []
    for i in range(given.rounds):
        found = run_round(given.program, given.tool)
        forwards = sorted(found["forwards_ms"]) or [0]
        every += forwards
        print(
            f"round {i + 1}: {found['errors']} errors, {found['refusals']} refusals, of which {len(forwards)} while a"
            f" server had room: at the next after {statistics.median(forwards):.2f} ms (median), longest {forwards[-1]:.2f}"
        )
    every.sort()
    print(
        f"all {len(every)}: median {statistics.median(every):.2f} ms, p90 {every[len(every) * 9 // 10]:.2f}, p99 {every[len(every) * 99 // 100]:.2f}"
    )


if __name__ == "__main__":
    main()
