#!/usr/bin/env python3
"""run.py FOLDER PROGRAM...: runs test programs of FOLDER from the repository's root, each in a process
(and process group) of its own, as many side by side as there are cores; goes on after a failure.

What a program prints comes out whole when it ends, so that two never mix. At the end: the slowest ten and what
failed; exit status 1 where something did. A program that runs longer than LIMIT seconds (environment; 600, three times
that with sanitizers or counts) is killed with its children and has failed. JOBS says how many run at once.
"""

import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

printing = threading.Lock()


def run(folder, program, limit):
    """Runs one program; returns its name, seconds and whether it passed."""
    name = program.removeprefix(f"{folder}/").removeprefix("tests/")
    begun = time.monotonic()
    process = subprocess.Popen([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output = process.communicate(timeout=limit)[0]
        verdict = "" if process.returncode == 0 else f"failed (exit status {process.returncode})"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output = process.communicate()[0]
        verdict = f"killed after {limit:.0f} s"
    seconds = time.monotonic() - begun
    with printing:
        print(f"== {name} ({seconds:.1f} s)", flush=True)
        sys.stdout.buffer.write(output)
        sys.stdout.buffer.flush()
        if verdict:
            print(f"== {name}: {verdict}", flush=True)
    return name, seconds, not verdict


def longest_first(programs, times):
    """The longest start first, so that none is left alone at the end; unknown ones before them all."""
    return sorted(programs, key=lambda program: -times.get(program, float("inf")))


def main():
    folder, *programs = sys.argv[1:]
    limit = float(os.environ.get("LIMIT", 1800 if "sanitize" in folder or "coverage" in folder else 600))
    jobs = int(os.environ.get("JOBS", 0)) or len(os.sched_getaffinity(0))
    times_file = pathlib.Path(folder, "tests", "seconds.json")
    try:
        times = json.loads(times_file.read_text())
    except (OSError, ValueError):
        times = {}
    programs = longest_first(programs, times)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(lambda program: run(folder, program, limit), programs))
    times.update({program: round(result[1], 1) for program, result in zip(programs, results)})
    times_file.write_text(json.dumps(times, indent=0))
    if len(results) > 1:
        slowest = sorted(results, key=lambda result: -result[1])[:10]
        print("slowest:", ", ".join(f"{name} {seconds:.1f} s" for name, seconds, _ in slowest))
    failed = [name for name, _, passed in results if not passed]
    print(f"{len(results) - len(failed)} of {len(results)} test programs passed")
    if failed:
        sys.exit("FAILED: " + " ".join(failed))


main()
