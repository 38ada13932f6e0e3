#!/usr/bin/env python3
"""make demo, make demo-real: a mixed handful of requests, each answered by the right model.

Starts `a-io serve` with a pair of models, sends a file of requests through it, and prints what was sensed,
decided and answered; then the same requests by the small and by the large model alone, each on a fresh
server, so that nobody profits from another's cache. Python's standard library only.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

START_SECONDS = 120
REQUEST_SECONDS = 300
RIGHT, WRONG = "right", "wrong"

# Runs in a process of its own with little room: the answer is code that a model wrote.
CHECKER = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
job = json.load(sys.stdin)
names = {}
exec(job["answer"], names)
for expression, value in job["call"]:
    assert repr(eval(expression, names)) == value
"""


class DemoError(Exception):
    pass


# ---- the server ---------------------------------------------------------------------------------


class Server:
    def __init__(self, program, config):
        self.log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        environment = dict(os.environ, A_IO_LOG="warn")
        environment.pop("A_IO_API_KEY", None)
        command = [program, "serve", "--config", config, "--port", "0"]
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment
            )
        except OSError as error:
            raise DemoError(f"cannot start {program}: {error}") from error
        self.url = None

    def __enter__(self):
        try:
            self.wait_until_listening()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def wait_until_listening(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = re.search(r"listening on (http://\S+)", self.said())
            if found:
                self.url = found.group(1)
                return
            if self.process.poll() is not None:
                raise DemoError(f"a-io serve ended with status {self.process.returncode}:\n{self.said().strip()}")
            time.sleep(0.05)
        raise DemoError(f"a-io serve was not ready within {START_SECONDS} s:\n{self.said().strip()}")

    def models(self):
        """The names of the small and the large model."""
        with urllib.request.urlopen(self.url + "/v1/models", timeout=REQUEST_SECONDS) as reply:
            return [m["id"] for m in json.load(reply)["data"] if m["id"] != "auto"]

    def ask(self, model, prompt, max_tokens):
        """The reply's JSON, or an error's; and the seconds it took."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": max_tokens,
        }
        request = urllib.request.Request(
            self.url + "/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        start = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as reply:
                answer = json.load(reply)
        except urllib.error.HTTPError as error:
            answer = json.load(error)
            if answer["error"].get("code") != "context_length_exceeded":
                raise DemoError(f"the server answered {error.code}: {answer}") from error
        except (OSError, ValueError) as error:
            raise DemoError(f"the server does not answer: {error}\n{self.said().strip()}") from error
        return answer, time.monotonic() - start

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


# ---- right or wrong -----------------------------------------------------------------------------


def code_of(answer):
    """What stands between the first fence and the next, where there is one."""
    fenced = re.search(r"```[^\n]*\n(.*?)(?:```|\Z)", answer, re.DOTALL)
    return fenced.group(1) if fenced else answer


def runs_correctly(answer, calls):
    job = json.dumps({"answer": code_of(answer), "call": calls})
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", CHECKER],
            input=job,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def is_right(answer, check):
    if check["type"] == "exact":
        return answer.strip() == check["value"].strip()
    if check["type"] == "final_number":
        numbers = re.findall(r"-?\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d{3})", "", answer))
        return bool(numbers) and float(numbers[-1]) == float(check["value"])
    if check["type"] == "mentions":
        return any(re.search(rf"\b{re.escape(value)}\b", answer, re.IGNORECASE) for value in check["values"])
    if check["type"] == "python":
        return runs_correctly(answer, check["call"])
    raise DemoError(f"unknown check {check['type']!r} in the requests")


# ---- the table ----------------------------------------------------------------------------------

# (heading, width; 0 shares what is left, right-aligned)
COLUMNS = [
    ("request", 0, False),
    ("intent", 6, False),
    ("entropy", 7, True),
    ("model", 5, False),
    ("lookup", 10, False),
    ("reason", 12, False),
    ("overhead ms", 11, True),
    ("tokens/s", 8, True),
    ("answer", 0, False),
    ("", 5, False),
]


def fit(text, width):
    """One line of `width` characters; the end of a long text says more than its middle."""
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    if width < 24:
        return text[: width - 1] + "…"
    head = width // 2
    return text[:head] + "…" + text[-(width - head - 1) :]


# What a narrow terminal does without, in this order.
DISPENSABLE = ["lookup", "reason", "overhead ms", "entropy"]


class Table:
    def __init__(self, terminal_width):
        left_out = 0
        while True:
            dropped = DISPENSABLE[:left_out]
            self.shown = [i for i, (name, _, _) in enumerate(COLUMNS) if name not in dropped]
            fixed = sum(COLUMNS[i][1] for i in self.shown) + 2 * (len(self.shown) - 1)
            left = terminal_width - 1 - fixed
            if left >= 24 or left_out == len(DISPENSABLE):
                break
            left_out += 1
        left = max(left, 16)
        shares = [(left + 1) // 2, left // 2]
        self.widths = [COLUMNS[i][1] or shares.pop(0) for i in self.shown]

    def line(self, cells):
        parts = []
        for i, width in zip(self.shown, self.widths):
            text = fit(cells[i], width)
            parts.append(text.rjust(width) if COLUMNS[i][2] else text.ljust(width))
        return "  ".join(parts).rstrip()

    def head(self):
        names = self.line([name for name, _, _ in COLUMNS])
        return names + "\n" + "-" * (sum(self.widths) + 2 * (len(self.widths) - 1))


def lookup_text(plan, stats):
    text = str(plan["lookup"])
    if stats["drafted"] > 0:
        text += f" {stats['accepted']}/{stats['drafted']}"
    return text


def row_of(request, outcome):
    answer = outcome.answer
    if answer is None:
        return [request["prompt"], "-", "-", "-", "-", "refused", "-", "-", outcome.refusal, WRONG]
    details = answer["a_io"]
    intent, plan = details["intent"], details["plan"]
    return [
        request["prompt"],
        intent["label"] if intent else "-",
        f"{intent['entropy']:.2f}" if intent else "-",
        plan["model"],
        lookup_text(plan, details["receipt"]["reply"]),
        plan["rule"],
        f"{details['receipt']['overhead']['total_ms']:.1f}",
        f"{answer['timings']['predicted_per_second']:.0f}",
        outcome.text,
        RIGHT if outcome.right else WRONG,
    ]


# ---- one way of answering all requests ------------------------------------------------------------


class Outcome:
    def __init__(self, request, reply, seconds):
        self.task = request["task"]
        self.seconds = seconds
        self.answer = None if "error" in reply else reply
        self.refusal = reply["error"]["message"] if "error" in reply else ""
        self.text = "" if "error" in reply else reply["choices"][0]["message"]["content"]
        self.right = self.answer is not None and is_right(self.text, request["check"])
        self.tokens = 0 if self.answer is None else reply["usage"]["completion_tokens"]


def show_progress(name, done, total):
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{name}: {done} of {total}" if done < total else "\r\033[K")
        sys.stderr.flush()


def answer_all(options, which, requests, table=None):
    """All requests by A-IO (`which` None) or by the small or large model alone (0 or 1); and its name."""
    outcomes = []
    show_progress("loading", 0, len(requests))
    with Server(options.program, options.config) as server:
        models = server.models()
        model = "auto" if which is None else models[which]
        name = "A-IO" if which is None else f"static {model}"
        for warm in models:  # the first pages of the weights, for everybody alike
            server.ask(warm, "Hello", max_tokens=2)
        for request in requests:
            show_progress(name, len(outcomes), len(requests))
            outcomes.append(Outcome(request, *server.ask(model, request["prompt"], options.max_tokens)))
            show_progress(name, len(requests), len(requests))
            if table is not None:
                print(table.line(row_of(request, outcomes[-1])), flush=True)
    return name, outcomes


def summary(name, outcomes):
    n = len(outcomes)
    right = sum(o.right for o in outcomes)
    tokens, seconds = sum(o.tokens for o in outcomes), sum(o.seconds for o in outcomes)
    by_task = []
    for task in sorted({o.task for o in outcomes}):
        mine = [o.right for o in outcomes if o.task == task]
        by_task.append(f"{task} {sum(mine)}/{len(mine)}")
    refused = sum(o.answer is None for o in outcomes)
    note = f"; {refused} refused, longer than its context: wrong" if refused else ""
    return (
        f"{name:<13} {right:>2} of {n} right ({100 * right / n:3.0f} %)  {tokens / seconds:6.0f} tokens/s"
        f"  {seconds:5.1f} s   {', '.join(by_task)}{note}"
    )


# ---- the whole --------------------------------------------------------------------------------


def read_requests(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


NEXT = """
Next:
  {program} run{config} "{prompt}"
  {program} chat{config}
  {program} route{config} --json "What is 12 times 7?"
  {program} serve{config}        and then, in another terminal:
  curl http://127.0.0.1:8098/v1/chat/completions -H 'Content-Type: application/json' \\
       -d '{{"model": "auto", "messages": [{{"role": "user", "content": "What is 12 times 7?"}}]}}'
Your own models: copy {config_file}, name a small and a large GGUF file in it, then
  {program} serve --config my.yaml --check"""

DEMO_CONFIG = "config/demo.yaml"


def demonstrate(options):
    requests = read_requests(options.requests)
    table = Table(shutil.get_terminal_size((160, 24)).columns)
    print(f"{len(requests)} requests to {options.pair}, routed by A-IO. lookup shows accepted/drafted tokens.\n")
    print(table.head(), flush=True)
    name, routed = answer_all(options, None, requests, table)
    print(flush=True)
    print(summary(name, routed), flush=True)
    for which in (0, 1):
        print(summary(*answer_all(options, which, requests)), flush=True)
    print(
        "tokens/s above is decoding alone; in these three lines it is all tokens of the replies over all the\n"
        "time from request to reply, routing included."
    )
    prompt = next((r["prompt"] for r in requests if len(r["prompt"]) < 100 and '"' not in r["prompt"]), "Hello")
    config = "" if options.config == DEMO_CONFIG else f" --config {options.config}"
    print(
        NEXT.format(program=options.program, prompt=" ".join(prompt.split()), config=config, config_file=options.config)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="build/a-io", help="the a-io to show")
    parser.add_argument("--config", default=DEMO_CONFIG)
    parser.add_argument("--max-tokens", type=int, default=200, help="of an answer (default: %(default)s)")
    parser.add_argument("--pair", default="the demo pair", help="what the pair is called")
    parser.add_argument("--requests", default="models/demo/requests.jsonl")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        demonstrate(options)
    except DemoError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
