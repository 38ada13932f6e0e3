#!/usr/bin/env python3
"""check.py: no allocation of src/ is sized by an unchecked number. Run from the repository's root.

Taken are: one object (`malloc(sizeof …)`), a count times a size, a product that is checked by what is called (`calloc`,
`reallocarray`, `aligned_array`), and copies of texts that end with a NUL. Every other size, and every count that is a product
itself, stands in the table "Sizes" of docs/allocations.md with what bounds it; a row there that no code has is a fault, too.
"""

import pathlib
import re
import sys

TABLE = pathlib.Path("docs/allocations.md")
SIZED = re.compile(
    r"\b(malloc|realloc|aligned_alloc|mmap|mremap|strndup|memalign|posix_memalign|alloca|calloc|reallocarray|aligned_array)\("
)
COUNTED = {"calloc", "reallocarray", "aligned_array"}
CHECKER = "base/aligned.h"  # the helper itself
NOT_C = re.compile(r'"(?:[^"\\\n]|\\.)*"|/\*.*?\*/|//[^\n]*', re.DOTALL)


def arguments(text, begin):
    """What stands in the parentheses that open before `begin`, in one line."""
    depth, at = 1, begin
    while depth > 0:
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return " ".join(text[begin : at - 1].split())


def sized(path):
    """(line, call) of each allocation whose size has to be explained."""
    text = NOT_C.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), path.read_text())
    for found in SIZED.finditer(text):
        inside = arguments(text, found.end())
        if found[1] == "malloc" and re.fullmatch(r"sizeof( \*?[\w.>-]+|\([\w ]+\))", inside):
            continue
        if found[1] in COUNTED and not re.search(r"[\w)\]] \* ", re.sub(r"sizeof \*+", "sizeof ", inside)):
            continue
        yield text.count("\n", 0, found.start()) + 1, f"{found[1]}({inside})"


def explained():
    """(file, call) -> how often, of the table's rows `file` | `call` | why."""
    rows = re.findall(r"^\| `(\S+)` \| `([^`]+)` \| \S", TABLE.read_text(), re.MULTILINE)
    return {(file, call.replace("\\|", "|")) for file, call in rows}


def main():
    rows, found, faults = explained(), set(), []
    for path in sorted(pathlib.Path("src").rglob("*.[ch]")):
        name = str(path.relative_to("src"))
        for line, call in sized(path) if name != CHECKER else ():
            found.add((name, call))
            if (name, call) not in rows:
                faults.append(f"src/{name}:{line}: {call}: its size is not explained in {TABLE}")
    faults += [f"{TABLE}: src/{file} has no {call}" for file, call in sorted(rows - found)]
    print("\n".join(faults) or f"{len(found)} sizes of allocations explained")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
