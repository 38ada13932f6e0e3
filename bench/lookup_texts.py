#!/usr/bin/env python3
"""Texts for `make bench-lookup`: 16 requests with their replies of each kind, one JSON object a line.

copy   a text is to be repeated word for word (documents and sources of this repository)
edit   a file is to be changed: real changes of this repository, before and after
word   sheets of word problems (the demo models' generator), worked in whole sentences
prose  a section is to be written: prose of this repository's documents, tables and lists left out

All from one commit and its past, so that the texts stay the same.
"""

import json
import random
import re
import subprocess
import sys

COMMIT = "74276f1"
N = 16


def git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True).stdout.decode("utf-8", "replace")


def files(pattern):
    return [p for p in git("ls-tree", "-r", "--name-only", COMMIT).splitlines() if re.fullmatch(pattern, p)]


def text_of(path):
    return git("show", f"{COMMIT}:{path}")


def emit(kind, prompt, reply):
    print(json.dumps({"kind": kind, "prompt": prompt, "reply": reply}))


def pieces(text, least, most):
    """Whole paragraphs, joined until they have at least `least` characters."""
    part = ""
    for paragraph in text.split("\n\n"):
        part = part + "\n\n" + paragraph if part else paragraph
        if len(part) >= least:
            if len(part) <= most:
                yield part
            part = ""


def copies():
    sources = []
    for path in files(r"docs/.*\.md|src/engine/.*\.[ch]|src/orchestra/.*\.c"):
        sources.append(next(pieces(text_of(path), 1200, 2600), None))
    for text in [s for s in sources if s][:N]:
        emit(
            "copy",
            f"Repeat this text word for word, and say when it ends.\n\n{text}\n",
            f"Here is the text:\n\n{text}\n\nThat was all of it.",
        )


def edits():
    """The latest changes of one small file each: not new files, nor mere additions at one place."""
    found = 0
    for line in git("log", "--no-merges", "--format=%h %s", COMMIT).splitlines():
        commit, subject = line.split(" ", 1)
        for entry in git("diff-tree", "--no-commit-id", "-r", "--numstat", "--diff-filter=M", commit).splitlines():
            added, removed, path = entry.split("\t")
            if not re.search(r"\.(c|h|py|mjs)$", path) or not 3 <= int(removed) <= 40 or int(added) > 40:
                continue
            before, after = git("show", f"{commit}^:{path}"), git("show", f"{commit}:{path}")
            if not 1500 <= len(after) <= 6000:
                continue
            emit("edit", f"Change {path}: {subject}\n\n```\n{before}```\n", f"```\n{after}```\n")
            found += 1
            if found == N:
                return
            break


def worked(r, prompt, answer):
    steps, result = re.fullmatch(r"(.*) The answer is (-?\d+)\.", answer).groups()
    sentences = re.split(r"(?<=[.?]) ", prompt)
    lines = []
    if r.random() < 0.5:
        lines.append(r.choice(["We know this: ", "What is given: "]) + " ".join(sentences[:-1]))
    else:
        lines.append(r.choice(["Let us take it one step after the other.", "We go through it step by step."]))
    for i, step in enumerate(steps.split()):
        sum_, value = step.rstrip(".").split("=")
        left, operator, right = re.fullmatch(r"(\d+)([-+*/])(\d+)", sum_).groups()
        word = {
            "+": "add {1} to {0}",
            "-": "take {1} away from {0}",
            "*": "multiply {0} by {1}",
            "/": "divide {0} by {1}",
        }[operator].format(left, right)
        begin = r.choice(["First we", "To begin, we"]) if i == 0 else r.choice(["Then we", "Next we", "After that we"])
        lines.append(f"{begin} {word}: {left} {operator} {right} = {value}.")
    question = sentences[-1].rstrip("?")
    lines.append(r.choice([f"So the answer is {result}.", f"{question}? It is {result}."]))
    return "\n".join(lines)


def word_problems():
    sys.path.insert(0, "tools/demo_models")
    import tasks_math

    r = random.Random(5)
    for _ in range(N):
        problems = [tasks_math.make(r, "test") for _ in range(4)]
        sheet = "\n".join(f"{i}. {p[0]}" for i, p in enumerate(problems, 1))
        reply = "\n\n".join(f"Problem {i}\n{worked(r, p[0], p[1])}" for i, p in enumerate(problems, 1))
        emit("word", f"Solve these problems and show how.\n\n{sheet}\n", reply)


def prose():
    paragraphs = []
    for path in files(r"(.*/)?[^/]*\.md"):
        for paragraph in re.sub(r"```.*?```", "", text_of(path), flags=re.S).split("\n\n"):
            if len(paragraph) > 150 and not re.match(r"\s*([#|>*-]|\d+\.)", paragraph):
                paragraphs.append(re.sub(r"\s+", " ", paragraph).strip())
    parts = list(pieces("\n\n".join(paragraphs), 900, 2600))
    step = max(1, len(parts) // N)
    for part in parts[::step][:N]:
        emit("prose", "Write some paragraphs about this: " + " ".join(part.split()[:8]) + " ...\n", part)


if __name__ == "__main__":
    copies()
    edits()
    word_problems()
    prose()
