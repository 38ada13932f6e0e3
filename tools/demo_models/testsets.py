"""The test sets, regenerated from fixed seeds; none of their prompts is trained on."""

import os
import random

import mixture
import probe_texts
import tasks_code
import tasks_math
import tasks_qa

SEEDS = {"code": 101, "qa": 102, "math": 103, "long": 104, "probe": 105}
TASKS = ["code", "qa", "math", "long"]


def task(name, n, tok):
    """n items (prompt, answer, check)."""
    if name == "long":
        return tasks_code.make_long_test(
            n, SEEDS[name], lambda t: len(tok.encode(t)), mixture.LONG_LOW, mixture.LONG_HIGH
        )
    return {"code": tasks_code, "qa": tasks_qa, "math": tasks_math}[name].make_test(n, SEEDS[name])


def handwritten(name="handwritten.txt"):
    """Requests written by hand, wholly held out: (label, text)."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    label, out = None, []
    with open(path, encoding="utf-8") as f:
        for line in f.read().split("\n"):
            if line.startswith("## "):
                label = line[3:]
            elif line and not line.startswith("#!"):
                out.append((label, line.replace("\\n", "\n")))
    return out


def probe(tok):
    """{set: [(label, prompt)]}: generated and real requests, the wholly held-out sources, and the four tasks."""
    rng = random.Random(SEEDS["probe"])
    sets = {
        "generated": [
            (label, probe_texts.make(rng, label, "test")) for label in probe_texts.FAMILIES for _ in range(200)
        ]
    }
    for source, r in mixture.real().items():
        sets["real " + source] = [(r["label"], p) for p in r["test"]]
    for label in probe_texts.FAMILIES:
        sets["handwritten " + label] = [x for x in handwritten() if x[0] == label]
        sets["second hand " + label] = [x for x in handwritten("handwritten2.txt") if x[0] == label]
    for name in TASKS:
        sets["task " + name] = [("code" if name == "long" else name, p) for p, _, _ in task(name, 200, tok)]
    return sets
