#!/usr/bin/env python3
"""run.py PROGRAM ALLOCATOR SMALL LARGE: hours of mixed load against one `a-io serve`, with what happens to servers.

The small model is here, the large one at two replicas, each an `a-io serve` of its own. First every question is asked
alone, of servers with one thread and no cache; then a few clients ask them again, at random, by every API, whole and
as streams; some leave in mid-stream. Meanwhile, over and over, the configuration is read again (SIGHUP; a replica goes
and comes), a replica is killed and started again, or stands still, and the disk of the decision log is full (a small
tmpfs, which needs root). A reply that completed must be the one that came alone, a broken one its beginning; only what
was under way at a replica when it was killed may fail. Once a minute memory, descriptors, threads and what the allocator
has given out are noted; at the end their slopes, by the means of eight equal spans after the first quarter of the time.

While PAUSE_FILE exists no request begins; --share is how much of a core all servers may use. SIGUSR1: the report so
far. Exit status 1 when something did not hold. Python's standard library.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from questions import LOOKS, REFUSED, Said, questions
from servers import Broken, Connection, Server, ask

ANSWER_S = 240  # a whole answer, on a machine where others work too
FAULT_S = 3  # after a fault at a replica its requests may fail so long
JUDGED_S = 1800  # of a shorter run all is still filled for the first time
CREDIT_S = 5  # unused processor time is not saved up for a rush
STUDENT = 2.447  # 95 % of Student's t with 6 degrees of freedom, for a line through eight means
GROWTH = {"anonymous_mb": 1.0, "in_use_mb": 1.0, "descriptors": 1.0, "threads": 1.0}  # an hour; surely more fails

CONFIG = """version: 1
models:
  - {{name: small, role: small, path: "{small}", context: 2048, slots: 4}}
  - name: large
    role: large
    model: "{name}"
    replicas: [{replicas}]
    pool: {{health_ms: 500, slow_start_ms: 1000, wait_ms: 20000, health_path: /health}}
probe:
  template: "{{conversation}}Task category:"
  timeout_ms: 0
  labels: [{{name: code, token: " Code"}}, {{name: qa, token: " Knowledge"}}, {{name: math, token: " Calculation"}}]
