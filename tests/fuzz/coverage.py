#!/usr/bin/env python3
"""coverage.py --llvm VERSION --counted PROGRAM... --traced PROGRAM...: what of src the fuzz targets reach together.

Each target runs its seeds and its corpus (build/fuzz/NAME, of all runs so far) once. Of C, llvm-cov counts lines and
branches (the programs of --counted). Of Rust, whose compiler has another version of LLVM, libFuzzer counts the branches
(edges) of functions (those of --traced). Prints a table by room, and keeps all files' figures in build/fuzz/coverage.json.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

from run import KEPT, seeds_of

FOLDER = KEPT / "coverage"
FUNCTION = re.compile(r"^(?:UN)?COVERED_FUNC: hits: \d+ edges: (\d+)/(\d+) (.+?) (\S+?)(?::\d+)*$", re.MULTILINE)


def run_once(program, more, environment):
    name = pathlib.Path(program).name.removeprefix("fuzz_")
    command = [
        program,
        "-runs=0",
        *more,
        *(path for path in (KEPT / name, *seeds_of(name)) if pathlib.Path(path).is_dir()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env={**os.environ, **environment})
    if done.returncode != 0:
        sys.exit(f"{name}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return done.stderr


def run_all(programs, more, environment_of):
    """What each program printed; two run at a time."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda program: run_once(program, more, environment_of(program)), programs))


def lines_of_c(programs, llvm):
    """file -> (lines, lines reached, branches, branches reached)."""
    run_all(programs, [], lambda program: {"LLVM_PROFILE_FILE": str(FOLDER / f"{pathlib.Path(program).name}.profraw")})
    merged = FOLDER / "merged.profdata"
    subprocess.run(
        [f"llvm-profdata-{llvm}", "merge", "-sparse", *sorted(FOLDER.glob("*.profraw")), "-o", merged], check=True
    )
    objects = [word for program in programs[1:] for word in ("-object", program)]
    command = [f"llvm-cov-{llvm}", "export", "-summary-only", f"-instr-profile={merged}", programs[0], *objects]
    exported = json.loads(subprocess.check_output(command))
    files = {}
    for file in exported["data"][0]["files"]:
        path = os.path.relpath(file["filename"])
        if path.startswith("src/"):
            lines, branches = file["summary"]["lines"], file["summary"]["branches"]
            files[path] = lines["count"], lines["covered"], branches["count"], branches["covered"]
    return files


def branches_of_rust(programs):
    """file -> (branches, branches reached): of each function what the target reaches that reaches most of it."""
    functions = {}
    for output in run_all(programs, ["-print_coverage=1"], lambda _: {}):
        for reached, all_, function, file in FUNCTION.findall(output):
            if re.search(r"src/(template|constraint|base)/\w+\.rs$", file):
                before = functions.get((file, function), (0, 0))
                functions[file, function] = max(before, (int(reached), int(all_)))
    files = collections.defaultdict(lambda: (0, 0))
    for (file, _), (reached, all_) in functions.items():
        file = re.search(r"src/\w+/\w+\.rs$", file)[0]
        files[file] = files[file][0] + all_, files[file][1] + reached
    return dict(files)


def share(reached, of):
    return f"{100 * reached / of:5.1f} %" if of > 0 else "      -"


def by_room(files):
    rooms = collections.defaultdict(lambda: [0] * 4)
    for path, figures in files.items():
        for i, figure in enumerate(figures):
            rooms[path.split("/")[1]][i] += figure
    return sorted(rooms.items())


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--llvm", required=True)
    options.add_argument("--counted", nargs="+", required=True)
    options.add_argument("--traced", nargs="+", required=True)
    wanted = options.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.profraw"):
        old.unlink()
    c, rust = lines_of_c(wanted.counted, wanted.llvm), branches_of_rust(wanted.traced)
    (KEPT / "coverage.json").write_text(json.dumps({"c": c, "rust": rust}, indent=1))
    print("| room | lines | reached | branches | reached |\n|---|---|---|---|---|")
    for room, (lines, reached, branches, branches_reached) in by_room(c):
        print(f"| {room} | {lines} | {share(reached, lines)} | {branches} | {share(branches_reached, branches)} |")
    for room, (edges, reached, *_) in by_room(rust):
        print(f"| {room} (Rust) | | | {edges} | {share(reached, edges)} |")


main()
