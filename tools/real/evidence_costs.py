"""What an answer costs, from measured steps: evidence_report.py's time and bytes. Python's standard library alone."""

import dataclasses
import json


@dataclasses.dataclass
class Steps:
    """One model on one machine."""

    name: str
    prompt_row_ms: float  # of a prefill
    step_ms: dict  # by rows: 1, 8 and more
    weight_bytes: float  # that a step reads

    def token_ms(self, streams):
        return self.step_ms[streams] / streams

    def rows_ms(self, rows):
        """A step of so many rows: on the line between those measured around it, beyond them as the prompt's go."""
        measured = sorted(self.step_ms)
        if rows >= measured[-1]:
            return self.step_ms[measured[-1]] + (rows - measured[-1]) * self.prompt_row_ms
        above = next(n for n in measured if n >= rows)
        below = max((n for n in measured if n <= rows), default=above)
        if above == below:
            return self.step_ms[above]
        share = (rows - below) / (above - below)
        return (1 - share) * self.step_ms[below] + share * self.step_ms[above]


@dataclasses.dataclass
class Spent:
    tokens: float = 0.0
    ms: float = 0.0
    bytes: float = 0.0

    def __add__(self, other):
        return Spent(self.tokens + other.tokens, self.ms + other.ms, self.bytes + other.bytes)

    def times(self, share):
        return Spent(share * self.tokens, share * self.ms, share * self.bytes)


def answer(steps, side, streams):
    """One of `streams` answers at once; its prompt is read alone, in one step."""
    prompt, tokens = side.get("prompt_tokens", 0), side.get("tokens", 0)
    return Spent(
        tokens,
        prompt * steps.prompt_row_ms + tokens * steps.token_ms(streams),
        steps.weight_bytes * (1 + tokens / streams),
    )


def prompt(steps, rows):
    """A prompt that is read to decide, and nothing else."""
    return Spent(0, rows * steps.prompt_row_ms, steps.weight_bytes)


def read_steps(path):
    """Models by file or name from what `a-io bench --json` says (prefill:N, step:1,8)."""
    with open(path, encoding="utf-8") as text:
        report = json.load(text)
    models = {}
    for one in report["models"]:
        tests = [r for r in report["results"] if r["model"] == one["model"]]
        rows = {r["n"]: r["ms"] for r in tests if r["test"] == "step"}
        prefill = max((r for r in tests if r["test"] == "prefill"), key=lambda r: r["n"])
        models[one["model"]] = Steps(one["model"], prefill["ms"] / prefill["n"], rows, one["weight_bytes"])
    return models
