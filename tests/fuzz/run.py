#!/usr/bin/env python3
"""run.py [--seconds N] PROGRAM...: runs libFuzzer's programs from the repository's root, two at a time.

Each begins with tests/fuzz/seeds/NAME and what earlier runs found worth keeping (build/fuzz/NAME), for N seconds (60).
Prints executions, branches reached and the largest input of each; exit status 1 where one found a fault, whose input
stands beside the log in build/fuzz and is to become a seed and a regression test.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

KEPT = pathlib.Path("build/fuzz")
MEMORY_MB = 3000
ONE_INPUT_S = 10  # longer is a hang
ENVIRONMENT = {**os.environ, "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
# Beside tests/fuzz/seeds/NAME: files of the tree that are what the program reads.
MORE_SEEDS = {"config": ["config"], "calibration": ["config"]}
# Bytes of an input. What is read a second time in pieces takes its length squared; a grammar's states grow faster.
LARGEST = {"gguf": 16_384, "calibration": 60_000, "decisions": 20_000, "http": 2048, "events": 2048, "grammar": 512}
OTHERS = 4096

EXECUTIONS = KEPT / "executions.jsonl"  # of all runs: a line each


def seeds_of(name):
    return [path for path in (f"tests/fuzz/seeds/{name}", *MORE_SEEDS.get(name, [])) if pathlib.Path(path).is_dir()]


def run(program, seconds):
    name = pathlib.Path(program).name.removeprefix("fuzz_")
    corpus = KEPT / name
    corpus.mkdir(parents=True, exist_ok=True)
    command = [
        program,
        f"-max_total_time={seconds}",
        f"-timeout={ONE_INPUT_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={LARGEST.get(name, OTHERS)}",
        f"-artifact_prefix={KEPT}/{name}-",
        "-print_final_stats=1",
        corpus,
        *seeds_of(name),
    ]
    log = KEPT / f"{name}.log"
    with log.open("wb") as out:
        status = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=ENVIRONMENT).returncode
    text = log.read_text(errors="replace")
    executed = re.search(r"number_of_executed_units: (\d+)", text)
    covered = re.findall(r"cov: (\d+)", text)
    found = {
        "name": name,
        "executed": int(executed[1]) if executed else 0,
        "branches": int(covered[-1]) if covered else 0,
    }
    with EXECUTIONS.open("a") as all_runs:
        print(json.dumps({**found, "seconds": seconds, "status": status}), file=all_runs)
    return name, status, found["executed"], found["branches"]


def executed_so_far():
    return sum(json.loads(line)["executed"] for line in EXECUTIONS.open())


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("programs", nargs="+")
    wanted = options.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    total, faults = 0, 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, status, executed, covered in pool.map(lambda one: run(one, wanted.seconds), wanted.programs):
            total += executed
            faults += status != 0
            verdict = "" if status == 0 else f"   a fault: build/fuzz/{name}.log"
            print(f"fuzz {name:12} {executed:10} executions, {covered:6} branches{verdict}", flush=True)
    print(
        f"fuzz: {total} executions, {executed_so_far()} with all runs here before; {faults} of {len(wanted.programs)} found something"
    )
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
