#!/usr/bin/env python3
"""run.py PROGRAM [COUNT [SEED]]: files that are wrong, each given to the program that would serve it.

COUNT (1200) model files and sets of them made of sound small ones, and the templates of templates.py with as many
mutations, always the same for a seed (1). A model is asked for two tokens, a template to render a conversation: it is
done, or refused with a message and an exit status that says so, within a second of processor time (a model of which
nothing is wrong takes 0.03) and in bounded memory. Prints a line a kind; what did not hold stays in build/files with a
line that says what it was. Exit status 1 where something did not. Python's standard library.
"""

import collections
import concurrent.futures
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

import layout
import mutations
import templates

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 20 if "sanitize" in sys.argv[1] else 1
CPU_S, WALL_S = 1.0 * PATIENCE, 30 * PATIENCE
GROWTH_MB = 96 * PATIENCE  # beyond what the sound file takes
REFUSED = {2, 3, 4, 5, 9}  # 9: what it computed is no number
WORDS = ["-n", "2", "--offline", "Hello there, what is 3 plus 4?"]
KEPT = ROOT / "build/files"
CONVERSATION = b"""{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"},
  {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "3 + 4?"}]}"""


class Told:
    """How the program took it. Its most memory is told to be no less than ours was, so that ours is kept small."""

    def __init__(self, program, arguments, text=b""):
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(text)
            given.seek(0)
            child = subprocess.Popen(
                [program, *arguments], stdin=given, stdout=subprocess.DEVNULL, stderr=said, cwd=ROOT
            )
            alarm = threading.Timer(WALL_S, child.kill)
            alarm.start()
            _, status, usage = os.wait4(child.pid, 0)
            alarm.cancel()
            self.status = child.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            self.said = said.read(4000).decode(errors="replace")
        self.seconds, self.mb = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

    def wrong(self, most_mb):
        if self.status < 0:
            return f"ended by signal {-self.status}"
        if self.status not in REFUSED | {0}:
            return f"exit status {self.status}"
        if self.status and not self.said.strip():
            return "refused without a word"
        if "panicked" in self.said or "internal error" in self.said:
            return "an internal error"
        if self.seconds > CPU_S:
            return f"{self.seconds:.2f} s"
        return f"{self.mb:.0f} MB" if self.mb > most_mb else ""


class Tally:
    def __init__(self):
        self.lines, self.failed = collections.defaultdict(lambda: [0, 0, 0.0, 0.0]), []

    def add(self, kind, what, told, most_mb, keep):
        line = self.lines[kind]
        line[0] += 1
        line[1] += told.status == 0
        line[2], line[3] = max(line[2], told.seconds), max(line[3], told.mb)
        wrong = told.wrong(most_mb) or (f"refused: {told.said}" if kind == "sound" and told.status else "")
        if wrong:
            KEPT.mkdir(parents=True, exist_ok=True)
            name = f"{kind.replace(' ', '-')}-{len(self.failed)}"
            keep(KEPT / name)
            self.failed.append(f"{kind}: {what}: {wrong} (build/files/{name})\n  {told.said[-300:].strip()}")
            print(f"FAILED {self.failed[-1]}", flush=True)

    def print(self):
        for kind, (n, taken, seconds, mb) in sorted(self.lines.items()):
            print(
                f"files {kind:12} {n:4} given, {taken:4} taken, the rest refused; at most {seconds:.2f} s and {mb:.0f} MB"
            )


def bases():
    """Small sound files; of every architecture where the golden ones were made."""
    made = sorted((ROOT / "build/golden").glob("*.F16.gguf"))
    return [*sorted((ROOT / "tests/golden/data").glob("*.gguf")), ROOT / "models/demo/small.gguf", *made]


def try_model(program, tally, most_mb, seed, i):
    """The i-th; the first ones are the sound files, as sets of three."""
    files, one = bases(), random.Random(seed * 1_000_003 + i)
    path = files[i] if i < len(files) else one.choice(files)
    change = mutations.sound if i < len(files) else mutations.KINDS[i % len(mutations.KINDS)]
    what, made, named = change(one, path.read_bytes(), layout.read(path))
    with tempfile.TemporaryDirectory(prefix="a-io-files-") as folder:
        for name, raw in made.items():
            pathlib.Path(folder, name).write_bytes(raw)
        told = Told(program, ["run", "-m", f"{folder}/{named}", *WORDS])

        def keep(place):
            place.mkdir(exist_ok=True)
            for name, raw in made.items():
                (place / name).write_bytes(raw)

        tally.add(change.__name__, f"{path.name}: {what}", told, most_mb, keep)


def sound_templates():
    found = (file.key(b"tokenizer.chat_template") for file in map(layout.read, bases()))
    return sorted({key[2].decode() for key in found if key})


def try_template(program, tally, most_mb, sound, seed, i):
    """The i-th; the first ones are those by hand."""
    one, n = random.Random(seed * 1_000_003 + i), len(templates.BY_HAND)
    kind, text = (
        ("by hand", templates.BY_HAND[i]) if i < n else ("mutated", templates.mutations(one, one.choice(sound)))
    )
    with tempfile.NamedTemporaryFile(prefix="a-io-files-") as file:
        file.write(text.encode("utf-8", "surrogatepass"))
        file.flush()
        told = Told(program, ["render", "--chat-template", file.name], CONVERSATION)
        tally.add(f"template {kind}", repr(text[:200]), told, most_mb, lambda place: place.write_text(text))


def main():
    sys.setrecursionlimit(20_000)  # arrays of arrays are written
    program, count, seed = os.path.abspath(sys.argv[1]), int((sys.argv + ["1200"])[2]), int((sys.argv + ["1"] * 2)[3])
    sound = Told(program, ["run", "-m", "models/demo/small.gguf", *WORDS])
    if sound.status != 0:
        sys.exit(f"the sound file: {sound.status} {sound.said}")
    tally, most_mb, began, known = Tally(), sound.mb + GROWTH_MB, time.monotonic(), sound_templates()
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(lambda i: try_model(program, tally, most_mb, seed, i), range(len(bases()) + count)))
        more = range(len(templates.BY_HAND) + count // 3)
        list(pool.map(lambda i: try_template(program, tally, most_mb, known, seed, i), more))
    tally.print()
    given = sum(line[0] for line in tally.lines.values())
    print(f"files: {given} of seed {seed} in {time.monotonic() - began:.0f} s, {len(tally.failed)} did not hold")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