policy: {{name: adaptive, entropy_limit: 0.45}}
engine: {{threads: {threads}, prefix_cache: {cache}}}
decisions: {{file: "{log}/decisions.jsonl", prompts: text, max_mb: 1, keep: 1}}
server: {{host: 127.0.0.1, port: {port}}}
"""


class Soak:
    def __init__(self, options, folder):
        self.options, self.folder, self.random = options, folder, random.Random(options.seed)
        self.questions, self.alone = questions(), []
        self.counts, self.happened = collections.Counter(), collections.Counter()
        self.failures, self.samples = [], collections.defaultdict(list)
        self.faults = []  # [from, to] of monotonic time, at a replica
        self.replicas, self.main, self.both = [], None, True
        self.log = folder / "log"
        self.log.mkdir()

    def now(self):
        return time.monotonic() - self.began

    def fail(self, what):
        self.failures.append(what)
        print(f"FAILED {what}", flush=True)

    # -- servers

    def write_configuration(self, threads, cache):
        replicas = self.replicas if self.both else self.replicas[:1]
        text = CONFIG.format(
            small=os.path.abspath(self.options.small),
            name=pathlib.Path(self.options.large).stem,
            replicas=", ".join(f'"http://127.0.0.1:{one.port}/v1"' for one in replicas),
            threads=threads,
            cache=str(cache).lower(),
            log=self.log,
            port=0,
        )
        file = self.folder / "soak.yaml"
        file.write_text(text)
        return f"{file}"

    async def start(self, threads, cache, allocator=None):
        program = os.path.abspath(self.options.program)
        self.replicas = [Server(program, self.folder, name, allocator) for name in ("first", "second")]
        for one in self.replicas:
            await one.start("-m", os.path.abspath(self.options.large), "-t", "1", "-c", "2048")
        self.main = Server(program, self.folder, "main", allocator)
        await self.main.start("--config", self.write_configuration(threads, cache))
        self.began, self.known_lost = time.monotonic(), 0

    def stop(self):
        for one in [self.main, *self.replicas]:
            one.process.send_signal(signal.SIGCONT)
            status = one.stop()
            if status != 0:
                self.fail(f"{one.name} ended with {status}")

    def spent(self):
        return sum(one.seconds() for one in [self.main, *self.replicas])

    # -- alone

    async def ask_alone(self):
        await self.start(1, False)
        connection = Connection(self.main.port)
        for question in self.questions:
            status, said, _ = await ask(connection, question, False)
            if status != 200:
                raise SystemExit(f"{question} alone: {status} {said}")
            self.alone.append(json.dumps(said.value(), sort_keys=True))
        connection.close()
        self.stop()
        print(f"{len(self.questions)} questions were asked alone", flush=True)

    # -- load

    async def turn(self):
        """Waits until another request may begin."""
        while self.now() < self.seconds and os.path.exists(self.options.pause_file):
            await asyncio.sleep(0.5)
            self.credit()
        while self.now() < self.seconds and self.credit() < 0:
            await asyncio.sleep(0.1)

    def credit(self):
        """Seconds of processor time that may be used now."""
        now, spent = self.now(), self.spent()
        self.balance += self.options.share * (now - self.seen[0]) - (spent - self.seen[1])
        self.balance = min(self.balance, CREDIT_S)
        self.seen = (now, spent)
        return self.balance

    async def client(self):
        connection = Connection(self.main.port)
        while self.now() < self.seconds:
            await self.turn()
            began = time.monotonic()
            try:
                kind = self.random.random()
                if kind < 0.06:
                    await asyncio.wait_for(self.look(connection), ANSWER_S)
                else:
                    await asyncio.wait_for(self.answer(connection), ANSWER_S)
            except Exception as error:  # whatever it was: counted, and the next one
                connection.close()
                if isinstance(error, Broken) and self.at_fault(began):
                    self.counts["broken with its replica"] += 1
                else:
                    self.fail(f"at {self.now():.0f} s: {error!r}")
                if self.main.process.poll() is not None:
                    self.seconds = 0  # what else could be said
            if self.random.random() < 0.3:
                connection.close()
        connection.close()

    def at_fault(self, began):
        return any(began < to and time.monotonic() > since for since, to in self.faults)

    async def look(self, connection):
        if self.random.random() < 0.7:
            path, expected = self.random.choice(LOOKS), 200
            status, _ = await connection.whole("GET", path)
        else:
            path, body, expected = self.random.choice(REFUSED)
            status, _ = await connection.whole("POST", path, body)
        self.counts["looks" if expected == 200 else "refused as expected"] += 1
        if status != expected:
            self.fail(f"{path}: {status} instead of {expected}")

    async def answer(self, connection):
        n = self.random.randrange(len(self.questions))
        question, began = self.questions[n], time.monotonic()
        streams = question.streams and self.random.random() < 0.6
        leaves = self.random.randint(1, 12) if streams and self.random.random() < 0.15 else None
        manner = f"{question.kind} {json.dumps(question.body, ensure_ascii=False)[:300]}"
        alone = json.loads(self.alone[n])
        try:
            status, said, left = await ask(connection, question, streams, leaves)
        except Broken as broken:
            if not getattr(broken, "said", Said()).begins(alone):
                self.fail(f"another beginning: {manner}: {broken.said.value()}")
            raise Broken(f"{manner}: {broken}") from broken
        if status != 200:
            known = status in (429, 503)
            self.counts[f"answered {status}"] += 1
            if not known and not self.at_fault(began):
                self.fail(f"{manner}: {status} {said}")
        elif left:
            self.counts["left in mid-stream"] += 1
            if not said.begins(alone):
                self.fail(f"another beginning: {manner}: {said.value()} instead of {alone}")
        else:
            self.counts[f"whole: {question.kind}{', streamed' if streams else ''}"] += 1
            if said.stored:
                await self.forget(connection, said.stored)
            if json.dumps(said.value(), sort_keys=True) != self.alone[n]:
                self.fail(f"another answer: {manner}: {said.value()} instead of {alone}")

    async def forget(self, connection, stored):
        for method, expected in (("GET", 200), ("DELETE", 200), ("GET", 404)):
            status, _ = await connection.whole(method, f"/v1/responses/{stored}")
            if status != expected:
                self.fail(f"{method} of a stored response: {status} instead of {expected}")

    # -- what happens

    async def happen(self):
        """Ten minutes of it, over and over; shorter where the whole is short."""
        unit = min(60, self.seconds / 20)
        script = [self.reload, self.kill, self.revive, self.reload, self.fill, self.stand, self.free, self.reload]
        while True:
            for event in script:
                await asyncio.sleep(unit * 10 / len(script))
                while os.path.exists(self.options.pause_file):
                    await asyncio.sleep(0.5)
                try:
                    await event()
                    self.happened[event.__name__] += 1
                except (OSError, Broken) as error:
                    self.fail(f"{event.__name__}: {error!r}")

    async def reload(self):
        self.both = not self.both or self.happened["reload"] % 3 == 2
        self.write_configuration(2, True)
        self.main.process.send_signal(signal.SIGHUP)

    async def kill(self):
        self.faults.append([time.monotonic(), time.monotonic() + FAULT_S])
        self.replicas[1].kill()

    async def revive(self):
        await self.replicas[1].start(*self.replicas[1].arguments)

    async def stand(self):
        fault = [time.monotonic(), time.monotonic() + 60]
        self.faults.append(fault)
        self.replicas[1].process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(4)
        self.replicas[1].process.send_signal(signal.SIGCONT)
        fault[1] = time.monotonic() + FAULT_S

    def lost(self):
        return (self.folder / "main.log").read_text().count("decision log: cannot")

    async def fill(self):
        if self.lost() > self.known_lost:
            self.fail("decisions were lost while the disk had room")
        if self.disk:
            with contextlib.suppress(OSError), (self.log / "full").open("wb", buffering=0) as file:
                for size in (65536, 1):
                    with contextlib.suppress(OSError):
                        while True:
                            file.write(b"0" * size)

    async def free(self):
        (self.log / "full").unlink(missing_ok=True)
        self.known_lost = self.lost()

    # -- what is noted

    async def note(self, server, connection):
        """What it takes; KV, which grows until every place has held its longest reply, apart."""
        _, text = await connection.whole("GET", "/metrics")
        look = server.look()
        look["kv_mb"] = sum(float(n) for n in re.findall(r"^a_io_kv_bytes\{.*\} (\S+)$", text.decode(), re.M)) / 2**20
        look["anonymous_mb"] -= look["kv_mb"]
        self.samples[server.name].append({"at": self.now(), **look})

    async def watch(self):
        each, watched = (
            min(60, self.seconds / 40),
            [(one, Connection(one.port)) for one in (self.main, self.replicas[0])],
        )
        while True:
            await asyncio.sleep(each)
            for server, connection in watched:
                await self.note(server, connection)
            with (self.folder / "samples.jsonl").open("a") as file:
                file.write(json.dumps({name: one[-1] for name, one in self.samples.items()}) + "\n")
            last = self.samples["main"][-1]
            print(
                f"{self.now():6.0f} s  {' '.join(f'{k} {v:.4g}' for k, v in last.items() if k != 'at')}  "
                f"requests {sum(self.counts.values())}  failed {len(self.failures)}",
                flush=True,
            )

    def slope(self, server, name):
        """(an hour's growth, half of its 95 % interval)."""
        points = [(s["at"] / 3600, s[name]) for s in self.samples[server] if s["at"] > self.seconds / 4]
        n = len(points) // 8
        if n < 1:
            return None
        spans = [points[i * n : (i + 1) * n] for i in range(8)]
        xs, ys = ([sum(p[k] for p in span) / n for span in spans] for k in (0, 1))
        x, y = sum(xs) / 8, sum(ys) / 8
        square = sum((a - x) ** 2 for a in xs)
        slope = sum((a - x) * (b - y) for a, b in zip(xs, ys)) / square
        rest = sum((b - y - slope * (a - x)) ** 2 for a, b in zip(xs, ys))
        return slope, STUDENT * (rest / 6 / square) ** 0.5

    def check_log(self):
        """Decisions in the log's files; every line whole, below a policy."""
        n = 0
        for file in self.log.glob("decisions.jsonl*"):
            lines = file.read_text().splitlines()
            kinds = [json.loads(line)["type"] for line in lines]
            if kinds[:1] not in ([], ["policy"]):
                self.fail(f"{file.name} does not begin with its policy")
            n += kinds.count("decision")
        lost = re.findall(r"decision log.*", (self.folder / "main.log").read_text())
        print(
            f"decision log: {n} decisions in its last files, every line whole; {len(lost)} lines of the server's log say of it:"
        )
        for line in lost[:4]:
            print(f"  {line}")

    def report(self):
        self.grown = set()
        whole = sum(n for kind, n in self.counts.items() if kind.startswith("whole"))
        print(
            f"{self.now():.0f} s, {sum(self.counts.values())} requests, {whole} whole replies, all compared; {len(self.failures)} failures"
        )
        for counts in (self.counts, self.happened):
            print("; ".join(f"{kind} {n}" for kind, n in sorted(counts.items())))
        print(f"servers used {self.spent():.0f} s of processor time, {self.spent() / self.now():.2f} of a core")
        for server, samples in self.samples.items():
            for name in [key for key in samples[0] if key != "at"]:
                values = [s[name] for s in samples if s["at"] > self.seconds / 4]
                found = self.slope(server, name)
                if found is None:
                    continue
                print(
                    f"{server:6} {name:16} {values[0]:8.2f} to {values[-1]:8.2f} (most {max(values):8.2f}); {found[0]:+.3f} ± {found[1]:.3f} an hour"
                )
                if self.seconds >= JUDGED_S and found[0] - found[1] > GROWTH.get(name, float("inf")):
                    self.grown.add(f"{server}: {name} grows by {found[0]:.3f} ± {found[1]:.3f} an hour")
        sys.stdout.flush()

    async def run(self):
        self.disk = (
            os.geteuid() == 0
            and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "soak", self.log]).returncode == 0
        )
        try:
            self.seconds = self.options.hours * 3600
            await self.ask_alone()
            for file in self.log.iterdir():
                file.unlink()
            await self.start(2, True, self.options.allocator and os.path.abspath(self.options.allocator))
            self.seen, self.balance = (0, self.spent()), 0
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.report)
            beside = [asyncio.create_task(self.happen()), asyncio.create_task(self.watch())]
            await asyncio.gather(*(self.client() for _ in range(self.options.clients)))
            for task in beside:
                task.cancel()
                for error in await asyncio.gather(task, return_exceptions=True):
                    if not isinstance(error, asyncio.CancelledError):
                        self.fail(f"{error!r}")
            self.report()
            for what in self.grown:
                self.fail(what)
            await self.free()
            self.stop()
            self.check_log()
        finally:
            for one in [self.main, *self.replicas]:
                if one and one.process.poll() is None:
                    one.process.kill()
            if self.disk:
                subprocess.run(["umount", self.log])
        return self.failures == []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("allocator", help="allocator.so; '' for none")
    parser.add_argument("small")
    parser.add_argument("large")
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--share", type=float, default=1.5, help="of a core (default: 1.5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause-file", default="")
    parser.add_argument("--keep", help="a folder for logs and samples, kept")
    options = parser.parse_args()
    folder = pathlib.Path(options.keep or tempfile.mkdtemp(prefix="a-io-soak-")).resolve()
    folder.mkdir(exist_ok=True)
    try:
        return 0 if asyncio.run(Soak(options, folder).run()) else 1
    finally:
        if not options.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
