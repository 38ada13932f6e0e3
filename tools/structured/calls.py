#!/usr/bin/env python3
"""Has a model call tools that it is required to call, and counts the right calls.

Each of ten tools is offered alone, with ten requests whose right arguments are known. A call is right when its name
and all its arguments are; texts are compared without regard to case. Each request is sent twice, to be answered whole
and as a stream, whose pieces put together must be the whole one's call. Exit status: 0 when at least 90 % are right
and all streams are the same. Python's standard library.
"""

import argparse
import concurrent.futures
import json
import sys
import urllib.request

from generate import start

TEXT, NUMBER, INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
CITIES = ["Paris", "Tokyo", "Berlin", "Madrid", "Oslo", "Cairo", "Lima", "Rome", "Vienna", "Delhi"]
NAMES = ["Anna", "Bob", "Clara", "David", "Emma", "Frank", "Greta", "Hugo", "Iris", "Jonas"]
LANGUAGES = ["French", "German", "Spanish", "Italian", "Dutch", "Polish", "Swedish", "Greek", "Turkish", "Danish"]
WORDS = ["house", "tree", "river", "bread", "window", "street", "cloud", "horse", "garden", "winter"]
SONGS = ["Yesterday", "Imagine", "Thriller", "Halo", "Hello", "Jolene", "Dreams", "Roxanne", "Angie", "Layla"]
CODES = ["AAPL", "MSFT", "TSLA", "AMZN", "NVDA", "INTC", "ORCL", "SAP", "IBM", "AMD"]

# name, what it does, its parameters, and of the i-th request the words and the right arguments
TOOLS = [
    (
        "get_weather",
        "Tells the weather in a city.",
        {"city": TEXT},
        lambda i: (f"What is the weather like in {CITIES[i]}?", {"city": CITIES[i]}),
    ),
    (
        "add",
        "Adds two numbers.",
        {"a": NUMBER, "b": NUMBER},
        lambda i: (f"What is {17 + 3 * i} plus {40 + 7 * i}?", {"a": 17 + 3 * i, "b": 40 + 7 * i}),
    ),
    (
        "set_timer",
        "Sets a timer.",
        {"minutes": INTEGER},
        lambda i: (f"Set a timer for {i + 3} minutes, please.", {"minutes": i + 3}),
    ),
    (
        "call_person",
        "Calls somebody on the telephone.",
        {"name": TEXT},
        lambda i: (f"Please call {NAMES[i]}.", {"name": NAMES[i]}),
    ),
    (
        "translate",
        "Translates a word into a language.",
        {"word": TEXT, "language": TEXT},
        lambda i: (f'What is the word "{WORDS[i]}" in {LANGUAGES[i]}?', {"word": WORDS[i], "language": LANGUAGES[i]}),
    ),
    ("play_song", "Plays a song.", {"title": TEXT}, lambda i: (f'Play the song "{SONGS[i]}".', {"title": SONGS[i]})),
    (
        "get_stock_price",
        "Tells the price of a stock by its symbol.",
        {"symbol": TEXT},
        lambda i: (f"How much is a share of {CODES[i]}?", {"symbol": CODES[i]}),
    ),
    (
        "book_table",
        "Books a table at a restaurant.",
        {"people": INTEGER, "day": {"enum": ["today", "tomorrow"]}},
        lambda i: (
            f"A table for {i + 2} people {'today' if i % 2 else 'tomorrow'}, please.",
            {"people": i + 2, "day": "today" if i % 2 else "tomorrow"},
        ),
    ),
    (
        "convert_temperature",
        "Converts a temperature from one scale to another.",
        {"degrees": NUMBER, "to": {"enum": ["celsius", "fahrenheit"]}},
        lambda i: (f"Convert {50 + 5 * i} degrees Fahrenheit to Celsius.", {"degrees": 50 + 5 * i, "to": "celsius"}),
    ),
    (
        "switch_light",
        "Switches the light in a room on or off.",
        {"room": TEXT, "on": {"type": "boolean"}},
        lambda i: (
            f"Turn the light in the {['kitchen', 'garage', 'hall', 'bathroom', 'attic'][i % 5]} "
            f"{'on' if i % 2 else 'off'}.",
            {"room": ["kitchen", "garage", "hall", "bathroom", "attic"][i % 5], "on": bool(i % 2)},
        ),
    ),
]


def plain(value):
    return value.lower() if isinstance(value, str) else value


def send(url, body):
    """The calls of the answer, each its name and the text of its arguments."""
    sent = urllib.request.Request(
        url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(sent, timeout=1200) as response:
        if not body.get("stream"):
            calls = json.load(response)["choices"][0]["message"].get("tool_calls", [])
            return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]
        lines = response.read().decode().splitlines()
    names, arguments = {}, {}
    for line in lines:
        if not line.startswith("data: {"):
            continue
        for choice in json.loads(line[6:])["choices"]:
            for piece in choice["delta"].get("tool_calls", []):
                at, function = piece["index"], piece["function"]
                names.setdefault(at, function.get("name"))
                arguments[at] = arguments.get(at, "") + function.get("arguments", "")
    return [(names[at], arguments[at]) for at in sorted(names)]


def ask(url, job):
    """Whether the call is right, and whether the streamed one is the same."""
    (name, description, properties, request), i = job
    words, right = request(i)
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    body = {
        "messages": [{"role": "user", "content": words}],
        "temperature": 0,
        "max_tokens": 200,
        "tools": [
            {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    calls, streamed = send(url, body), send(url, {**body, "stream": True})
    is_right = (
        len(calls) == 1
        and calls[0][0] == name
        and {k: plain(v) for k, v in json.loads(calls[0][1]).items()} == {k: plain(v) for k, v in right.items()}
    )
    if not is_right or calls != streamed:
        print(f"{words} {calls}" + ("" if calls == streamed else f", streamed {streamed}"), flush=True)
    return is_right, calls == streamed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="build/a-io")
    parser.add_argument("--model-file", required=True)
    arguments = parser.parse_args()
    server, url = start(arguments.program, arguments.model_file, 2048)
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asked = list(pool.map(lambda job: ask(url, job), [(tool, i) for tool in TOOLS for i in range(10)]))
    finally:
        server.terminate()
        server.stderr.close()
        server.wait()
    right, same = (sum(column) for column in zip(*asked))
    print(f"{right} of {len(asked)} calls are right, {same} streams are the same")
    sys.exit(0 if right >= 0.9 * len(asked) and same == len(asked) else 1)


if __name__ == "__main__":
    main()
