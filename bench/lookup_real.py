#!/usr/bin/env python3
"""make bench-lookup-real: what prompt lookup gains when a real model answers.

Serves one GGUF file and asks each request once to have its prompt in the cache, then twice, one after the other:
with lookup off and with the server's own choice (auto), greedily, which comes first changing from request to
request. Printed are, by kind of request, tokens/s from the receipts' own decode times, with lookup over without
(median, quartiles, lowest), the same by the processor time that the server took, which other work on the machine
touches less, and tokens a step, which nothing touches. Both texts must be the same.

With --journal every request's answers are kept in a file, and a later run goes on behind them.
With --peer each of the first --peer-requests requests of a kind is asked of llama.cpp's server as well, by turns:
"ngram=path/to/llama-server --spec-type ngram-simple". Python's standard library only.

edit     a function of this repository is to be written again with one name changed
summary  some paragraphs of this repository's documents, to be summed up with quotes
json     records are to be written again with one key renamed and one field dropped
chat     the third turn of a conversation about a piece of code: the first two are the model's own
prose    a text about a given matter, out of nothing
"""

import argparse
import collections
import json
import os
import random
import re
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from idle import address, cpu_seconds

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


Answer = collections.namedtuple("Answer", "text tokens tokens_per_s steps cpu_s")


