#!/usr/bin/env python3
"""Has a model answer to JSON Schemas at temperature 1, and lets the package jsonschema judge the answers.

Each schema of schemas.json is asked for with several seeds. An answer that does not validate, or has no end,
is a failure. Exit status: 0 when there is none. Python's standard library and jsonschema[format-nongpl].
"""

import argparse
import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.request

import jsonschema

SCHEMAS = pathlib.Path(__file__).with_name("schemas.json")
CHECKER = jsonschema.Draft202012Validator.FORMAT_CHECKER


def start(program, model, context):
    """The server, and where it listens."""
    command = [program, "serve", "-m", model, "-c", str(context), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    said = []
    for line in server.stderr:
        said.append(line)
        if match := re.search(r"listening on (http://\S+)", line):
            # It writes a line a request: nobody reads them, but they must not fill the pipe.
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return server, match.group(1)
    sys.exit("the server did not start:\n" + "".join(said))


def ask(url, task, seed, max_tokens):
    body = {
        "messages": [{"role": "user", "content": task["ask"] + " Answer in JSON."}],
        "temperature": 1,
        "seed": seed,
        "max_tokens": max_tokens,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": task["schema"]}},
    }
    request = urllib.request.Request(
        url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=1200) as response:
        return json.load(response)


def refuse_duplicates(pairs):
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice")
    return made


def judge(schema, answer):
    """What is wrong with the answer; None: nothing."""
    choice = answer["choices"][0]
    if choice["finish_reason"] != "stop":
        return "no end: " + choice["finish_reason"]
    try:
        value = json.loads(choice["message"]["content"], object_pairs_hook=refuse_duplicates)
        jsonschema.validate(value, schema, jsonschema.Draft202012Validator, format_checker=CHECKER)
    except (ValueError, jsonschema.ValidationError) as error:
        return str(error).splitlines()[0]
    return None


def formats_of(schema):
    if isinstance(schema, dict):
        own = {schema["format"]} if isinstance(schema.get("format"), str) else set()
        return own.union(*map(formats_of, schema.values()))
    return set().union(*map(formats_of, schema)) if isinstance(schema, list) else set()


def run(arguments, tasks, output):
    server, url = start(arguments.program, arguments.model_file, arguments.context)

    def one(job):
        task, seed = job
        answer = ask(url, task, seed, arguments.max_tokens)
        return {
            "schema": task["name"],
            "seed": seed,
            "wrong": judge(task["schema"], answer),
            "content": answer["choices"][0]["message"]["content"],
            "tokens": answer["usage"]["completion_tokens"],
            "drafted": answer["timings"].get("draft_n", 0),
            "accepted": answer["timings"].get("draft_n_accepted", 0),
        }

    seeds = range(arguments.first_seed, arguments.first_seed + arguments.each)
    jobs = [(task, seed) for seed in seeds for task in tasks]
    results = []
    try:
        with concurrent.futures.ThreadPoolExecutor(arguments.at_once) as pool:
            for result in pool.map(one, jobs):
                results.append(result)
                output.write(json.dumps(result, ensure_ascii=False) + "\n")
                output.flush()
                if result["wrong"]:
                    print(f"{result['schema']}, seed {result['seed']}: {result['wrong']}: {result['content'][:200]}")
    finally:
        server.terminate()
        server.stderr.close()
        server.wait()
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="build/a-io")
    parser.add_argument("--model-file", required=True)
    parser.add_argument("--each", type=int, default=15, help="answers to each schema (default: 15)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", help="one schema, by its name")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=2000)
    parser.add_argument("--context", type=int, default=2304)
    parser.add_argument("--output", default="build/structured.jsonl")
    arguments = parser.parse_args()
    tasks = [task for task in json.loads(SCHEMAS.read_text()) if arguments.only in (None, task["name"])]
    if unknown := set().union(*(formats_of(task["schema"]) for task in tasks)) - set(CHECKER.checkers):
        sys.exit(f"jsonschema cannot check {', '.join(sorted(unknown))}: install jsonschema[format-nongpl]")
    began = time.monotonic()
    with open(arguments.output, "w") as output:
        results = run(arguments, tasks, output)
    wrong = sum(1 for result in results if result["wrong"])
    tokens, drafted, accepted = (sum(r[k] for r in results) for k in ("tokens", "drafted", "accepted"))
    print(
        f"{len(tasks)} schemas, {len(results)} answers, {len(results) - wrong} valid, {wrong} not; {tokens} tokens, "
        f"{accepted} of {drafted} drafted ones accepted; {time.monotonic() - began:.0f} s"
    )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
