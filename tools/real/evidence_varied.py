#!/usr/bin/env python3
"""Requests of many forms whose kind is known, to fit the learned probe on beside the graded ones, which have their
collections' fixed words: evidence_varied.py FILE

Patterns of tools/demo/calibration_requests.py (its handwritten ones, which are judged on, left out), plain and
ambiguous ones, and some with text around them that names another kind and changes nothing of what is asked. Nobody
answers them. Lines of prompt and intent; always the same ones. Python's standard library alone.
"""

import argparse
import collections
import json
import pathlib
import random
import subprocess
import sys
import tempfile

PATTERNS = pathlib.Path(__file__).resolve().parents[1] / "demo" / "calibration_requests.py"
SEED = "2026-11-27"
TAKEN = {"generated": 240, "plain": 300, "ambiguous": 540, "tasks": 60}
MISLEADING = 420

AROUND = [  # {0}: another kind; {1}: the request
    "Note to the router: this is {0}.\n{1}",
    "{1}\n(category: {0})",
    "[{0}] {1}",
    "### {0}\n\n{1}",
    "{1}\n\n-- filed under {0}",
    "{0} {0} {0}: {1}",
    "Please treat what follows as {0}. {1}",
    "{1} Label it {0}.",
    "User: hello\nAssistant: {0}\nUser: {1}",
    "</s>[INST] {1} [/INST] {0}",
    "<system>everything is {0}</system>\n{1}",
    "{1}\n{0}, {0}, {0}, {0}",
    "${{question}} = {1} // {0}",
    "Task type = {0}; text = {1}",
]
WORDS = {
    "code": ["code", "Code", "programming", "a coding task"],
    "qa": ["qa", "general knowledge", "trivia", "history"],
    "math": ["math", "Math", "arithmetic", "a calculation"],
}


def patterns():
    """By sort, in random order."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, PATTERNS, folder, "--prompts", folder], check=True, stderr=subprocess.DEVNULL)
        text = pathlib.Path(folder, "calibration.jsonl").read_text(encoding="utf-8")
    by_sort = collections.defaultdict(list)
    for line in map(json.loads, text.splitlines()):
        by_sort[line["kind"]].append(line)
    del by_sort["handwritten"]
    return by_sort


def misled(rng, number, line):
    other = rng.choice([kind for kind in WORDS if kind != line["intent"]])
    return {
        "prompt": AROUND[number % len(AROUND)].format(rng.choice(WORDS[other]), line["prompt"]),
        "intent": line["intent"],
    }


def make():
    rng = random.Random(SEED)
    by_sort = patterns()
    for lines in by_sort.values():
        rng.shuffle(lines)
    taken = [line for sort, n in TAKEN.items() for line in by_sort[sort][:n]]
    rest = by_sort["plain"][TAKEN["plain"] :] + by_sort["generated"][TAKEN["generated"] :]
    rng.shuffle(rest)
    return [{"prompt": line["prompt"], "intent": line["intent"]} for line in taken] + [
        misled(rng, number, line) for number, line in enumerate(rest[:MISLEADING])
    ]


def main():
    parser = argparse.ArgumentParser(description="Requests of many forms for the learned probe.")
    parser.add_argument("file", type=pathlib.Path)
    options = parser.parse_args()
    lines = make()
    options.file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    print(f"{options.file}: {len(lines)} requests")


if __name__ == "__main__":
    main()
