#!/usr/bin/env python3
"""run.py FOLDER TEST...: runs tests from the repository's root, each in a process (and process group) of its own, side by
side: one more than there are cores, since some only wait. It goes on after a failure. A TEST is a program, built in
FOLDER, a file of node's tests (.mjs), or NAME=COMMAND.

The longest start first: by what they took here the last time, kept in FOLDER, else by LONGEST, which is what they took on
a clean clone. What a test prints comes out whole when it ends, so that two never mix. At the end: the slowest ten, in
seconds and seconds of processors, and what failed; exit status 1 where something did. A test that runs longer than LIMIT
seconds (environment; 1200, 1800 with sanitizers or counts) is killed with its children and has failed. JOBS
says how many run at once.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import typing

LONGEST = pathlib.Path(__file__).with_name("longest.txt")
COUNTS = re.compile(rb"^(?:#|\xe2\x84\xb9) pass (\d+)|\[  PASSED  \] (\d+) test", re.MULTILINE)  # node's, cmocka's
printing = threading.Lock()


class Result(typing.NamedTuple):
    """Of one test: `tests` is how many of its own it says have passed."""

    name: str
    seconds: float
    processor_seconds: float
    tests: int
    passed: bool


def name_of(test, folder):
    return test.split("=", 1)[0].removeprefix(f"{folder}/").removeprefix("tests/")


def command_of(test):
    if "=" in test:
        return ["sh", "-c", test.split("=", 1)[1]]
    return ["node", "--test", test] if test.endswith(".mjs") else [test]


def run(folder, test, limit):
    name, begun = name_of(test, folder), time.monotonic()
    pipe = subprocess.PIPE
    process = subprocess.Popen(command_of(test), stdout=pipe, stderr=subprocess.STDOUT, start_new_session=True)
    clock = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
    clock.start()
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    clock.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds, processor_seconds = time.monotonic() - begun, usage.ru_utime + usage.ru_stime
    verdict = "" if status == 0 else f"failed (exit status {process.returncode})"
    if seconds > limit:
        verdict = f"killed after {limit:.0f} s"
    with printing:
        print(f"== {name} ({seconds:.1f} s, {processor_seconds:.1f} s of processors)", flush=True)
        sys.stdout.buffer.write(output)
        sys.stdout.buffer.flush()
        if verdict:
            print(f"== {name}: {verdict}", flush=True)
    tests = sum(int(node or cmocka) for node, cmocka in COUNTS.findall(output))
    return Result(name, seconds, processor_seconds, tests, not verdict)


def longest_first(names, times):
    """So that none is left alone at the end. What has no time yet is new, and may take long."""
    if times:
        return sorted(names, key=lambda name: -times.get(name, float("inf")))
    known = LONGEST.read_text().split()
    return sorted(names, key=lambda name: known.index(name) if name in known else len(known))


def main():
    folder, *tests = sys.argv[1:]
    limit = float(os.environ.get("LIMIT", 1800 if "sanitize" in folder or "coverage" in folder else 1200))
    jobs = int(os.environ.get("JOBS", 0)) or len(os.sched_getaffinity(0)) + 1  # some only wait
    times_file = pathlib.Path(folder, "tests", "seconds.json")
    try:
        times = json.loads(times_file.read_text())
    except (OSError, ValueError):
        times = {}
    by_name = {name_of(test, folder): test for test in tests}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        order = longest_first(by_name, times)
        results = list(pool.map(lambda name: run(folder, by_name[name], limit), order))
    times.update({result.name: round(result.seconds, 1) for result in results})
    times_file.parent.mkdir(parents=True, exist_ok=True)
    times_file.write_text(json.dumps(times, indent=0))
    if len(results) > 1:
        slowest = sorted(results, key=lambda result: -result.seconds)[:10]
        print("slowest:", ", ".join(f"{r.name} {r.seconds:.1f} s ({r.processor_seconds:.1f})" for r in slowest))
    failed = [result.name for result in results if not result.passed]
    done, tests = len(results) - len(failed), sum(result.tests for result in results)
    spent = sum(result.processor_seconds for result in results)
    print(f"{done} of {len(results)} test programs passed, {tests} tests; {spent:.0f} s of processors")
    if failed:
        sys.exit("FAILED: " + " ".join(failed))


main()
