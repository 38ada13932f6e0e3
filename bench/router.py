#!/usr/bin/env python3
"""What passing a request through costs: a-io serve beside other routers and nginx, one after the other, in front
of one canned upstream on the same machine (bench/router.c is upstream and load).

The routers come from the Python registry, each into a folder of its own under build/router; nginx is Debian's.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build/router"
PACKAGES = {"vllm-router": "vllm-router==0.1.17", "smg": "smg==1.13.0", "litellm": "litellm[proxy]==1.108.7"}
KEY = "sk-Router-Bench-1234567890"
UPSTREAM = 19100
NGINX = """daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_max_body_size 8m; client_body_buffer_size 1m; keepalive_requests 1000000;
  upstream canned {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://canned; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""
LITELLM = """model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{upstream}/v1", api_key: none}}
"""
A_IO = """version: 1
models:
  - {{name: m, replicas: ["http://127.0.0.1:{upstream}/v1"], pool: {{limit: 1024}}}}
"""


def install(name):
    folder = FOLDER / name
    if not (folder / "bin" / name).exists():
        print(f"installing {PACKAGES[name]} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", PACKAGES[name]], check=True)
    return str(folder / "bin" / name)


def write(name, text, **values):
    file = FOLDER / name
    file.write_text(text.format(folder=FOLDER, upstream=UPSTREAM, **values))
    return str(file)


def command(name, port, program):
    url = f"http://127.0.0.1:{UPSTREAM}"
    if name == "nginx":
        return ["nginx", "-c", write("nginx.conf", NGINX, port=port)], {}
    if program is not None:
        return [program, "serve", "--config", write("a-io.yaml", A_IO), "--port", str(port)], {"A_IO_LOG": "warn"}
    if name == "litellm":
        environment = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        options = ["--config", write("litellm.yaml", LITELLM), "--host", "127.0.0.1", "--port", str(port)]
        return [install(name), *options], environment
    options = ["--worker-urls", url, "--policy", "round_robin", "--host", "127.0.0.1", "--port", str(port)]
    options += ["--prometheus-port", str(port + 100), "--log-level", "warn" if name == "smg" else "warning"]
    return [install(name), *(["launch"] if name == "smg" else []), *options], {}


def is_ready(port):
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {KEY}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as s:
            s.sendall((head + body).encode())
            return b" 200 " in s.recv(64)
    except OSError:
        return False


def start(children, argv, environment, port, log):
    child = subprocess.Popen(argv, env={**os.environ, **environment}, stdout=log, stderr=log, process_group=0)
    children.append(child)
    end = time.monotonic() + 120
    while not is_ready(port):
        if child.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"{argv[0]} does not answer: see {log.name}")
        time.sleep(0.2)


def measure(tool, port, connections, seconds, size, tokens, gap, streams):
    values = [port, connections, seconds, size, tokens, gap, int(streams)]
    return json.loads(subprocess.check_output([tool, "load", *map(str, values)]))


# name, connections, bytes of the prompt, tokens, milliseconds between two, streamed, what is shown
CASES = [
    ("plain, 1 connection", 1, 1000, 1, 0, False, ["whole_p50_us", "whole_p99_us"]),
    ("first token, streamed", 1, 1000, 8, 2, True, ["first_p50_us", "first_p99_us"]),
    ("each token, 8 streams", 8, 1000, 50, 5, True, ["transit_p50_us", "transit_p99_us"]),
    ("1 KB, 16 connections", 16, 1000, 8, 0, False, ["per_second"]),
    ("1 KB, 16 streamed", 16, 1000, 8, 0, True, ["per_second"]),
    ("220 KB, 8 connections", 8, 220000, 8, 0, False, ["per_second"]),
]


def show(results, names):
    for case, *_, shown in CASES:
        for key in shown:
            cells = []
            for name in names:
                values = [r[key] for r in results[name][case]]
                middle = statistics.median(values)
                cells.append(f"{middle:.0f} ({min(values):.0f}-{max(values):.0f})")
            print(f"| {case}: {key} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(ROOT / "build/a-io"))
    parser.add_argument("--before", help="another a-io, which is measured beside it")
    parser.add_argument("--tool", default=str(ROOT / "build/bench/router"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--real-time", action="store_true", help="all of them go before what else runs here (root)")
    parser.add_argument("--only", nargs="*", default=["a-io", "nginx", "vllm-router", "smg", "litellm"])
    o = parser.parse_args()
    if o.real_time:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    FOLDER.mkdir(parents=True, exist_ok=True)
    log = open(FOLDER / "log", "w")
    children, ports = [], {"direct": UPSTREAM}
    programs = {"a-io": o.program, "before": o.before}
    names = [*(["before"] if o.before else []), *o.only]
    try:
        start(children, [o.tool, "upstream", str(UPSTREAM)], {}, UPSTREAM, log)
        for i, name in enumerate(names):
            ports[name] = UPSTREAM + 1 + i
            start(children, *command(name, ports[name], programs.get(name)), ports[name], log)
        results = {name: {case[0]: [] for case in CASES} for name in ports}
        for _ in range(o.rounds):
            for case, connections, size, tokens, gap, streams, _ in CASES:
                for name, port in ports.items():
                    found = measure(o.tool, port, connections, o.seconds, size, tokens, gap, streams)
                    results[name][case].append(found)
                    if found["failed"] > 0:
                        print(f"{name}, {case}: {found['failed']} failed", file=sys.stderr)
        print("| | " + " | ".join(ports) + " |\n|---|" + "---|" * len(ports))
        show(results, ports)
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


main()
