#!/usr/bin/env python3
"""make bench-lookup-real: what prompt lookup gains when a real model answers.

Serves one GGUF file and asks each request twice, one after the other: with lookup off and with the server's own
choice (auto), greedily, which comes first changing from request to request. Printed are, by kind of request,
tokens/s with lookup over without (median, quartiles, lowest) from the receipts' own decode times, and tokens a
step, which no noise touches. Both texts must be the same. Python's standard library only.

edit     a function of this repository is to be written again with one name changed
summary  some paragraphs of this repository's documents, to be summed up with quotes
json     records are to be written again with one key renamed and one field dropped
chat     the third turn of a conversation about a piece of code: the first two are the model's own
prose    a text about a given matter, out of nothing
"""

import argparse
import json
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import urllib.request

from idle import address

COMMIT = "74276f1"  # all texts are of this commit, so that they stay the same
WORDS = (
    "harbour lantern copper orchard thunder velvet compass glacier meadow saddle ember willow anchor "
    "marble falcon cedar quartz river saffron beacon"
).split()
MATTERS = (
    "a lighthouse in winter",
    "why bread rises",
    "a town that lost its river",
    "how bees find home",
    "a clockmaker's apprentice",
    "the first frost",
    "what makes a bridge stand",
    "a letter never sent",
    "the smell of rain",
    "how glass is made",
    "a market at dawn",
    "the night train",
    "why leaves turn red",
    "a map with an error",
    "the sound of snow",
    "how tides work",
    "an old typewriter",
    "the last ferry",
    "learning to swim",
    "a garden on a roof",
)
TASKS = (
    "reverses a linked list",
    "counts the words of a text",
    "merges two sorted lists",
    "finds the primes below n",
    "parses a line of CSV",
    "checks balanced brackets",
    "computes a moving average",
    "flattens nested lists",
    "caches a function's results",
    "formats bytes for people",
    "validates an e-mail address",
    "rotates a matrix",
    "finds duplicates in a list",
    "converts Roman numerals",
    "implements a queue with two stacks",
    "reads a file in chunks",
    "splits a list into pieces",
    "computes the edit distance",
    "sorts by two keys",
    "retries a call three times",
)


def git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def files(pattern):
    return [p for p in git("ls-tree", "-r", "--name-only", COMMIT).splitlines() if re.fullmatch(pattern, p)]


def user(text):
    return [{"role": "user", "content": text}]


def edits(n):
    found = []
    for path in files(r"src/(engine|orchestra|server|base)/.*\.c"):
        for function in re.findall(
            r"^static [^;{}\n]*\([^;{}]*\)\n\{\n.*?^\}", git("show", f"{COMMIT}:{path}"), re.S | re.M
        ):
            name = re.search(r"(\w+)\(", function).group(1)
            if 350 <= len(function) <= 900 and len(found) < n and not any(path == p for p, _, _ in found):
                found.append((path, name, function))
    return [
        user(
            f"Write this C function again with `{name}` renamed to `{name}_once`, and nothing else changed. "
            f"Answer with the code alone.\n\n```c\n{function}\n```"
        )
        for _, name, function in found
    ]


def summaries(n):
    sections = []
    for path in files(r"(docs/.*|README)\.md"):
        paragraphs = [re.sub(r"\s+", " ", p).strip() for p in git("show", f"{COMMIT}:{path}").split("\n\n")]
        sections += [p for p in paragraphs if 300 <= len(p) <= 1500 and not re.match(r"[#|>`]", p)]
    step = max(1, len(sections) // n)
    return [
        user(
            "Sum this up in three points, and after each quote word for word the sentence that it rests on.\n\n"
            + section
        )
        for section in sections[::step][:n]
    ]


def records(n):
    r = random.Random(7)
    prompts = []
    for _ in range(n):
        rows = [
            {
                "id": r.randrange(1000, 9999),
                "name": " ".join(r.sample(WORDS, 2)),
                "price": r.randrange(100, 9900) / 100,
                "tags": r.sample(WORDS, 3),
                "stock": r.randrange(500),
            }
            for _ in range(4)
        ]
        prompts.append(
            user(
                'Write this JSON again with the key "name" renamed to "title" and without "stock". '
                "Answer with the JSON alone.\n\n" + json.dumps(rows, indent=2)
            )
        )
    return prompts


class Server:
    def __init__(self, program, model, tokens):
        command = [program, "serve", "-m", model, "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.url, self.tokens = address(self.process), tokens
        threading.Thread(target=self.process.stderr.read, daemon=True).start()  # its log has a line a request

    def ask(self, messages, **more):
        body = {"model": "auto", "messages": messages, "temperature": 0, "max_tokens": self.tokens, **more}
        request = urllib.request.Request(
            self.url + "/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as reply:
            return json.load(reply)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def text_of(reply):
    return reply["choices"][0]["message"]["content"]


def conversations(n, server):
    for task in TASKS[:n]:
        messages = user(f"Write a short Python function that {task}. Code alone.")
        for question in (
            "Add type hints and a docstring.",
            "Now raise ValueError for input that makes no sense, and show the whole function again.",
        ):
            messages = messages + [{"role": "assistant", "content": text_of(server.ask(messages))}] + user(question)
        yield messages


def measure(server, messages, first_off):
    """tokens/s with over without lookup; tokens a step with it; whether both texts are the same."""
    speeds, texts, steps = {}, {}, 0
    for off in (first_off, not first_off):
        reply = server.ask(messages, **({"prompt_lookup_num_tokens": 0} if off else {}))
        receipt = reply["a_io"]["receipt"]["reply"]
        tokens = reply["usage"]["completion_tokens"]
        if tokens < 8:
            return None
        speeds[off] = (tokens - 1) / receipt["decode_ms"]
        texts[off] = text_of(reply)
        if not off:
            steps = (tokens - 1) / receipt["steps"]
    return speeds[False] / speeds[True], steps, texts[False] == texts[True]


def print_kind(kind, results):
    ratios = sorted(ratio for ratio, _, _ in results)
    quarter = len(ratios) // 4
    print(
        f"| {kind} | {len(results)} | {statistics.median(ratios):.2f} ({ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f}) | "
        f"{ratios[0]:.2f} | {statistics.median(steps for _, steps, _ in results):.2f} | "
        f"{sum(same for _, _, same in results)} |"
    )
    sys.stdout.flush()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model")
    arguments.add_argument("--program", default="build/a-io")
    arguments.add_argument("--requests", type=int, default=20, help="of each kind")
    arguments.add_argument("--tokens", type=int, default=192)
    given = arguments.parse_args()
    server = Server(given.program, given.model, given.tokens)
    try:
        print(
            "| kind | requests | times as fast as without | lowest | tokens a step | same text |\n|---|---|---|---|---|---|"
        )
        n = given.requests
        kinds = {
            "edit": edits(n),
            "summary": summaries(n),
            "json": records(n),
            "chat": conversations(n, server),
            "prose": [user(f"Write a text of some paragraphs about {matter}.") for matter in MATTERS[:n]],
        }
        for kind, prompts in kinds.items():
            results = [measure(server, messages, i % 2 == 0) for i, messages in enumerate(prompts)]
            print_kind(kind, [result for result in results if result is not None])
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
