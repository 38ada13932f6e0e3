#!/usr/bin/env python3
"""`make evidence-real`: graded requests, both models' answers, fits on one half of them, and what routing between the
real pair is worth on the other: evidence.py --program build/a-io

Everything lies in ~/.cache/a-io/evidence ($XDG_CACHE_HOME/a-io/evidence). What is there is not made again, and labels
go on where they were: an hour or two on two cores. Answers and decisions are the same on a busy machine; what costs are
told of (steps.json, speculation.json) wants a free one. Exit status: 0; 77 when the registry or the prompts are not
there. Python's standard library.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import evidence_checked
import evidence_serve as serve
import fetch

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAIR = ("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
LARGER = "qwen2.5-7b:q4_k"  # a shape with random weights in the large one's place: for costs alone
MEASURED = 5  # requests that speculation is measured on
RELAYED = {"limits": (0.1, 0.01), "tasks": ("humaneval", "gsm8k"), "each": 30}

# The probe of the demo pair, as README shows it; and the one whose words were chosen for this model.
PUBLISHED = ("{conversation}Intent:", {"code": " code", "qa": " qa", "math": " math"})
CHOSEN = ("{conversation}Task category:", {"code": " Code", "qa": " Knowledge", "math": " Calculation"})

DRAFTED = "policy: {name: rules, rules: [{name: draft, model: large, lookup: draft}]}\n"
LIKELY = """probe: {{kind: learned, timeout_ms: 0, calibration: "{0}", labels: [{{name: code}}, {{name: qa}}, {{name: math}}]}}
success: {{calibration: "{0}"}}
policy: {{name: rules, rules: [{{name: likely, min_success: 0.5, model: small}}, {{name: rest, model: large}}]}}
"""
GAINFUL = """probe: {{timeout_ms: 0}}
success: {{calibration: "{0}"}}
policy: {{name: rules, rules: [{{name: idle, min_success: 0.75, model: small}}, {{name: rest, model: large}}]}}
"""  # "success" is that the large model gains nothing; P(gain) above a quarter goes to it


class Work:
    def __init__(self, program, folder, models):
        self.program, self.folder, self.models = program, folder, models

    def path(self, name):
        return self.folder / name

    def run(self, *args, to=None, **more):
        """`a-io ARGS`; its standard output becomes the file `to` once all went well."""
        print("evidence: a-io", *args, file=sys.stderr)
        partial = self.path(to + ".new") if to else None
        with open(partial or os.devnull, "wb") as out:
            done = subprocess.run([self.program, *map(str, args)], stdout=out, check=False, **more)
        if done.returncode != 0:
            sys.exit(f"evidence: a-io {args[0]} ended with {done.returncode}")
        if to:
            partial.rename(self.path(to))

    def made(self, name, *args, **more):
        if not self.path(name).is_file():
            self.run(*args, to=name, **more)

    # ---- steps ------------------------------------------------------------------------------

    def configure(self, name, probe, more=""):
        """NAME.yaml: the pair, a probe's (template, words), and what else there is."""
        text = "version: 1\nmodels:\n"
        for model, role in zip(PAIR, ("small", "large")):
            file = next(m["file"] for m in json.loads(fetch.MODELS.read_text()) if m["name"] == model)
            text += f"  - {{name: {model}, role: {role}, path: {self.models / file}, context: 4096, slots: 8}}\n"
        if probe:
            template, words = probe
            text += f'probe:\n  timeout_ms: 0\n  template: "{template}"\n'
            text += "  labels:\n" + "".join(
                f'    - {{name: {label}, token: "{word}"}}\n' for label, word in words.items()
            )
        self.path(f"{name}.yaml").write_text(text + more)

    def label(self, name, *args):
        output = self.path(f"labelled-{name}.jsonl")
        if not output.is_file():
            self.run("label", "--config", self.path("template.yaml"), "-o", output, *args, self.path(f"{name}.jsonl"))

    def decide(self, name, policy):
        with open(self.path("judge.jsonl"), "rb") as requests:
            self.made(
                f"decisions-{name}.jsonl",
                "route",
                "--jsonl",
                "--policy",
                policy,
                "--config",
                self.path(f"{name}.yaml"),
                stdin=requests,
            )

    def fit(self, name, *args):
        output = self.path(f"{name}.json")
        if not output.is_file():
            self.run("calibrate", "--no-machine", "--config", self.path("template.yaml"), "-o", output, *args)

    def lines(self, name):
        return [json.loads(line) for line in self.path(name).read_text(encoding="utf-8").splitlines()]

    def write(self, name, lines):
        self.path(name).write_text(
            "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8"
        )

    def graded(self, name):
        """What heads are fitted on. Of generated requests only the kind is learned: with their grades the success head
        was worse, by folds, on all others."""
        lines = self.lines("labelled-fit.jsonl") + self.lines("labelled-more.jsonl")
        for line in lines:
            if line["task"].startswith("generated"):
                del line["small"]
        self.write(name, lines + self.lines("varied.jsonl"))

    def idle(self, name, graded):
        """Of the requests that both models answered: "right" is where the large one gains nothing."""
        self.write(
            name,
            [
                {"messages": line["messages"], "small": {"right": line["small"]["right"] or not line["large"]["right"]}}
                for line in self.lines(graded)
                if "large" in line
            ],
        )

    def readings(self):
        """What each model makes of the other's answers, token by token."""
        lines = self.lines("labelled-judge.jsonl")
        wanted = [
            (f"scores-{reader}-of-{writer}-judge.jsonl", PAIR[n], writer)
            for n, (reader, writer) in enumerate((("small", "large"), ("large", "small")))
        ]
        if all(
            set(serve.read_lines(self.path(name))) >= {line["id"] for line in lines if line[writer].get("answer")}
            for name, _, writer in wanted
        ):
            return
        with serve.serving(self.program, self.path("template.yaml")) as server:
            for name, model, writer in wanted:
                there = [line for line in lines if line[writer].get("answer")]
                serve.each(
                    self.path(name), there, lambda line: serve.scored(server, model, line, line[writer]["answer"])
                )

    def relay_requests(self):
        """The large model is to go on from the small one's answer: of each collection the first so many, at each limit."""
        scores = serve.read_lines(self.path("scores-large-of-small-judge.jsonl"))
        lines = self.lines("labelled-judge.jsonl")
        some = [
            line
            for task in RELAYED["tasks"]
            for line in [line for line in lines if line["task"] == task and line["id"] in scores][: RELAYED["each"]]
        ]
        for one in evidence_checked.answered(some, scores, scores):
            for limit in RELAYED["limits"]:
                kept = one.kept(limit)
                yield one.line | {
                    "id": f"{one.id}@{limit:g}",
                    "small_answer": one.line["small"]["answer"],
                    "beginning": "".join(scores[one.id]["tokens"][:kept]),
                    "kept": kept,
                }

    def relay(self):
        if self.path("labelled-relay.jsonl").is_file():
            return
        requests = list(self.relay_requests())
        answers = self.path("relay-answers.jsonl")
        if not set(serve.read_lines(answers)) >= {line["id"] for line in requests}:
            with serve.serving(self.program, self.path("template.yaml")) as server:
                serve.each(answers, requests, lambda line: {"large": serve.relayed(server, PAIR[1], line)})
        self.write(
            "relay.jsonl",
            [
                {key: line[key] for key in ("id", "task", "messages", "intent", "check", "max_tokens")}
                for line in requests
            ],
        )
        self.label("relay", "--only", "large", "--answers", answers)

    def steps(self):
        files = [self.models / m["file"] for m in json.loads(fetch.MODELS.read_text()) if m["name"] in PAIR]
        self.made(
            "steps.json",
            "bench",
            "-m",
            files[0],
            "-m",
            files[1],
            "--tests",
            "prefill:128,step:1,2,4,8,24",
            "--runs",
            "3",
            "--json",
        )
        self.made(
            "steps-larger.json",
            "bench",
            "--synthetic",
            LARGER,
            "--tests",
            "prefill:64,step:1,4,8,16",
            "--runs",
            "3",
            "--json",
        )

    def speculation(self):
        """The large model alone and with the small one as its draft, one request at a time: the same answers."""
        if self.path("speculation.json").is_file():
            return
        lines = self.path("judge.jsonl").read_text().splitlines(keepends=True)
        self.path("some.jsonl").write_text("".join(lines[:MEASURED]))
        self.configure("speculation", CHOSEN, DRAFTED)
        self.run(
            "replay",
            self.path("some.jsonl"),
            "--config",
            self.path("speculation.yaml"),
            "--policies",
            "large,rules",
            "--json",
            to="speculation-replay.json",
        )
        runs = json.loads(self.path("speculation-replay.json").read_text())["runs"]
        large, draft = (next(r for r in runs if r["policy"] == name) for name in ("large", "rules"))
        if [i["digest"] for i in large["items"]] != [i["digest"] for i in draft["items"]]:
            sys.exit("evidence: answers with drafts are others than without")
        self.path("speculation.json").write_text(
            json.dumps(
                {
                    "requests": MEASURED,
                    "large_seconds": large["seconds"],
                    "draft_seconds": draft["seconds"],
                    "large_bytes": large["bytes_read"],
                    "draft_bytes": draft["bytes_read"],
                    "drafted": draft["drafted"],
                    "accepted": draft["accepted"],
                    "steps": draft["steps"],
                }
            )
            + "\n"
        )


