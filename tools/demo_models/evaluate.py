"""Scores the pair on the test sets.

evaluate.py                        the torch model on the dequantised weights of models/demo/*.gguf
evaluate.py --server URL           `a-io serve`, models `small` and `large`, temperature 0
evaluate.py --route "a-io route --jsonl"   the probe through the program instead of torch
"""

import argparse
import collections
import concurrent.futures
import json
import math
import os
import shlex
import subprocess
import time
import urllib.error
import urllib.request

import torch

import chat
import export
import generate
import testsets
from check import check_all

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "../../models/demo")
PAIR = ["small", "large"]


def ask(server, model, prompt):
    """(text, completion tokens) from a chat completion; an error is an empty answer."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 80}
    request = urllib.request.Request(
        server.rstrip("/") + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=600) as r:
            reply = json.load(r)
        return reply["choices"][0]["message"]["content"] or "", reply["usage"]["completion_tokens"]
    except urllib.error.HTTPError as e:
        return f"[{e.code}] {e.read().decode('utf-8', 'replace')[:200]}", 0


def paired(small, large):
    """Difference large - small in points with its 95 % interval."""
    d = [b - a for a, b in zip(small, large)]
    mean = sum(d) / len(d)
    var = sum((x - mean) ** 2 for x in d) / (len(d) - 1)
    half = 1.96 * math.sqrt(var / len(d))
    return 100 * mean, 100 * (mean - half), 100 * (mean + half)


def tasks(a, models, tok):
    report = {}
    for name in a.tasks.split(","):
        items = testsets.task(name, a.n, tok)
        good, row = {}, {"items": len(items)}
        for m, bits in a.right.get(name, {}).items():
            if m not in a.models.split(",") and len(bits) == len(items):
                good[m], row[m] = [b == "1" for b in bits], round(100 * bits.count("1") / len(items), 2)
        for m in a.models.split(","):
            start = time.time()
            if a.server:
                with concurrent.futures.ThreadPoolExecutor(a.connections) as pool:
                    answers, counts = zip(*pool.map(lambda i: ask(a.server, m, i[0]), items))
                row[m + "_tokens_per_second_all_connections"] = round(sum(counts) / (time.time() - start), 1)
            else:
                ids = [chat.conversation(tok, [("user", p)]) for p, _, _ in items]
                answers = [tok.decode(x) for x in generate.greedy(models[m], ids, rows=16 if name == "long" else 64)]
            good[m] = check_all(answers, [c for _, _, c in items])
            row[m] = round(100 * sum(good[m]) / len(items), 2)
            for (prompt, expected, _), answer, ok in zip(items, answers, good[m]):
                if a.wrong and not ok and row.setdefault("_" + m, 0) < a.wrong:
                    row["_" + m] += 1
                    print(
                        json.dumps(
                            {"model": m, "prompt": prompt[-200:], "expected": expected, "answer": answer},
                            ensure_ascii=False,
                        )
                    )
        if len(good) == 2:
            row["difference"] = [round(x, 2) for x in paired(good["small"], good["large"])]
        row = {k: v for k, v in row.items() if k[0] != "_"}
        a.right.setdefault(name, {}).update({m: "".join("01"[x] for x in g) for m, g in good.items()})
        report[name] = row
        print(name, json.dumps(row), flush=True)
    return report


def decide(a, model, tok, prompts):
    """Label probabilities for each prompt; None where a rule decided before the probe."""
    if not a.route:
        return [p for p, _ in generate.probe(model, tok, [[("user", x)] for x in prompts])]
    text = "".join(json.dumps({"prompt": p}) + "\n" for p in prompts)
    done = subprocess.run(shlex.split(a.route), input=text, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(prompts), done.stderr
    return [r.get("intent") and [r["intent"]["probabilities"][x] for x in chat.LABELS] for r in rows]


def probes(a, models, tok):
    report = {}
    sets = testsets.probe(tok)
    groups = {
        "all real": [k for k in sets if k.startswith("real ")],
        "all handwritten": [k for k in sets if k.startswith("handwritten ")],
        "all second hand": [k for k in sets if k.startswith("second hand ")],
    }
    results = {}
    for m in ["small"] if a.route else a.models.split(","):
        for name, items in sets.items():
            p = decide(a, models and models[m], tok, [x for _, x in items])
            results[name] = [(label, q) for (label, _), q in zip(items, p) if q]
            for (label, text), q in zip(items, p):
                if q and a.wrong and label != chat.LABELS[q.index(max(q))] and "task" not in name:
                    print(json.dumps([m, name, label, [round(x, 3) for x in q], text[:160]], ensure_ascii=False))
        for name in list(sets) + list(groups):
            rows = [x for k in groups.get(name, [name]) for x in results[k]]
            if not rows:
                continue
            confusion = {x: collections.Counter() for x in chat.LABELS}
            entropy = []
            for label, q in rows:
                confusion[label][chat.LABELS[q.index(max(q))]] += 1
                entropy.append(-sum(x * math.log(x) for x in q if x > 0))
            right = sum(confusion[x][x] for x in chat.LABELS)
            row = {
                "items": len(rows),
                "not_probed": sum(len(sets[k]) for k in groups.get(name, [name])) - len(rows),
                "accuracy": round(100 * right / len(rows), 2),
                "mean_entropy": round(sum(entropy) / len(rows), 4),
                "above_0.45": round(100 * sum(h > 0.45 for h in entropy) / len(rows), 2),
                "confusion": {x: [confusion[x][y] for y in chat.LABELS] for x in chat.LABELS if confusion[x]},
            }
            report[f"{m} {name}"] = row
            print("probe", m, name, json.dumps(row), flush=True)
    return report


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--server")
    p.add_argument("--route")
    p.add_argument("--connections", type=int, default=8)
    p.add_argument("--dir", default=MODELS)
    p.add_argument("--models", default="small,large")
    p.add_argument("--tasks", default=",".join(testsets.TASKS))
    p.add_argument("--n", type=int, default=2000)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--wrong", type=int, default=0, help="print so many wrong answers a task")
    p.add_argument("--no-tasks", action="store_true")
    p.add_argument("--no-probe", action="store_true")
    p.add_argument("--out", help="write the figures as JSON")
    p.add_argument("--with", dest="other", help="figures of the model not scored now, from an earlier --out")
    a = p.parse_args()
    a.right, report = {}, {}
    if a.other:
        with open(a.other) as f:
            report = json.load(f)
        a.right = report.get("right", {})
    torch.set_num_threads(a.threads)
    loaded = {m: export.load(os.path.join(a.dir, m + ".gguf")) for m in a.models.split(",")}
    tok = next(iter(loaded.values()))[1]
    models = {m: x for m, (x, _) in loaded.items()}
    if not a.no_tasks:
        report["tasks"] = tasks(a, models, tok)
        report["right"] = a.right
    if not a.no_probe and not a.server:
        report.setdefault("probe", {}).update(probes(a, models, tok))
    if a.out:
        with open(a.out, "w") as f:
            json.dump(report, f, indent=1)


if __name__ == "__main__":
    main()