class Server:
    """a-io serve, or with another command what speaks as llama.cpp's server does."""

    def __init__(self, command, tokens):
        self.process, self.tokens = subprocess.Popen(command, stderr=subprocess.PIPE, text=True), tokens
        self.url = address(self.process)
        threading.Thread(target=self.process.stderr.read, daemon=True).start()  # its log has a line a request

    def post(self, messages, tokens, **more):
        body = {"model": "auto", "messages": messages, "temperature": 0, "max_tokens": tokens, **more}
        request = urllib.request.Request(
            self.url + "/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as reply:
            return json.load(reply)

    def ask(self, messages, **more):
        before = cpu_seconds(self.process.pid)
        reply = self.post(messages, self.tokens, **more)
        cpu_s, tokens = cpu_seconds(self.process.pid) - before, reply["usage"]["completion_tokens"]
        ms, steps = self.decode_ms(reply)
        return Answer(text_of(reply), tokens, 1000 * (tokens - 1) / max(ms, 1e-3), steps, cpu_s)

    def decode_ms(self, reply):
        receipt = reply["a_io"]["receipt"]["reply"]
        return receipt["decode_ms"], receipt["steps"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Peer(Server):
    def __init__(self, command, tokens):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.process = subprocess.Popen(
            command + ["--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.url, self.tokens = f"http://127.0.0.1:{port}", tokens
        self.wait_until_ready()

    def wait_until_ready(self):
        while self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise SystemExit(f"bench-lookup-real: {shlex.join(self.process.args)} does not start")

    def decode_ms(self, reply):
        return reply["timings"]["predicted_ms"], 0  # what a step is, it does not say


def text_of(reply):
    return reply["choices"][0]["message"]["content"]


def conversation(task, server):
    messages = user(f"Write a short Python function that {task}. Code alone.")
    for question in (
        "Add type hints and a docstring.",
        "Now raise ValueError for input that makes no sense, and show the whole function again.",
    ):
        messages = (
            messages
            + [{"role": "assistant", "content": text_of(server.post(messages, server.tokens))}]
            + user(question)
        )
    return messages


def measure(server, peers, messages, turn):
    """{"off", "auto" and each peer: Answer}; None where the reply is too short to be timed."""
    ways = [("off", server, {"prompt_lookup_num_tokens": 0}), ("auto", server, {})]
    ways += [(name, peer, {}) for name, peer in peers.items()]
    for asked in [server, *peers.values()]:
        asked.post(messages, 1)
    first = turn % len(ways)
    answers = {name: asked.ask(messages, **more) for name, asked, more in ways[first:] + ways[:first]}
    return answers if answers["off"].tokens >= 8 else None


class Journal:
    """Lines of [kind, number, answers by way]; a reply too short to be timed has null."""

    def __init__(self, path):
        self.path, self.known = path, {}
        for line in open(path, encoding="utf-8") if path and os.path.exists(path) else ():
            kind, number, answers = json.loads(line)
            self.known[(kind, number)] = answers and {way: Answer(*answer) for way, answer in answers.items()}

    def has(self, kind, number):
        return (kind, number) in self.known

    def add(self, kind, number, answers):
        self.known[(kind, number)] = answers
        if self.path:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps([kind, number, answers]) + "\n")

    def of(self, kind):
        return [answers for (k, _), answers in self.known.items() if k == kind and answers]


def spread(values):
    values = sorted(values)
    quarter = len(values) // 4
    return f"{statistics.median(values):.2f} ({values[quarter]:.2f} to {values[-1 - quarter]:.2f})"


def row_of(kind, results):
    speed = lambda way: statistics.median(r[way].tokens_per_s for r in results)  # noqa: E731
    times = [r["auto"].tokens_per_s / r["off"].tokens_per_s for r in results]
    cpu = [r["off"].cpu_s / r["auto"].cpu_s for r in results]
    steps = statistics.median((r["auto"].tokens - 1) / r["auto"].steps for r in results)
    same = sum(r["auto"].text == r["off"].text for r in results)
    return (
        f"| {kind} | {len(results)} | {speed('off'):.1f} | {speed('auto'):.1f} | {spread(times)} | {min(times):.2f} | {spread(cpu)} | "
        f"{steps:.2f} | {same} |"
    )


def peer_row(kind, results, names):
    cells = [
        f"{statistics.median(r[n].tokens_per_s for r in results):.1f} ({statistics.median(r['auto'].tokens_per_s / r[n].tokens_per_s for r in results):.2f})"
        for n in names
    ]
    return (
        f"| {kind} | {len(results)} | {statistics.median(r['auto'].tokens_per_s for r in results):.1f} | "
        + " | ".join(cells)
        + " |"
    )


def print_tables(kinds, journal, names):
    done = {kind: journal.of(kind) for kind in kinds if journal.of(kind)}
    print(
        "| kind | requests | off, tokens/s | auto | times off | lowest | by processor time | tokens a step | same text |\n|"
        + "---|" * 9
    )
    print("\n".join(row_of(kind, results) for kind, results in done.items()))
    if names:
        print(
            "\n| kind | requests | auto, tokens/s | "
            + " | ".join(f"{name} (auto over it)" for name in names)
            + " |\n|"
            + "---|" * (3 + len(names))
        )
        done = {kind: [r for r in results if names[0] in r] for kind, results in done.items()}
        print("\n".join(peer_row(kind, results, names) for kind, results in done.items() if results))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model")
    arguments.add_argument("--program", default="build/a-io")
    arguments.add_argument("--requests", type=int, default=20, help="of each kind")
    arguments.add_argument("--tokens", type=int, default=192)
    arguments.add_argument("--journal", help="a file; goes on where an earlier run was stopped")
    arguments.add_argument("--kinds", default="edit,summary,json,chat,prose")
    arguments.add_argument("--peer", action="append", default=[], help="NAME=llama-server's path and options")
    arguments.add_argument("--peer-requests", type=int, default=20, help="of each kind, the first ones")
    given = arguments.parse_args()
    journal = Journal(given.journal)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    server = Server([given.program, "serve", "-m", given.model, "--port", "0"], given.tokens)
    peers = {}
    try:
        for peer in given.peer:
            name, _, command = peer.partition("=")
            peers[name] = Peer(shlex.split(command) + ["-m", given.model], given.tokens)
        make = {
            "edit": edits,
            "summary": summaries,
            "json": records,
            "chat": lambda n: TASKS[:n],
            "prose": lambda n: [user(f"Write a text of some paragraphs about {matter}.") for matter in MATTERS[:n]],
        }
        for kind in given.kinds.split(","):
            for i, prompt in enumerate(make[kind](given.requests)):
                if not journal.has(kind, i):
                    messages = conversation(prompt, server) if kind == "chat" else prompt
                    journal.add(kind, i, measure(server, peers if i < given.peer_requests else {}, messages, i))
    finally:
        for started in [server, *peers.values()]:
            started.stop()
    print_tables(given.kinds.split(","), journal, list(peers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
