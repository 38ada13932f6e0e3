#!/usr/bin/env python3
"""make bench-peer: A-IO beside other engines built for this machine, on the same files.

A peer is llama.cpp's llama-bench, or a fork's: NAME=PATH, and options of its own behind it
("ik_llama.cpp=build/bin/llama-bench -rtr 1"). Engines take turns, one process after the other; who begins
changes from round to round, and every process of A-IO reads the read peak before and after its tests. A
ratio is of one round: our tokens/s over theirs, above 1 where we are faster. Printed are medians (lowest
to highest). A step of n rows is one forward pass of n tokens; ours makes logits and a token for every
row, llama-bench's for the last row only. Who is interrupted prints what whole rounds have shown.
Python's standard library only.
"""

import argparse
import json
import shlex
import signal
import statistics
import subprocess
import sys
import time

DECODED = 32  # tokens after nothing
DECODED_DEEP = 16  # tokens after a filled KV
REPETITIONS = 2  # of llama-bench; a run of A-IO's steps is the mean of four
SYNTHETIC_TESTS = "step:1"  # of the run that makes a synthetic model's file


class Engine:
    def __init__(self, name, command, ours):
        self.name, self.command, self.ours = name, command, ours
        self.fills_depth = not ours and "--n-depth" in said_of_itself(command)


