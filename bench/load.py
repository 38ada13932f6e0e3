#!/usr/bin/env python3
"""load.py: what a server does under many connections. Its own server, its own load, on this machine.

    load.py --program PATH rates            wrk on /health and on one-token completions, alone and beside
                                            8 streams: requests/s, p99, and the streams' gaps
    load.py --program PATH open [SECONDS]   1,000 open connections, 200 of them streaming all the time:
                                            nothing may fail but what docs/http.md announces (429 and 503
                                            with Retry-After), and memory must stay flat

The demo pair. Exit status: 0, 1 when something failed. Python's standard
library, and Debian's wrk for the first.
"""

import argparse
import asyncio
import collections
import json
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TAKES_S = 300  # until an answer's head or its next piece has come
GROWTH_MB = 4  # of resident memory but KV, from a third of the time to its end


# ---- a server ----------------------------------------------------------------------------------


def configuration(folder, slots):
    text = (ROOT / "config/demo.yaml").read_text().replace("../models/", f"{ROOT}/models/")
    text = text.replace("slots: 8", f"slots: {slots}").replace("port: 8098", "port: 8098\n  max_connections: 1200")
    file = pathlib.Path(folder) / "load.yaml"
    file.write_text(text)
    return file


class Server:
    def __init__(self, options, folder, slots):
        self.log = open(pathlib.Path(folder) / "server.log", "w+")
        self.process = subprocess.Popen(
            [options.program, "serve", "--port", "0", "--config", configuration(folder, slots)], stderr=self.log
        )
        while not (found := re.search(r"listening on http://([\d.]+):(\d+)[^\n]*\n(?:.*\n)*?try:", self.text())):
            if self.process.poll() is not None:
                sys.exit(f"the server does not start:\n{self.text()}")
            time.sleep(0.05)
        self.host, self.port = found[1], int(found[2])
        self.url = f"http://{self.host}:{self.port}"

    def text(self):
        return pathlib.Path(self.log.name).read_text()

    def status(self, name):
        return int(re.search(rf"{name}:\s+(\d+)", pathlib.Path(f"/proc/{self.process.pid}/status").read_text())[1])

    def resident_mb(self):
        return self.status("VmRSS") / 1024

    async def kv_mb(self, tally):
        """What the caches of keys and values take: it grows until every place has held its longest reply."""
        connection = Connection(self, tally)
        _, fields = await connection.head("GET", "/metrics")
        text = b"".join([piece async for piece in connection.pieces(fields)]).decode()
        connection.writer.close()
        return sum(float(n) for n in re.findall(r"^a_io_kv_bytes\{.*\} (\S+)$", text, re.M)) / 2**20

    def descriptors(self):
        return len(list(pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def stop(self):
        self.process.terminate()
        return self.process.wait()


# ---- one connection ------------------------------------------------------------------------------


class Connection:
    """A connection that is kept, and what went over it."""

    def __init__(self, server, tally):
        self.server, self.tally = server, tally
        self.reader = self.writer = None

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection(self.server.host, self.server.port)

    async def head(self, method, path, body=b""):
        """As every HTTP client does, a connection that was kept and is closed meanwhile is opened again."""
        if self.writer is not None:
            try:
                return await self.ask(method, path, body)
            except asyncio.IncompleteReadError as end:
                if end.partial:
                    raise
            except ConnectionError:
                pass
            self.tally.reopened += 1
        await self.open()
        return await self.ask(method, path, body)

    async def ask(self, method, path, body):
        kind = "Content-Type: application/json\r\n" if body else ""
        self.writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body
        )
        text = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), TAKES_S)).decode()
        fields = dict(line.lower().split(": ", 1) for line in text.split("\r\n")[1:] if line)
        return int(text.split(" ")[1]), fields

    async def pieces(self, fields):
        """What follows the head, as it comes."""
        if "content-length" in fields:
            yield await self.reader.readexactly(int(fields["content-length"]))
            return
        while True:
            size = int(await asyncio.wait_for(self.reader.readline(), TAKES_S), 16)
            piece = await self.reader.readexactly(size + 2)
            if size == 0:
                return
            yield piece[:-2]

    async def look(self):
        status, fields = await self.head("GET", "/health")
        async for _ in self.pieces(fields):
            pass
        self.tally.answers[status] += 1

    async def stream(self, body):
        """Seconds to wait before the next: what the server said, or 0."""
        status, fields = await self.head("POST", "/v1/chat/completions", body)
        announced = status in (429, 503) and "retry-after" in fields
        self.tally.answers[status] += 1
        whole, last = b"", None
        async for piece in self.pieces(fields):
            now = time.monotonic()
            if last is not None and b'"content"' in piece:
                self.tally.gaps.append(now - last)
            last = now
            whole = (whole + piece)[-400:]
            self.tally.tokens += piece.count(b'"delta"')
        if not announced and (status != 200 or b"data: [DONE]" not in whole or b'"error"' in whole):
            self.tally.failed.append(f"{status}: {whole[-200:]!r}")
        if fields.get("connection") == "close":
            self.writer.close()
            self.writer = None
        return float(fields["retry-after"]) if announced else 0


class Tally:
    def __init__(self):
        self.answers, self.failed, self.gaps, self.tokens, self.reopened = collections.Counter(), [], [], 0, 0


def request(number, **more):
    questions = [
        "Write a function that adds two numbers.",
        "What is 3 plus 4?",
        "What is the capital of France?",
        "Tell me about the sea.",
    ]
    return json.dumps(
        {
            "messages": [{"role": "user", "content": questions[number % 4]}],
            "model": ["auto", "small", "large"][number % 3],
            "seed": number,
            "max_tokens": 120,
            "stream": True,
            "logit_bias": {},
            **more,
        }
    ).encode()


