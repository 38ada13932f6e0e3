"""Servers under soak, what the system says of them, and connections to them."""

import asyncio
import json
import os
import pathlib
import re
import subprocess

from questions import Said


class Broken(Exception):
    """No whole answer: what was said of it."""


# ---- servers ---------------------------------------------------------------------------------------


class Server:
    """A process that serves, and what the system says of it."""

    def __init__(self, program, folder, name, allocator=None):
        self.program, self.folder, self.name, self.port, self.spent = program, folder, name, 0, 0.0
        self.environment = {**os.environ, "A_IO_API_KEY": "", "XDG_CACHE_HOME": f"{folder}/cache"}
        self.given = folder / f"{name}.allocator"
        if allocator:
            self.environment |= {"LD_PRELOAD": allocator, "ALLOCATOR_FILE": f"{self.given}"}

    async def start(self, *arguments):
        """The second time at the port that it had."""
        log, seen = self.folder / f"{self.name}.log", 0
        seen = log.stat().st_size if log.exists() else 0
        self.arguments = arguments
        self.process = subprocess.Popen(
            [self.program, "serve", *arguments, "--port", f"{self.port}"], stderr=log.open("ab"), env=self.environment
        )
        while not (found := re.search(r"listening on http://[\d.]+:(\d+)(?s:.)*\ntry: ", log.read_text()[seen:])):
            if self.process.poll() is not None:
                raise Broken(f"{self.name} does not start:\n{log.read_text()[seen:]}")
            await asyncio.sleep(0.1)
        self.port = int(found[1])
        return self

    def kill(self):
        self.spent = self.seconds()
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait()

    def seconds(self):
        """Of processor time, of all its lives."""
        try:
            fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return self.spent + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError):
            return self.spent

    def look(self):
        folder = pathlib.Path(f"/proc/{self.process.pid}")
        status = dict(re.findall(r"(\w+):\s+(\d+)", (folder / "status").read_text()))
        rollup = dict(re.findall(r"(\w+):\s+(\d+) kB", (folder / "smaps_rollup").read_text()))
        look = {
            "resident_mb": int(status["VmRSS"]) / 1024,
            "anonymous_mb": int(status["RssAnon"]) / 1024,
            "proportional_mb": int(rollup["Pss_Anon"]) / 1024,
            "descriptors": len(list((folder / "fd").iterdir())),
            "threads": int(status["Threads"]),
        }
        if self.given.exists():
            in_use, mapped, free = (int(one) / 2**20 for one in self.given.read_text().split())
            look |= {"in_use_mb": in_use + mapped, "free_mb": free}
        return look


# ---- one request -----------------------------------------------------------------------------------


class Connection:
    """A connection that is kept as long as the server keeps it."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    def close(self):
        if self.writer:
            self.writer.close()
        self.writer = None

    async def ask(self, method, path, body=b""):
        """Status and header fields; a kept connection that was closed meanwhile is opened again."""
        kind = "Content-Type: application/json\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {len(body)}\r\n\r\n".encode()
        for kept in (self.writer is not None, False):
            if not kept:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                self.writer.write(head + body)
                text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
                break
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                self.close()
                if not kept or getattr(error, "partial", b""):
                    raise Broken("no answer") from error
        fields = dict(line.lower().split(": ", 1) for line in text.split("\r\n")[1:] if line)
        return int(text.split(" ")[1]), fields

    async def pieces(self, fields):
        """The body as it comes."""
        try:
            if "content-length" in fields:
                yield await self.reader.readexactly(int(fields["content-length"]))
                return
            while size := int(await self.reader.readline(), 16):
                yield (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            raise Broken("the answer broke off") from error

    async def whole(self, method, path, body=b""):
        status, fields = await self.ask(method, path, body)
        text = b"".join([piece async for piece in self.pieces(fields)])
        if fields.get("connection") == "close":
            self.close()
        return status, text


async def events(connection, fields):
    """The JSON of each event of a stream, or of each line."""
    rest = b""
    async for piece in connection.pieces(fields):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            line = line.removeprefix(b"data: ").strip()
            if line.startswith(b"{"):
                event = json.loads(line)
                if "error" in event and event["error"]:
                    raise Broken(f"an error event: {event['error']}")
                yield event


async def ask(connection, question, streams, leaves_after=None):
    """(status, what was said, whether it was left). Not 200: the error's text."""
    said = Said()
    body = {**question.body, "stream": streams} if question.streams else question.body
    status, fields = await connection.ask("POST", question.path, json.dumps(body).encode())
    try:
        if status != 200 or not streams:
            text = b"".join([piece async for piece in connection.pieces(fields)])
            if status != 200:
                return status, text.decode(), False
            question.read(said, json.loads(text))
            return status, said, False
        n = 0
        async for event in events(connection, fields):
            question.read(said, event)
            n += 1
            if n == leaves_after:
                connection.close()
                return status, said, True
        return status, said, False
    except Broken as broken:
        broken.said = said
        raise
    finally:
        if fields.get("connection") == "close":
            connection.close()