def costs(work):
    """What wants a free machine."""
    work.steps()
    work.speculation()


def evidence(work):
    work.configure("template", CHOSEN)
    for name, more in (("judge", []), ("fit", []), ("more", ["--only", "small"])):
        work.label(name, *more)
    work.readings()
    work.relay()
    work.graded("graded.jsonl")
    work.fit("probe", work.path("labelled-fit.jsonl"))
    work.fit("heads", "--kind", "learned", "--success", "--fit-all", work.path("graded.jsonl"))
    work.idle("idle.jsonl", "labelled-fit.jsonl")
    work.fit("gain", "--kind", "none", "--success", "--fit-all", work.path("idle.jsonl"))
    work.configure("gain", None, GAINFUL.format(work.path("gain.json")))
    work.configure("published", PUBLISHED)
    work.configure("calibrated", CHOSEN, f"  calibration: {work.path('probe.json')}\n")
    work.configure("success", None, LIKELY.format(work.path("heads.json")))
    for name in ("published", "template", "calibrated"):
        work.decide(name, "paper")
    for name in ("success", "gain"):
        work.decide(name, "rules")


def report(work):
    subprocess.run(
        [
            sys.executable,
            HERE / "evidence_report.py",
            work.folder,
            "--steps",
            work.path("steps.json"),
            "--larger",
            work.path("steps-larger.json"),
            "--markdown",
            work.path("real-pair.md"),
            "--results",
            work.path("real-pair.json"),
            "--svg",
            work.path("real-pair.svg"),
        ],
        check=True,
    )
    print(work.path("real-pair.md").read_text())
    print(
        f"the tables: {work.path('real-pair.md')}; the figures: {work.path('real-pair.json')}; "
        f"the picture: {work.path('real-pair.svg')}"
    )


def main():
    parser = argparse.ArgumentParser(description="What routing between the real pair is worth.")
    parser.add_argument("--program", default=str(ROOT / "build" / "a-io"))
    parser.add_argument("--only-costs", action="store_true", help="measure, and nothing else")
    options = parser.parse_args()
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    folder = cache / "a-io" / "evidence"
    for command in (
        [HERE / "fetch.py", *PAIR],
        [HERE / "evidence_tasks.py"],
        [HERE / "evidence_varied.py", folder / "varied.jsonl"],
    ):
        done = subprocess.run([sys.executable, *command], check=False)
        if done.returncode != 0:
            return done.returncode
    work = Work(os.path.abspath(options.program), folder, pathlib.Path(fetch.default_folder()))
    if options.only_costs:
        costs(work)
        return 0
    evidence(work)
    costs(work)
    report(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
