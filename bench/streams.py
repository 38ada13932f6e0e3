#!/usr/bin/env python3
"""make bench-streams: so many replies at once from `a-io serve`, and from llama.cpp's own server.

Both serve the same file, on as many threads, with a slot for every stream. In a round each is asked for as many
replies at once as there are streams, of the same length and to the same prompts, which no round repeats; who
begins changes from round to round. Printed are tokens of all replies over the time from the first request to the
last reply (prompts are read in it), and ours over theirs in the same round: median (lowest to highest). "alone"
is one stream by itself. Python's standard library only.
"""

import argparse
import concurrent.futures
import os
import shlex
import statistics
import sys
import tempfile
import time

from lookup_real import MATTERS, Peer, Server, user

CONFIGURATION = """version: 1
models:
  - {{name: large, role: large, path: "{path}", slots: {slots}}}
"""


def prompts_of(turn, streams):
    matters = [MATTERS[(turn * streams + i) % len(MATTERS)] for i in range(streams)]
    return [
        user(f"Number {turn * streams + i}. Write a text of some paragraphs about {matter}.")
        for i, matter in enumerate(matters)
    ]


def tokens_per_s(server, prompts, tokens, **more):
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(prompts)) as pool:
        replies = list(pool.map(lambda messages: server.post(messages, tokens, ignore_eos=True, **more), prompts))
    return sum(reply["usage"]["completion_tokens"] for reply in replies) / (time.monotonic() - start)


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model")
    arguments.add_argument("--program", default="build/a-io")
    arguments.add_argument("--peer", required=True, help="llama-server's path and options")
    arguments.add_argument("--streams", type=int, default=8)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--rounds", type=int, default=4)
    arguments.add_argument("--tokens", type=int, default=96)
    given = arguments.parse_args()
    configuration = tempfile.NamedTemporaryFile("w", suffix=".yaml")
    configuration.write(CONFIGURATION.format(path=os.path.abspath(given.model), slots=given.streams))
    configuration.flush()
    ours = [given.program, "serve", "--config", configuration.name, "--port", "0", "-t", str(given.threads)]
    theirs = shlex.split(given.peer) + [
        "-m",
        given.model,
        "-t",
        str(given.threads),
        "-np",
        str(given.streams),
        "-c",
        str(1024 * given.streams),
    ]
    servers, speeds = [], {}
    try:
        servers = [Server(ours, given.tokens), Peer(theirs, given.tokens)]
        ways = {
            "A-IO": (servers[0], {"prompt_lookup_num_tokens": 0}),
            "A-IO, lookup auto": (servers[0], {}),
            "llama.cpp": (servers[1], {}),
        }
        for turn in range(given.rounds):
            names = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
            for name in names:
                server, more = ways[name]
                for streams in (given.streams, 1) if turn == 0 else (given.streams,):
                    speed = tokens_per_s(server, prompts_of(turn, streams), given.tokens, **more)
                    speeds.setdefault((name, streams), []).append(speed)
                print(
                    f"{time.strftime('%H:%M:%S')} round {turn + 1}: {name} {speeds[(name, given.streams)][-1]:.1f} tokens/s",
                    file=sys.stderr,
                )
    finally:
        for server in servers:
            server.stop()
    print(
        f"| {given.streams} streams of {given.tokens} tokens, {given.rounds} rounds | tokens/s in all | times llama.cpp's server | alone |\n|---|---|---|---|"
    )
    for name in ways:
        ratios = [a / b for a, b in zip(speeds[(name, given.streams)], speeds[("llama.cpp", given.streams)])]
        print(f"| {name} | {spread(speeds[(name, given.streams)])} | {spread(ratios)} | {speeds[(name, 1)][0]:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
