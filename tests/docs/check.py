#!/usr/bin/env python3
"""check.py: what the documents say of the tree, held to it. Run from the repository's root.

Every file of source named in a document of `git ls-files` exists (by its path from the root, from src/, from the document's
folder, or by its name alone; `quant_*.c` is any that fits), links lead to files, and no line is longer than 100
columns, tables, code, headings and single words aside. And every file of src/ begins with a word on what it does, no file of
src/, tests/, bench/ and tools/ has more than 500 lines, and every key of a configuration is in the manual page.
"""

import fnmatch
import os.path
import pathlib
import re
import subprocess
import sys

WIDTH = 100
LONGEST = 500  # lines of a file of code
CODE = (".c", ".h", ".rs", ".py", ".mjs", ".sh")
SOURCE = r"[\w./*-]+\.(?:c|h|rs|py|mjs|sh|svg|html|js|css)"


def tracked():
    return subprocess.check_output(["git", "ls-files"], text=True).split("\n")[:-1]


def exists(name, document, files):
    if name.startswith("build/"):
        return True
    places = (name, f"src/{name}", os.path.normpath(document.parent / name), f"*/{name}")
    return any(fnmatch.fnmatch(file, place) for place in places for file in files)


def names_in(line):
    """Source files in code spans, and what links lead to."""
    for span in re.findall(r"`([^`]+)`", line):
        for word in span.split():
            if re.fullmatch(SOURCE, word.strip(",;:()")):
                yield word.strip(",;:()")
    for target in re.findall(r"\]\(([^)#\s]+)", line):
        if "://" not in target and not target.startswith("mailto:"):
            yield target


def too_wide(line):
    stripped = line.strip()
    return len(line) > WIDTH and not stripped.startswith(("|", "#", "!")) and " " in stripped


def faults(document, files):
    code = False
    for number, line in enumerate(document.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
            continue
        if code:
            continue
        for name in names_in(line):
            if not exists(name, document, files):
                yield f"{document}:{number}: there is no {name}"
        if too_wide(line):
            yield f"{document}:{number}: {len(line)} columns, {WIDTH} at most"


def faults_of_source(files):
    for file in files:
        if not file.startswith(("src/", "tests/", "bench/", "tools/")) or not file.endswith(CODE):
            continue
        text = pathlib.Path(file).read_text()
        if file.startswith("src/") and not text.startswith(("/*", "//")):
            yield f"{file}: begins without a word on what it does"
        if text.count("\n") > LONGEST:
            yield f"{file}: {text.count(chr(10))} lines, {LONGEST} at most"


def faults_of_manual():
    """Every key of a configuration stands in the manual page."""
    schema = pathlib.Path("src/config/schema.c").read_text()
    page = set(re.findall(r"[a-z_0-9]+", pathlib.Path("docs/a-io.1.in").read_text()))
    for key in re.findall(r'(?:TEXT|UINT|FLAG|REAL)\((\w+),|CYAML_FIELD_\w+\(\s*"(\w+)"', schema):
        name = key[0] or key[1]
        if name != "key" and not {name, re.sub("^(above|max)_", "", name)} & page:
            yield f"docs/a-io.1.in: lacks the key {name}"


def main():
    files = tracked()
    documents = [pathlib.Path(file) for file in files if file.endswith(".md")]
    found = [fault for document in documents for fault in faults(document, files)]
    found += faults_of_source(files)
    found += faults_of_manual()
    print(*found, f"{len(documents)} documents read, {len(found)} faults", sep="\n")
    sys.exit(1 if found else 0)


main()
