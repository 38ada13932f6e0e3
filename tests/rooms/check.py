#!/usr/bin/env python3
"""check.py OBJECTS: who calls whom, read from the objects (build/obj) by nm.

Fails on a circle of more than two files within a room, and on a call from a room to one that stands above it. An
object's calls are its undefined symbols; whoever defines one is called. (A file and its instruction sets' twins, which
tables lead to, are no circle: a table is data.)
"""

import collections
import pathlib
import subprocess
import sys

# A room may call those to its right in the line it is in: docs/design.md, "The rooms".
ALLOWED = {
    "main": {"cli", "kernel", "base"},
    "cli": {
        "server",
        "evidence",
        "measure",
        "hub",
        "orchestra",
        "config",
        "backend",
        "engine",
        "model",
        "kernel",
        "base",
    },
    "server": {"orchestra", "backend", "model", "base"},
    "evidence": {"orchestra", "config", "backend", "base"},
    "orchestra": {"config", "backend", "model", "kernel", "base"},  # of the kernels the names of KV types
    "backend": {"engine", "model", "kernel", "base"},
    "measure": {"engine", "model", "kernel", "base"},
    "engine": {"model", "kernel", "base"},
    "model": {"kernel", "base"},
    "config": {"base"},
    "kernel": {"base"},
    "hub": {"base"},
    "base": set(),
}


def has_source(path, folder):
    """A file that is gone, or moved, may have left its object."""
    return pathlib.Path("src", path.relative_to(folder)).with_suffix(".c").exists()


def symbols(folder):
    """(defined, undefined): name -> object, object -> names."""
    defined, undefined = {}, collections.defaultdict(set)
    objects = sorted(str(path) for path in pathlib.Path(folder).rglob("*.o") if has_source(path, folder))
    output = subprocess.check_output(["nm", "-A", "-P", *objects], text=True)
    for line in output.splitlines():
        place, name, kind = line.split(": ", 1)[0], *line.split(": ", 1)[1].split()[:2]
        file = str(pathlib.Path(place).relative_to(folder).with_suffix(""))
        if kind == "U":
            undefined[file].add(name)
        elif kind in "TDBRVW":
            defined[name] = file
    return defined, undefined


def calls(defined, undefined):
    return {
        file: {defined[name] for name in names if name in defined and defined[name] != file}
        for file, names in undefined.items()
    }


def circles(graph):
    """Strongly connected parts of more than one file (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(file):
        index[file] = low[file] = len(index)
        stack.append(file)
        for callee in graph.get(file, ()):
            if callee not in index:
                visit(callee)
                low[file] = min(low[file], low[callee])
            elif callee in stack:
                low[file] = min(low[file], index[callee])
        if low[file] == index[file]:
            part = []
            while not part or part[-1] != file:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    sys.setrecursionlimit(10000)
    for file in sorted(graph):
        if file not in index:
            visit(file)
    return found


def main():
    graph = calls(*symbols(sys.argv[1]))
    found = circles(graph)
    for part in found:
        print(f"circle of {len(part)}: {' '.join(part)}")
    upward = [
        f"{caller} calls {callee}"
        for caller, callees in sorted(graph.items())
        for callee in sorted(callees)
        if caller.split("/")[0] != callee.split("/")[0] and callee.split("/")[0] not in ALLOWED[caller.split("/")[0]]
    ]
    print(*upward, f"{len(graph)} files, {len(found)} circles, {len(upward)} calls upwards", sep="\n")
    sys.exit(1 if upward or any(len(part) > 2 for part in found) else 0)


main()
