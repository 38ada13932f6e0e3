#!/usr/bin/env python3
"""Seconds from the start of a program to the first byte of its answer, with the model's file in the page cache and
without, beside the time it takes to read that file; several builds in turns.

    bench/start.py [--rounds N] [--file FILE] PROGRAM...
    bench/start.py [--rounds N] --config FILE --file FILE [--file FILE ...] PROGRAM...   (serve, its pair)

Each program has a cache of its own (XDG_CACHE_HOME) for what an earlier start measured, and starts once before. Before
a cold start a process writes to 3 GB and ends, so that what the host must give the machine anew is not counted.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

PORT = 18431
TOUCH = """
import mmap
memory = mmap.mmap(-1, 3 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_HUGEPAGE)
for at in range(0, len(memory), 4096):
    memory[at] = 1
"""
LONGEST_S = 120


def drop(files):
    for name in files:
        with open(name, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    subprocess.run([sys.executable, "-c", TOUCH], check=True)


def read(files):
    begin, piece = time.monotonic(), bytearray(1 << 20)
    for name in files:
        with open(name, "rb", buffering=0) as file:
            while file.readinto(piece):
                pass
    return {"read": time.monotonic() - begin}


def run(job, program, environment):
    begin = time.monotonic()
    command = [program, "run", "-m", job.file[0], "-n", "1", "hello"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as child:
        child.stdout.read(1)
        first = time.monotonic() - begin
        child.stdout.read()
    return {"first token": first}


def wait_for_port(child):
    end = time.monotonic() + LONGEST_S
    while child.poll() is None and time.monotonic() < end:
        try:
            return socket.create_connection(("127.0.0.1", PORT), timeout=5).close()
        except OSError:
            time.sleep(0.005)
    raise SystemExit("the server does not listen")


def ask():
    message = {"model": "auto", "max_tokens": 1, "messages": [{"role": "user", "content": "hello"}]}
    url, kind = f"http://127.0.0.1:{PORT}/v1/chat/completions", {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(message).encode(), kind), timeout=LONGEST_S).read()


def serve(job, program, environment):
    begin = time.monotonic()
    command = [program, "serve", "--config", job.config, "--port", str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as child:
        try:
            wait_for_port(child)
            ready = time.monotonic() - begin
            ask()
            return {"ready": ready, "first answer": time.monotonic() - begin}
        finally:
            child.send_signal(signal.SIGTERM)


def check(job, program, environment):
    begin = time.monotonic()
    command = [program, "serve", "--config", job.config, "--check"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, check=True)
    return {"check": time.monotonic() - begin}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--file", action="append", required=True)
    parser.add_argument("--config")
    parser.add_argument("program", nargs="+")
    job = parser.parse_args()
    kinds = [serve, check] if job.config else [run]
    times = {}

    def note(prefix, seconds):
        for what, value in seconds.items():
            times.setdefault(f"{prefix}{what}", []).append(value)

    with tempfile.TemporaryDirectory() as caches:
        environments = {
            p: dict(os.environ, XDG_CACHE_HOME=os.path.join(caches, str(i))) for i, p in enumerate(job.program)
        }
        for environment in environments.values():
            os.mkdir(environment["XDG_CACHE_HOME"])
        for program, environment in environments.items():
            kinds[0](job, program, environment)
        for _ in range(job.rounds):
            drop(job.file)
            note("", read(job.file))
            for program, environment in environments.items():
                for kind in kinds:
                    drop(job.file)
                    note(f"{program}, cold: ", kind(job, program, environment))
                    note(f"{program}, warm: ", kind(job, program, environment))
    for what, values in times.items():
        print(f"{what}: median {statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
