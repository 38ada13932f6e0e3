#!/usr/bin/env python3
"""What routing between the real pair is worth: tables, a results file and a picture from what `make evidence-real`
made: evidence_report.py FOLDER --steps BENCH.json [--larger BENCH.json] [--markdown FILE] [--results FILE]

FOLDER holds labelled-judge.jsonl (a-io label) and, for each way to decide, decisions-NAME.jsonl (a-io route --jsonl
over the same requests); what each model makes of the other's answers (scores-*.jsonl), how the large one went on from the
small one's (labelled-relay.jsonl) and speculation.json (measured) where they are. Nothing here was fitted on these requests. Python's standard library.
"""

import argparse
import collections
import json
import pathlib
import sys

import evidence_checked as checked
import evidence_costs as costs
import evidence_picture as picture
import evidence_serve as serve
import evidence_statistics as statistics
from evidence_tables import KINDS, STREAMS, markdown

PUBLISHED = {  # per cent; Qwen2.5-Coder Technical Report (arXiv 2409.12186), instruct models, EvalPlus's prompts, BF16
    "humaneval": {"small": 61.6, "large": 70.7}
}
HEADS = {"success": "success head", "gain": "gain head (nothing to gain from the large one)"}


def read_lines(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


# ---- what is known -------------------------------------------------------------------------------


class Judged:
    """The judged requests, in order, with what each way to decide said of them."""

    def __init__(self, folder):
        self.lines = read_lines(folder / "labelled-judge.jsonl")
        self.small = [int(line["small"]["right"]) for line in self.lines]
        self.large = [int(line["large"]["right"]) for line in self.lines]
        self.kinds = [line["intent"] for line in self.lines]
        self.decisions = {}
        for path in sorted(folder.glob("decisions-*.jsonl")):
            self.decisions[path.stem.removeprefix("decisions-")] = self.checked(path)
        of_small, of_large = (
            serve.read_lines(folder / f"scores-{reader}-judge.jsonl") for reader in ("large-of-small", "small-of-large")
        )
        self.answered = checked.answered(self.lines, of_small, of_large)
        self.relayed = {}
        for line in serve.read_lines(folder / "labelled-relay.jsonl").values():
            request, limit = line["id"].rsplit("@", 1)
            self.relayed[request, float(limit)] = {
                "right": int(line["large"]["right"]),
                "tokens": line["large"]["tokens"],
            }
        speculation = folder / "speculation.json"
        self.speculation = json.loads(speculation.read_text()) if speculation.is_file() else None

    def checked(self, path):
        lines = read_lines(path)
        if len(lines) != len(self.lines):
            sys.exit(f"{path}: {len(lines)} lines for {len(self.lines)} requests")
        return lines

    def __len__(self):
        return len(self.lines)


def success_of(decision):
    return decision["plan"].get("success")


def predictors(judged):
    """Scores of "the small model is right", by name; the higher, the surer."""
    found = {}
    for name, decisions in judged.decisions.items():
        if all(success_of(d) is not None for d in decisions):
            found[HEADS.get(name, name)] = [success_of(d) for d in decisions]
        elif all(d.get("intent") for d in decisions):
            found[f"entropy of the label probe ({name})"] = [-d["intent"]["entropy"] for d in decisions]
    found["prompt length (the shorter, the surer)"] = [-line["small"].get("prompt_tokens", 0) for line in judged.lines]
    rates = collections.defaultdict(list)
    for kind, right in zip(judged.kinds, judged.small):
        rates[kind].append(right)
    found["kind alone (true label)"] = [sum(rates[k]) / len(rates[k]) for k in judged.kinds]
    return found


def read_by_large(judged):
    """Those that the large model read, and what tells right from wrong after the fact: its probability of the small
    one's tokens."""
    some = [one for one in judged.answered if one.logprob]
    scores = {
        "the large model's reading, after the fact: the mean token": [sum(o.logprob) / len(o.logprob) for o in some],
        "the same: the least probable token": [min(o.logprob) for o in some],
    }
    return some, scores


# ---- the models' own scores ----------------------------------------------------------------------


def own_scores(judged, folder):
    """Of each collection, both halves where both models answered: requests, small, large, published."""
    lines = list(judged.lines)
    if (folder / "labelled-fit.jsonl").is_file():
        lines += [line for line in read_lines(folder / "labelled-fit.jsonl") if "large" in line]
    rows = []
    for task in sorted({line["task"] for line in lines}) + ["all"]:
        some = [line for line in lines if task in ("all", line["task"])]
        row = {"task": task, "requests": len(some), "published": PUBLISHED.get(task)}
        for role in ("small", "large"):
            row[role] = statistics.wilson(sum(line[role]["right"] for line in some), len(some))
        row["either"] = statistics.wilson(
            sum(line["small"]["right"] or line["large"]["right"] for line in some), len(some)
        )
        rows.append(row)
    return rows


# ---- who tells right from wrong ------------------------------------------------------------------


def areas(judged):
    rows = []
    for name, scores in predictors(judged).items():
        if name == HEADS["gain"]:
            continue  # it is not of this that it tells
        row = {"predictor": name}
        for kind in ("all",) + KINDS:
            at = [i for i in range(len(judged)) if kind in ("all", judged.kinds[i])]
            row[kind] = (
                statistics.auc_with_interval([scores[i] for i in at], [judged.small[i] for i in at]) if at else None
            )
        rows.append(row)
    some, after = read_by_large(judged)
    for name, scores in after.items() if some else ():
        row = {"predictor": name, "requests": len(some)}
        for kind in ("all",) + KINDS:
            at = [i for i, one in enumerate(some) if kind in ("all", one.kind)]
            row[kind] = (
                statistics.auc_with_interval([scores[i] for i in at], [some[i].small_right for i in at]) if at else None
            )
        rows.append(row)
    return rows


def kind_accuracy(judged):
    rows = []
    for name, decisions in judged.decisions.items():
        told = [(d["intent"]["label"], kind) for d, kind in zip(decisions, judged.kinds) if d.get("intent")]
        if told:
            rows.append(
                {
                    "way": name,
                    "right": statistics.wilson(sum(a == b for a, b in told), len(told)),
                    "requests": len(told),
                }
            )
    return rows


# ---- policies ------------------------------------------------------------------------------------


class Policy:
    """Shares of the small model for each request, and what deciding reads: nothing, the small model's state of the
    prompt ("state"), or label tokens after it ("labels")."""

    def __init__(self, name, shares, reads=None):
        self.name, self.shares, self.reads = name, shares, reads


LABEL_ROWS = 5  # tokens that the label probe's template adds to a prompt


def spent(judged, policy, i, small, large, streams):
    line = judged.lines[i]
    rows = line["small"].get("prompt_tokens", 0)
    by_small = costs.answer(small, line["small"], streams)
    by_large = costs.answer(large, line["large"], streams)
    if policy.reads:  # the small model's answer goes on from what was read to decide
        by_large += costs.prompt(small, rows)
    if policy.reads == "labels":
        suffix = costs.prompt(small, LABEL_ROWS)
        by_small, by_large = by_small + suffix, by_large + suffix
    share = policy.shares[i]
    return by_small.times(share) + by_large.times(1 - share)


def judge_policy(judged, policy, small, large):
    n = len(judged)
    right = [p * s + (1 - p) * big for p, s, big in zip(policy.shares, judged.small, judged.large)]
    gains = [r - big for r, big in zip(right, judged.large)]
    row = {
        "policy": policy.name,
        "accuracy": 100 * sum(right) / n,
        "small_share": sum(policy.shares) / n,
        "accuracy_interval": [
            100 * v
            for v in statistics.interval(statistics.resampled(n, lambda drawn: sum(right[i] for i in drawn) / n))
        ],
        "against_large": [
            100 * v
            for v in statistics.interval(statistics.resampled(n, lambda drawn: sum(gains[i] for i in drawn) / n))
        ],
    }
    for streams in STREAMS:
        total = sum((spent(judged, policy, i, small, large, streams) for i in range(n)), costs.Spent())
        row[str(streams)] = {
            "tokens_per_s": 1e3 * total.tokens / total.ms,
            "ms_per_answer": total.ms / n,
            "bytes_per_answer": total.bytes / n,
        }
    return row


def threshold_policies(judged, scores, reads, name):
    """A policy for each limit: the small model where the score is at least that."""
    for limit in sorted(set(scores)):
        yield limit, Policy(f"{name} ≥ {limit:.3g}", [float(s >= limit) for s in scores], reads)


def decided(judged, name, title, reads):
    decisions = judged.decisions.get(name)
    if decisions is None:
        return []
    return [Policy(title, [float(d["plan"]["role"] == "small") for d in decisions], reads)]


def policies(judged):
    n = len(judged)
    listed = [Policy("small", [1.0] * n), Policy("large", [0.0] * n), Policy("random, half", [0.5] * n)]
    listed += decided(judged, "published", "the paper's rule as published", "labels")
    listed += decided(judged, "template", "the paper's rule, own words", "labels")
    listed += decided(judged, "calibrated", "the paper's rule, calibrated", "labels")
    kind = next((judged.decisions[k] for k in ("success", "learned") if k in judged.decisions), None)
    if kind and all(d.get("intent") for d in kind):
        listed.append(Policy("kind rule, learned", [float(d["intent"]["label"] == "code") for d in kind], "state"))
        listed.append(
            Policy(
                "learned kind: math, which takes longest, to the small model",
                [float(d["intent"]["label"] == "math") for d in kind],
                "state",
            )
        )
    listed += decided(judged, "success", "success rule", "state")
    listed += decided(judged, "gain", "gain rule", "state")
    listed.append(Policy("oracle", [float(s or not big) for s, big in zip(judged.small, judged.large)]))
    return listed


def sweep(judged, small, large):
    """In RouteLLM's terms all scores, and the rules of the heads at every limit."""
    curves, rules = [], {}
    for name, scores in predictors(judged).items():
        curve = statistics.gap_recovered(statistics.recovered_curve(scores, judged.small, judged.large))
        if curve is None:
            continue
        curves.append(
            {
                "score": name,
                "apgr": statistics.area(curve),
                "cpt50": statistics.calls_for(curve, 0.5),
                "cpt80": statistics.calls_for(curve, 0.8),
                "curve": curve,
            }
        )
    for name, head in HEADS.items():
        scores = predictors(judged).get(head)
        rules[name] = [
            {"limit": limit} | quick(judged, policy, small, large)
            for limit, policy in (threshold_policies(judged, scores, "state", name) if scores else ())
        ]
    return curves, rules


def quick(judged, policy, small, large):
    n = len(judged)
    right = sum(p * s + (1 - p) * big for p, s, big in zip(policy.shares, judged.small, judged.large))
    row = {"accuracy": 100 * right / n, "small_share": sum(policy.shares) / n}
    for streams in STREAMS:
        total = sum((spent(judged, policy, i, small, large, streams) for i in range(n)), costs.Spent())
        row[str(streams)] = {
            "tokens_per_s": 1e3 * total.tokens / total.ms,
            "ms_per_answer": total.ms / n,
            "bytes_per_answer": total.bytes / n,
        }
    return row


# ---- speculation ---------------------------------------------------------------------------------


def speculated(judged, small, large):
    """The large model's answers with the small one as its draft: as measured against the large model alone on some of
    the requests, one at a time; the answers are the same."""
    found = judged.speculation
    if found is None:
        return None
    row = quick(judged, Policy("large", [0.0] * len(judged)), small, large)
    factor = found["large_seconds"] / found["draft_seconds"]
    row["1"] = {
        "tokens_per_s": row["1"]["tokens_per_s"] * factor,
        "ms_per_answer": row["1"]["ms_per_answer"] / factor,
        "bytes_per_answer": row["1"]["bytes_per_answer"] * found["draft_bytes"] / found["large_bytes"],
    }
    del row["8"]  # drafts are for one request at a time
    return {"policy": "large, the small one drafts", "requests_measured": found["requests"]} | row


# ---- the whole -----------------------------------------------------------------------------------


def frontier(judged, small, large, title, is_measured):
    rows = [judge_policy(judged, policy, small, large) for policy in policies(judged)]
    draft = speculated(judged, small, large) if is_measured else None
    studies = (
        [checked.study(judged.answered, small, large, judged.relayed, n) for n in STREAMS] if judged.answered else []
    )
    curves, rules = sweep(judged, small, large)
    return {
        "title": title,
        "small": small.name,
        "large": large.name,
        "policies": rows,
        "speculation": draft,
        "checked": studies,
        "curves": curves,
        "rules": rules,
    }


def frontiers(judged, pair, larger):
    small, large = pair.values()
    made = [frontier(judged, small, large, "this pair", True)]
    return made + [
        frontier(judged, small, other, f"the large one as slow as {other.name}", False) for other in larger.values()
    ]


def panels(report):
    for made in report["frontiers"]:
        large = next(r for r in made["policies"] if r["policy"] == "large")
        for streams in map(str, STREAMS):
            base = large[streams]["ms_per_answer"]
            listed = made["policies"] + ([made["speculation"]] if made["speculation"] else [])
            points = [(r["policy"], r[streams]["ms_per_answer"] / base, r["accuracy"]) for r in listed if streams in r]
            curve = [(p[streams]["ms_per_answer"] / base, p["accuracy"]) for p in made["rules"]["success"]]
            yield f"{made['title']}, {streams} at once", points, curve


def main():
    parser = argparse.ArgumentParser(description="What routing between the real pair is worth.")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--steps", type=pathlib.Path, required=True)
    parser.add_argument("--larger", type=pathlib.Path)
    parser.add_argument("--markdown", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--svg", type=pathlib.Path)
    options = parser.parse_args()
    judged = Judged(options.folder)
    steps = costs.read_steps(options.steps)
    larger = costs.read_steps(options.larger) if options.larger and options.larger.is_file() else {}
    report = {
        "version": 1,
        "requests": len(judged),
        "own": own_scores(judged, options.folder),
        "kinds": kind_accuracy(judged),
        "areas": areas(judged),
        "frontiers": frontiers(judged, steps, larger),
    }
    text = markdown(report)
    if options.markdown:
        options.markdown.write_text(text)
    else:
        print(text)
    if options.results:
        options.results.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    if options.svg:
        options.svg.write_text(picture.draw(list(panels(report))))


if __name__ == "__main__":
    main()
