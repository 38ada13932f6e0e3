#!/usr/bin/env python3
"""How long a request that one server refuses takes to the next: `forward.py --program build/a-io`.

Four servers of one model work on four requests at once, ten milliseconds each, and refuse more; the fourth says that it
is idle and refuses nine of ten. Twelve clients send 500 requests. A forward is the time from a server's refusal (its
last byte is written) to the same request's arrival at the next one, and counts where one of the honest servers has
room. Servers and clients are processes of their own; standard library alone.
"""

import argparse
import asyncio
import json
import multiprocessing
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

SERVERS, CAPACITY, CLIENTS, REQUESTS, WORK_S = 4, 4, 12, 500, 0.010
CHUNK = 'data: {"choices": [{"index": 0, "delta": {"content": "well"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def message(status, body, kind="application/json", more=""):
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n{body}".encode()


REFUSED = message("503 Service Unavailable", '{"error": {"message": "busy"}}', more="X-Queue-Length: 0\r\n")
MODELS = message("200 OK", '{"object": "list", "data": []}')
WELL = message("200 OK", CHUNK, "text/event-stream")


class State:
    running = [0] * SERVERS
    asked = 0  # of the one that lies
    refused_at = {}
    forwards = []
    refusals = 0


class Server(asyncio.Protocol):
    def __init__(self, number):
        self.number, self.data = number, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        now = time.perf_counter()
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            said = re.search(rb"(?i)content-length: (\d+)", self.data[:end])
            whole = end + 4 + (int(said.group(1)) if said else 0)
            if len(self.data) < whole:
                return
            head, self.data = self.data[:whole], self.data[whole:]
            self.answer(head, now)

    def answer(self, request, now):
        if request.startswith(b"GET"):
            self.transport.write(MODELS)
            return
        key = re.search(rb"question \d+", request).group()
        if key in State.refused_at:
            State.forwards.append(now - State.refused_at.pop(key))
        lies = self.number == SERVERS - 1
        State.asked += lies
        if State.running[self.number] >= CAPACITY or (lies and State.asked % 10 != 0):
            self.transport.write(REFUSED)
            State.refusals += 1
            if any(n < CAPACITY for n in State.running[:-1]):
                State.refused_at[key] = time.perf_counter()
            return
        State.running[self.number] += 1
        asyncio.get_running_loop().call_later(WORK_S, self.end)

    def end(self):
        State.running[self.number] -= 1
        self.transport.write(WELL)


def serve(pipe):
    async def run():
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(lambda i=i: Server(i), "127.0.0.1", 0) for i in range(SERVERS)]
        pipe.send([server.sockets[0].getsockname()[1] for server in servers])
        await loop.run_in_executor(None, pipe.recv)
        pipe.send((State.refusals, State.forwards))

    asyncio.run(run())


def ask_all(port, pipe):
    numbers, errors = iter(range(REQUESTS)), []

    async def client():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for i in numbers:
            body = json.dumps(
                {"model": "large", "max_tokens": 4, "messages": [{"role": "user", "content": f"question {i}"}]}
            )
            writer.write(
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(int(re.search(r"(?i)content-length: (\d+)", head).group(1)))
            if " 200 " not in head.split("\r\n")[0]:
                errors.append(head)
        writer.close()

    async def run():
        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    asyncio.run(run())
    pipe.send(errors)


def start(work, *arguments):
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=work, args=(*arguments, there), daemon=True)
    process.start()
    return process, here


def start_router(program, folder, ports):
    config = pathlib.Path(folder, "pool.yaml")
    urls = ", ".join(f'"http://127.0.0.1:{port}/v1"' for port in ports)
    config.write_text(f"version: 1\nmodels:\n  - {{name: large, replicas: [{urls}]}}\n")
    with open(pathlib.Path(folder, "log"), "w") as log:
        router = subprocess.Popen(
            [program, "serve", "--port", "0", "--config", config], stderr=log, stdout=subprocess.DEVNULL
        )
    for _ in range(200):
        text = pathlib.Path(folder, "log").read_text()
        if found := re.search(r"listening on http://127.0.0.1:(\d+)[^~]*\ntry: ", text):
            return router, int(found.group(1))
        time.sleep(0.05)
    sys.exit(f"forward: a-io serve did not start: {text}")


def run_round(program):
    servers, from_servers = start(serve)
    with tempfile.TemporaryDirectory() as folder:
        router, port = start_router(program, folder, from_servers.recv())
        try:
            clients, from_clients = start(ask_all, port)
            errors = from_clients.recv()
            clients.join()
        finally:
            router.terminate()
            router.wait()
    from_servers.send(None)
    refusals, forwards = from_servers.recv()
    servers.join()
    return refusals, sorted(1e3 * seconds for seconds in forwards), errors


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--program", default="build/a-io")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    every = []
    for i in range(given.rounds):
        refusals, forwards, errors = run_round(given.program)
        every += forwards
        print(
            f"round {i + 1}: {REQUESTS} requests, {len(errors)} errors, {refusals} refusals, of which {len(forwards)} while"
            f" a server had room: at the next after {statistics.median(forwards):.2f} ms (median), longest {forwards[-1]:.2f}"
        )
    every.sort()
    print(
        f"all {len(every)}: median {statistics.median(every):.2f} ms, p90 {every[len(every) * 9 // 10]:.2f}, p99 {every[len(every) * 99 // 100]:.2f}"
    )


if __name__ == "__main__":
    main()