def said_of_itself(command):
    done = subprocess.run(
        command[:1] + ["--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout


def read_json(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("[" if "-o" in command else "{") :])


def is_synthetic(model):
    return ":" in model and not model.endswith(".gguf")


def our_model(model):
    return ["--synthetic" if is_synthetic(model) else "-m", model]


def ours(engine, given, model, tests, depth):
    """{(test, n, depth): tokens/s}, the file, its weights' bytes a step, peaks and shares."""
    command = engine.command + ["bench", "--json", "-t", str(given.threads), "--runs", "1"]
    if depth:
        command += ["--depth", str(depth)]
    out = read_json(command + ["--tests", ",".join(tests)] + our_model(model))
    results = {(r["test"], r["n"], r["depth"]): r for r in out["results"]}
    return {
        "speeds": {key: r["tokens_per_s"] for key, r in results.items()},
        "shares": {key: r["share_of_peak"] for key, r in results.items() if r["test"] == "decode"},
        "file": out["models"][0]["file"],
        "bytes": out["models"][0]["weight_bytes"],
        "peaks": [out["read_peak_gb_s"]["before"], out["read_peak_gb_s"]["after"]],
    }


def theirs(engine, given, file, prompts, decoded, depth, repetitions):
    command = engine.command + ["-m", file, "-t", str(given.threads), "-o", "json", "-r", str(repetitions)]
    if depth and not engine.fills_depth:  # ik_llama.cpp: a prompt, then tokens, of which the tokens are timed
        command += ["-p", "0", "-n", "0", "-gp", f"{depth},{decoded}"]
    else:
        command += ["-p", ",".join(map(str, prompts)) if prompts else "0", "-n", str(decoded)]
    if depth and engine.fills_depth:
        command += ["-d", str(depth)]
    speeds = {}
    for r in read_json(command):
        key = ("decode", r["n_gen"]) if r["n_gen"] else ("prompt", r["n_prompt"])
        speeds[key] = statistics.median(r["samples_ts"])
    return speeds


class Part:
    """Tests that one process of each engine runs together."""

    def __init__(self, name, rounds, tests, prompts, decoded, depth, repetitions):
        self.name, self.rounds, self.tests, self.prompts = name, rounds, tests, prompts
        self.decoded, self.depth, self.repetitions = decoded, depth, repetitions

    def run(self, engine, given, model, file):
        """{column: tokens/s}, and what only A-IO says of itself."""
        if not engine.ours:
            speeds = theirs(engine, given, file, self.prompts, self.decoded, self.depth, self.repetitions)
            return {self.column(kind, n): speed for (kind, n), speed in speeds.items()}, None
        said = ours(engine, given, model, self.tests, self.depth)
        return {self.column(kind, n): speed for (kind, n, _), speed in said["speeds"].items()}, said

    def column(self, kind, n):
        if kind == "decode":
            return "decode" if self.depth == 0 else f"decode at {self.depth}"
        return f"prefill {n}" if kind == "prefill" or n > 64 else f"{n} rows"


def parts_of(given):
    rows = [int(n) for n in given.rows.split(",") if n]
    parts = [
        Part(
            "decode and steps",
            given.pairs,
            [f"decode:{DECODED}"] + [f"step:{n}" for n in rows],
            rows,
            DECODED,
            0,
            REPETITIONS,
        )
    ]
    if given.prefill:
        parts.append(Part("prefill", given.long_pairs, [f"prefill:{given.prefill}"], [given.prefill], 0, 0, 1))
    if given.depth:
        parts.append(Part("depth", given.deep_pairs, [f"decode:{DECODED_DEEP}"], [], DECODED_DEEP, given.depth, 1))
    return [part for part in parts if part.rounds > 0]


def summary(values):
    """Median, lowest, highest."""
    return [statistics.median(values), min(values), max(values)]


def spread(found, digits):
    median, low, high = found
    return f"{median:.{digits}f}" if low == high else f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def summarised(model, engines, speeds, said):
    """What is printed and written: every figure a median with the lowest and the highest."""
    columns = list(dict.fromkeys(column for (_, column) in speeds))
    our_name, times, shares = engines[0].name, {}, {}
    for peer in engines[1:]:
        ratios = {c: [a / b for a, b in zip(speeds[our_name, c], speeds[peer.name, c])] for c in columns}
        times[peer.name] = {c: summary(r) for c, r in ratios.items()}
    for s in said:
        for key, share in s["shares"].items():
            shares.setdefault(str(key[2]), []).append(100 * share)
    return {
        "model": model.rsplit("/", 1)[-1],
        "weight_bytes": said[0]["bytes"],
        "read_peak_gb_s": summary([peak for s in said for peak in s["peaks"]]),
        "tokens_per_s": {e.name: {c: summary(speeds[e.name, c]) for c in columns} for e in engines},
        "times": times,
        "percent_of_peak": {depth: summary(v) for depth, v in shares.items()},
    }


def print_table(found):
    columns = list(next(iter(found["tokens_per_s"].values())))
    weights, peak = f"{found['weight_bytes'] / 1e6:.0f} MB of weights a step", spread(found["read_peak_gb_s"], 1)
    print(f"\n### {found['model']}: {weights}, read peak {peak} GB/s\n")
    print("| tokens/s | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name, speeds in found["tokens_per_s"].items():
        print(f"| {name} | " + " | ".join(spread(speeds[c], 1) for c in columns) + " |")
    for name, times in found["times"].items():
        print(f"| **times {name}** | " + " | ".join(spread(times[c], 2) for c in columns) + " |")
    shares = (f"at depth {depth} {spread(v, 1)} %" for depth, v in found["percent_of_peak"].items())
    print("\nOur share of the read peak: " + "; ".join(shares))
    sys.stdout.flush()


def round_of(engines, given, model, file, part, turn):
    """One turn of every engine: (engine, column) to tokens/s, and what ours said besides."""
    speeds, said = {}, []
    first = turn % len(engines)
    for engine in engines[first:] + engines[:first]:
        name = model.rsplit("/", 1)[-1]
        print(f"{time.strftime('%H:%M:%S')} {name}, {part.name}, round {turn + 1}: {engine.name}", file=sys.stderr)
        measured, own = part.run(engine, given, model, file)
        said += [own] if own else []
        speeds.update({(engine.name, column): speed for column, speed in measured.items()})
    return speeds, said


def measure(engines, given, model):
    """False and what there is of whole rounds where an interrupt ends it."""
    file = ours(engines[0], given, model, [SYNTHETIC_TESTS], 0)["file"] if is_synthetic(model) else model
    speeds, said, is_whole = {}, [], True
    try:
        for part in parts_of(given):
            for turn in range(part.rounds):
                measured, own = round_of(engines, given, model, file, part, turn)
                said += own
                for key, speed in measured.items():
                    speeds.setdefault(key, []).append(speed)
    except KeyboardInterrupt:
        print(f"bench-peer: {model}: stopped after {len(said)} whole rounds", file=sys.stderr)
        is_whole = False
    found = summarised(model, engines, speeds, said) if said else None
    if found:
        print_table(found)
    return is_whole, found


def interrupt(*_):
    raise KeyboardInterrupt


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "models", nargs="+", help="GGUF files, or synthetic models as a-io bench names them: pangu-1b-llama:q4_k"
    )
    arguments.add_argument("--program", default="build/a-io")
    arguments.add_argument(
        "--peer",
        action="append",
        required=True,
        help="[NAME=]PATH of llama-bench and its options; several, or separated by ;",
    )
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--pairs", type=int, default=5, help="rounds of decode and steps (default: 5)")
    arguments.add_argument("--long-pairs", type=int, default=1, help="rounds of prefill (default: 1)")
    arguments.add_argument("--deep-pairs", type=int, default=1, help="rounds of decode at --depth (default: 1)")
    arguments.add_argument("--prefill", type=int, default=512)
    arguments.add_argument("--depth", type=int, default=2048, help="0: none")
    arguments.add_argument("--rows", default="2,4,8,16")
    arguments.add_argument("--json", metavar="FILE", help="the same figures, for tools/results.py")
    given = arguments.parse_args()
    engines = [Engine("A-IO", [given.program], True)]
    for peer in ";".join(given.peer).split(";"):
        name, _, command = peer.strip().rpartition("=") if "=" in peer.split()[0] else ("the peer", "", peer)
        engines.append(Engine(name, shlex.split(command), False))
    signal.signal(signal.SIGTERM, interrupt)
    found, failed = [], False
    for model in given.models:
        try:
            is_whole, figures = measure(engines, given, model)
        except RuntimeError as error:
            print(f"bench-peer: {model}: {error}", file=sys.stderr)
            failed = True
            continue
        found += [figures] if figures else []
        if not is_whole:
            failed = True
            break
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump({"models": found}, file, indent=1)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
