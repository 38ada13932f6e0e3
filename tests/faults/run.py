#!/usr/bin/env python3
"""run.py PROGRAM LIBRARY [KIND...]: `a-io serve` on the demo pair with one kind of call failing in turn, and from one on.

For each kind of call that faults.c knows: how many a whole life makes (start, a reply, a stream, a reload, a reply, the
end), then lives in which the n-th fails alone, and lives in which it and all after it do; n at POSITIONS places
(environment; 5), the first ones and the others evenly spread. A life holds if no signal ended the program, it ended
within a bound of being asked to (where it never served, by the signal itself, too), and every reply that came whole is
the one that comes without faults: not another text. Prints a line a kind; exit status 1 where one did not hold, with what it said.
"""

import concurrent.futures
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

KINDS = [
    "memory", "mmap", "madvise", "thread", "open", "read", "write", "sync", "rename", "stat", "socket", "bind",
    "listen", "accept", "receive", "send", "epoll", "epoll_wait", "eventfd",
]  # fmt: skip
ONCE = {"epoll_wait"}  # interrupted every time it would be no fault but the end of the system
POSITIONS = int(os.environ.get("POSITIONS", 5))
START_S, ANSWER_S, END_S = 40, 20, 40
BODY = {"messages": [{"role": "user", "content": "What is 3 plus 4?"}], "max_tokens": 6, "temperature": 0, "seed": 1}
KEY = "k-1"
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=ANSWER_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def text_of(raw, streams):
    if not streams:
        return json.loads(raw)["choices"][0]["message"]["content"]
    events = [line[6:] for line in raw.decode().split("\n") if line.startswith("data: ")]
    if not events or events[-1] != "[DONE]" or any('"error"' in one for one in events):
        return None
    deltas = [choice for one in events[:-1] for choice in json.loads(one)["choices"]]
    return "".join(one["delta"].get("content") or "" for one in deltas)


def ask(path, streams):
    """The reply's text; None: an error, or it broke off."""
    connection = Connection(path)
    try:
        connection.request(
            "POST",
            "/v1/chat/completions",
            json.dumps({**BODY, "stream": streams}),
            {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
        )
        answer = connection.getresponse()
        raw = answer.read()
        return text_of(raw, streams) if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_for(path, process):
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        if os.path.exists(path):
            try:
                with socket.socket(socket.AF_UNIX) as one:
                    one.connect(path)
                return True
            except OSError:
                pass
        time.sleep(0.02)
    return False


def prepare(folder):
    """A configuration that writes a decision log and budgets, and paths that do not depend on where it stands."""
    text = (ROOT / "config/demo.yaml").read_text().replace("../models", str(ROOT / "models"))
    config, keys = folder / "config.yaml", folder / "keys"
    keys.write_text(f"somebody {KEY} budget=1000000/day\n")
    keys.chmod(0o600)
    server = f"server:\n  keys_file: {keys}\n  budget_file: {folder}/spent.json\n"
    text = text.replace("\nserver:\n", f"\n{server}")
    text = text.replace("    role: large\n", "    role: large\n    price: {input: 1, output: 1}\n")
    config.write_text(f"{text}\ndecisions: {{file: {folder}/decisions.jsonl}}\n")
    return config


def live(program, library, cache, fault):
    """One life. Returns (what did not hold or "", calls of the kind, the texts)."""
    with tempfile.TemporaryDirectory(prefix="a-io-faults-") as name:
        folder = pathlib.Path(name)
        shutil.copytree(cache, folder / "cache")
        count, path = folder / "count", f"{folder}/socket"
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": f"{folder}/cache",
            "LD_PRELOAD": library,
            "FAULT_COUNT": f"{count}",
            **fault,
        }
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, "serve", "--config", prepare(folder), "--socket", path],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            watchdog = threading.Timer(START_S + 3 * ANSWER_S + END_S, process.kill)
            watchdog.start()
            texts = []
            if wait_for(path, process):
                texts += [ask(path, False), ask(path, True)]
                process.send_signal(signal.SIGHUP)
                texts.append(ask(path, False))
            for _ in range(2):  # asked politely, then urgently
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                try:
                    process.wait(END_S / 2)
                    break
                except subprocess.TimeoutExpired:
                    continue
            hangs = process.poll() is None
            watchdog.cancel()
            process.kill()
            process.wait()
        said = (folder / "log").read_bytes().decode(errors="replace")[-2000:]
        calls = int.from_bytes(count.read_bytes(), "little") if count.exists() else 0
        if hangs:
            return f"did not end when asked to\n{said}", calls, texts
        asked = {-signal.SIGTERM, -signal.SIGHUP} if not any(texts) else set()  # while a start that failed was undone
        if process.returncode < 0 and process.returncode not in asked:
            return f"ended by signal {-process.returncode}\n{said}", calls, texts
        return "", calls, texts


def places(n):
    """The first ones, where starting is, and others evenly spread up to the last."""
    first = list(range(1, min(n, max(1, POSITIONS // 3)) + 1))
    rest = max(1, POSITIONS - len(first))
    return sorted({*first, *(max(1, n * (i + 1) // rest) for i in range(rest))} if n else ())


def main():
    program, library = (os.path.abspath(one) for one in sys.argv[1:3])
    failed = 0
    with tempfile.TemporaryDirectory(prefix="a-io-faults-cache-") as cache:
        pathlib.Path(cache, "cache").mkdir()
        sound = f"{cache}/cache"
        wrong, _, expected = live(program, library, sound, {})
        if wrong or len(expected) != 3 or None in expected:
            sys.exit(f"without faults: {wrong or expected}")
        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for kind in sys.argv[3:] or KINDS:
                calls = live(program, library, sound, {"FAULT_CALL": kind})[1]
                faults = [
                    {"FAULT_CALL": kind, "FAULT_FROM": str(n), **more}
                    for n in places(calls)
                    for more in ({}, {"FAULT_ALL": "1"})
                    if not (more and kind in ONCE)
                ]
                lives = list(pool.map(lambda fault: live(program, library, sound, fault), faults))
                replies = 0
                for fault, (wrong, _, texts) in zip(faults, lives):
                    replies += sum(text is not None for text in texts)
                    others = [t for t, e in zip(texts, expected) if t is not None and t != e]
                    if wrong or others:
                        failed += 1
                        print(f"faults {fault}: {wrong or f'another text: {others}'}", flush=True)
                print(f"faults {kind:10} {calls:6} calls, {len(faults):3} lives, {replies:3} whole replies", flush=True)
    sys.exit(1 if failed else 0)


main()