async def stream_on(server, tally, number, end):
    connection = Connection(server, tally)
    while time.monotonic() < end():
        try:
            await asyncio.sleep(await connection.stream(request(number)))
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
            tally.failed.append(f"stream {number}: {error!r}")
            connection.writer = None
            await asyncio.sleep(1)
        number += 1009


async def keep_open(server, tally, number, end):
    connection = Connection(server, tally)
    await asyncio.sleep(number % 25)
    while time.monotonic() < end():
        try:
            await connection.look()
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
            tally.failed.append(f"connection {number}: {error!r}")
            connection.writer = None
        await asyncio.sleep(25)  # within the 60 s that a connection without a request is kept


# ---- 1,000 connections ----------------------------------------------------------------------------


async def watch(server, tally, end, seconds):
    start, third, base = time.monotonic(), None, None
    while time.monotonic() < end():
        await asyncio.sleep(min(30, seconds / 10))
        passed = time.monotonic() - start
        kv = await server.kv_mb(tally)
        resident = server.resident_mb() - kv
        print(
            f"{passed:5.0f} s  {resident:7.1f} MB and {kv:6.1f} of KV  {server.descriptors():5d} descriptors  {tally.tokens:8d} tokens  "
            f"{dict(sorted(tally.answers.items()))}  failed {len(tally.failed)}",
            flush=True,
        )
        if third is None and passed >= seconds / 3:
            third, base = passed, resident
    return resident - base


async def run_open(server, seconds, connections, streams):
    tally, start = Tally(), time.monotonic()
    end = lambda: start + seconds  # noqa: E731
    tasks = [asyncio.create_task(stream_on(server, tally, i, end)) for i in range(streams)]
    tasks += [asyncio.create_task(keep_open(server, tally, i, end)) for i in range(connections - streams)]
    grown = await watch(server, tally, end, seconds)
    await asyncio.gather(*tasks)
    return tally, grown


def open_connections(options, folder):
    server = Server(options, folder, options.streams // 2 + 10)
    tally, grown = asyncio.run(run_open(server, options.seconds, options.connections, options.streams))
    ended = server.stop()
    gaps = sorted(tally.gaps)
    print(
        f"{options.connections} connections, {options.streams} streaming, {options.seconds} s: answers {dict(tally.answers)}, {tally.tokens} tokens, "
        f"{len(tally.failed)} failed, {tally.reopened} connections opened again; memory but KV grew {grown:.1f} MB from a third of the time on; the server ended with {ended}"
    )
    print(f"gaps between tokens: {quantiles(gaps)}")
    for line in tally.failed[:10]:
        print(f"FAILED {line}")
    return tally.failed == [] and grown <= GROWTH_MB and ended == 0


# ---- wrk -------------------------------------------------------------------------------------------


def quantiles(values):
    values = sorted(values)
    at = lambda share: 1000 * values[min(len(values) - 1, int(share * len(values)))]  # noqa: E731
    return (
        f"p50 {at(0.5):.1f}, p99 {at(0.99):.1f}, max {1000 * values[-1]:.1f} ms of {len(values)}" if values else "none"
    )


async def wrk(server, path, seconds, connections, script=None):
    more = ["-s", script] if script else []
    done = await asyncio.create_subprocess_exec(
        "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *more, server.url + path, stdout=subprocess.PIPE
    )
    text = (await done.communicate())[0].decode()
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    rate, p99 = re.search(r"Requests/sec:\s+([\d.]+)", text)[1], re.search(r"99%\s+(\S+)", text)[1]
    return f"{float(rate):8.0f} requests/s, p99 {p99}{f', {bad[1]} refused' if bad else ''}"


async def run_rates(server, options, script):
    loads = {
        "nothing": None,
        "/health": ("/health", 64, None),
        "one-token completions": ("/v1/chat/completions", 8, script),
    }
    failed = []
    for streams in (0, 8):
        for name, load in loads.items():
            tally, start = Tally(), time.monotonic()
            end = lambda: start + options.seconds  # noqa: B023,E731
            tasks = [asyncio.create_task(stream_on(server, tally, i * 3 + 2, end)) for i in range(streams)]
            told = await wrk(server, load[0], options.seconds, load[1], load[2]) if load else None
            await asyncio.gather(*tasks)
            failed += tally.failed
            if told:
                print(f"{name:22} beside {streams} streams: {told}", flush=True)
            if streams:
                print(f"{'':22} gaps of the streams beside {name}: {quantiles(tally.gaps)}", flush=True)
    return failed


def rates(options, folder):
    script = pathlib.Path(folder) / "one.lua"
    body = request(0, stream=False, max_tokens=1, model="small").decode().replace("\\", "\\\\").replace("'", "\\'")
    script.write_text(f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n")
    server = Server(options, folder, 24)
    failed = asyncio.run(run_rates(server, options, str(script)))
    for line in failed[:10]:
        print(f"FAILED {line}")
    return server.stop() == 0 and failed == []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("what", choices=["rates", "open"])
    parser.add_argument("seconds", type=int, nargs="?")
    options = parser.parse_args()
    options.seconds = options.seconds or (10 if options.what == "rates" else 600)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with tempfile.TemporaryDirectory(prefix="a-io-load-") as folder:
        return 0 if (rates if options.what == "rates" else open_connections)(options, folder) else 1


if __name__ == "__main__":
    sys.exit(main())
