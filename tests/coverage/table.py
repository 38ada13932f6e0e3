#!/usr/bin/env python3
"""table.py OBJECTS [--unreached]: what tests reached of the C code, by room, from gcc's counts beside OBJECTS.

A line or branch of a header counts once, whoever includes it. With --unreached: the functions that nothing called, and
by file the lines that nothing reached. Python's standard library, and gcov.
"""

import argparse
import collections
import concurrent.futures
import gzip
import json
import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def read_counts(notes):
    """What gcov says of one object."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["gcov", "--json-format", "--branch-probabilities", notes], cwd=folder, check=True, capture_output=True
        )
        return [json.loads(gzip.decompress(one.read_bytes())) for one in pathlib.Path(folder).glob("*.gcov.json.gz")]


class Source:
    """How often each line, branch and function of a file was reached."""

    def __init__(self):
        self.lines, self.branches, self.functions = collections.Counter(), collections.Counter(), collections.Counter()

    def add(self, file):
        for line in file["lines"]:
            number = line["line_number"]
            self.lines[number] += line["count"]
            for i, branch in enumerate(line["branches"]):
                self.branches[number, i] += branch["count"]
        for one in file["functions"]:
            self.functions[one["start_line"], one["name"]] += one["execution_count"]


def read_all(objects):
    notes = sorted(pathlib.Path(objects).resolve().glob("**/*.gcno"))
    sources = collections.defaultdict(Source)
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for read in pool.map(read_counts, notes):
            for file in [file for one in read for file in one["files"]]:
                path = pathlib.Path(ROOT, file["file"]).resolve()
                if path.is_relative_to(ROOT / "src"):
                    sources[path.relative_to(ROOT / "src")].add(file)
    return sources


def share(counts):
    reached = sum(count > 0 for count in counts)
    return f"{reached:6} of {len(counts):6}, {100 * reached / max(1, len(counts)):5.1f} %"


def print_table(sources):
    rooms = collections.defaultdict(lambda: ([], []))
    for path, one in sources.items():
        room = path.parts[0] if len(path.parts) > 1 else "cli"
        for name in {room, "all but cli"} if room != "cli" else {room}:
            rooms[name][0].extend(one.lines.values())
            rooms[name][1].extend(one.branches.values())
    for room in sorted(rooms, key=lambda name: (name == "all but cli", name)):
        print(f"coverage {room:12} lines {share(rooms[room][0])}   branches {share(rooms[room][1])}")


def print_unreached(sources):
    for path, one in sorted(sources.items()):
        for (line, name), count in sorted(one.functions.items()):
            if count == 0:
                print(f"never called: src/{path}:{line} {name}")
    for path, one in sorted(sources.items()):
        missing = sorted(number for number, count in one.lines.items() if count == 0)
        if missing:
            print(f"{len(missing):4} lines of src/{path}: {' '.join(map(str, missing))}")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("objects")
    options.add_argument("--unreached", action="store_true")
    given = options.parse_args()
    sources = read_all(given.objects)
    if given.unreached:
        print_unreached(sources)
    print_table(sources)


if __name__ == "__main__":
    main()
