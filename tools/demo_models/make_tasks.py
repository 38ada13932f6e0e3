#!/usr/bin/env python3
"""Writes models/demo/tasks.jsonl, the built-in tasks of `a-io replay`, the same bytes every time: make_tasks.py [OUT]

All prompts belong to the test side of the splits and no two are equal; nothing is chosen by looking at what a model
answers. A line is a task ("id", "task", "prompt", "check"), or a text that may stand before one ("text"), or
a long task: "of" a code task, "after" so many of the texts, by their numbers. Python's standard library only.
"""

import json
import pathlib
import random
import re
import sys

import tasks_code
import tasks_math
import tasks_qa

SEED = 2026
# Enough for 2,000 requests of each scenario (src/evidence/scenario.c).
COUNTS = {"code": 1400, "qa": 1000, "math": 600, "long": 1000}
TEXTS = 400
# A long prompt's words, digits and marks, for which the demo pair has 0.88 to 0.97 tokens each: more than the small
# model's context of 320, with room for an answer in the large one's of 640.
LONG_LOW, LONG_HIGH = 440, 600
PIECE = re.compile(r" ?[A-Za-z]+|\d| ?[^\sA-Za-z\d]+|\s+")
OUT = pathlib.Path(__file__).resolve().parents[2] / "models/demo/tasks.jsonl"


def different(make, n):
    """The first n of make() whose prompts differ."""
    found = {}
    while len(found) < n:
        item = make()
        found.setdefault(item[0], item)
    return list(found.values())


def code_check(answer, check):
    """The function itself says the values: shorter than they are."""
    return {"type": "python", "reference": answer, "call": [expression for expression, _ in check["call"]]}


def long_task(rng, prompt, texts):
    """Numbers of texts, an opening first, that bring the prompt to its length."""
    goal = rng.randint(LONG_LOW, LONG_HIGH)
    openings = len(tasks_code.OPENINGS)
    order = [rng.randrange(openings), *rng.sample(range(openings, len(texts)), len(texts) - openings)]
    size, after = len(PIECE.findall(prompt)), []
    for number in order:
        size += len(PIECE.findall(texts[number])) + 1
        if size > goal:
            break
        after.append(number)
    return after


def lines():
    rng = random.Random(SEED)
    facts = rng.sample(tasks_qa.FACTS, COUNTS["qa"])
    texts = tasks_code.OPENINGS + [text for (text,) in different(lambda: (tasks_code.paragraph(rng),), TEXTS)]
    items = {
        "code": different(lambda: tasks_code.make(rng, "test"), COUNTS["code"]),
        "qa": [tasks_qa.make(rng, "test", fact) for fact in facts],
        "math": different(lambda: tasks_math.make(rng, "test"), COUNTS["math"]),
    }
    for text in texts:
        yield {"text": text}
    for kind, many in items.items():
        for i, (prompt, answer, check) in enumerate(many):
            if kind == "code":
                check = code_check(answer, check)
            yield {"id": f"{kind}-{i + 1}", "task": kind, "prompt": prompt, "check": check}
    for i in range(COUNTS["long"]):
        after = long_task(rng, items["code"][i][0], texts)
        yield {"id": f"long-{i + 1}", "of": f"code-{i + 1}", "after": after}


def main(out=OUT):
    with open(out, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines())


if __name__ == "__main__":
    main(*sys.argv[1:])
