"""Writes models/demo/requests.jsonl (mixed demo requests) from seeds of their own: make_requests.py [OUT]

All prompts belong to the test side of the splits; nothing is chosen by looking at what a model answers.
"""

import json
import os
import random
import sys

import export
import mixture
import tasks_code
import tasks_math
import tasks_qa

SEED = 2024
COUNTS = {"code": 7, "qa": 6, "math": 5, "long": 2}
MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../models/demo")


def main(out=MODELS + "/requests.jsonl"):
    _, tok = export.load(os.path.join(MODELS, "small.gguf"))
    items = {
        "code": tasks_code.make_test(COUNTS["code"], SEED),
        "qa": tasks_qa.make_test(COUNTS["qa"], SEED),
        "math": tasks_math.make_test(COUNTS["math"], SEED),
        "long": tasks_code.make_long_test(
            COUNTS["long"], SEED, lambda t: len(tok.encode(t)), mixture.LONG_LOW, mixture.LONG_HIGH
        ),
    }
    rows = [(name, i, item) for name, many in items.items() for i, item in enumerate(many)]
    random.Random(SEED).shuffle(rows)
    with open(out, "w", encoding="utf-8") as f:
        for name, i, (prompt, expected, check) in rows:
            f.write(
                json.dumps(
                    {
                        "id": f"{name}-{i + 1}",
                        "task": name,
                        "intent": "code" if name == "long" else name,
                        "prompt": prompt,
                        "expected": expected,
                        "check": check,
                    },
                    ensure_ascii=False,
                )
                + "\n"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
