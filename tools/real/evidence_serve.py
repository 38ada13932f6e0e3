"""`a-io serve` for a while, asked several things at once: token by token what one model makes of the other's answers,
and how the large one goes on from a part of the small one's. What is in a file already is not asked again. Python's
standard library alone."""

import concurrent.futures
import contextlib
import http.client
import json
import re
import subprocess
import threading

AT_ONCE = 8
TIMEOUT_S = 3000


class Server:
    def __init__(self, port):
        self.port = port
        self.local = threading.local()

    def ask(self, path, body):
        """The answer to a POST."""
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        self.local.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        reply = self.local.connection.getresponse()
        answer = json.loads(reply.read())
        if reply.status != 200:
            raise RuntimeError(f"{path}: {reply.status} {answer['error']['message']}")
        return answer


@contextlib.contextmanager
def serving(program, config):
    process = subprocess.Popen(
        [program, "serve", "--config", config, "--port", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        found = None
        for line in process.stderr:  # warnings come before
            found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)
            if found:
                break
        if not found:
            raise RuntimeError("a-io serve has not begun to listen")
        # It writes a line a request: nobody reads them, but they must not fill the pipe.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield Server(int(found[1]))
    finally:
        process.terminate()
        process.wait()


def read_lines(path):
    """Objects by id; a line that was cut short is none."""
    found = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                one = json.loads(line)
                found[one["id"]] = one
    return found


def each(path, tasks, make):
    """A line of `path` for every task, {"id": …} and what `make` says; {id: line}."""
    found = read_lines(path)
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found.values()), encoding="utf-8")
    lock = threading.Lock()

    def one(task):
        line = {"id": task["id"]} | make(task)
        with lock, open(path, "a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(one, [task for task in tasks if task["id"] not in found]))
    return read_lines(path)


def scored(server, model, task, answer):
    """Of each token of an answer to a task: its text, how probable `model` finds it (nats), and its rank (0: the model's
    own choice)."""
    said = server.ask("/v1/score", {"model": model, "messages": task["messages"], "completion": answer})
    tokens = said["data"][0]["tokens"]
    return {
        "tokens": [t["token"] for t in tokens],
        "logprob": [round(t["logprob"], 4) for t in tokens],
        "rank": [t["rank"] for t in tokens],
    }


def relayed(server, model, line):
    """The small one's answer, or its beginning and how `model` goes on from there, greedily; tokens are `model`'s."""
    known = {"prompt_tokens": line["small"]["prompt_tokens"]}
    if line["beginning"] == line["small_answer"]:
        return known | {"answer": line["small_answer"], "tokens": 0}
    if not line["beginning"]:
        return known | {key: line["large"][key] for key in ("answer", "tokens")}
    said = server.ask(
        "/v1/chat/completions",
        {
            "model": model,
            "messages": line["messages"] + [{"role": "assistant", "content": line["beginning"]}],
            "continue_final_message": True,
            "add_generation_prompt": False,
            "temperature": 0,
            "max_tokens": max(1, line["max_tokens"] - line["kept"]),
            "prompt_lookup_num_tokens": 0,
        },
    )
    return known | {
        "answer": line["beginning"] + said["choices"][0]["message"]["content"],
        "tokens": said["usage"]["completion_tokens"],
    }
