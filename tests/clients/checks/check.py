"""check.py: what the checks of Python's clients share. A line a check on standard output: "ok NAME",
or "FAILED NAME: why". Exit status: 0 when every one passes.
"""

import os
import sys

URL = os.environ["A_IO_URL"].rstrip("/")
V1 = URL + "/v1"
REAL = os.environ.get("A_IO_REAL") == "1"  # a pair of real models: what they say is looked at, too
SMALL = os.environ["A_IO_SMALL"]  # the names of both models
LARGE = os.environ["A_IO_LARGE"]
MODEL = "auto"
KEY = "unused"
CITY_QUESTION = "What is the capital of France? Answer with its name."
CITY = "Paris"
WEATHER_QUESTION = "What is the weather in Paris? Use the tool."
PERSON_TEXT = "Tom is 25 years old. Give his name and age as JSON."
MESSAGES = [{"role": "user", "content": CITY_QUESTION}]

CHECKS = []


def check(name):
    def enter(function):
        CHECKS.append((name, function))
        return function

    return enter


def said(text, expected=CITY):
    """There is a text, and a real model says what it must."""
    assert text, "nothing was said"
    assert not REAL or expected in text, f"{expected!r} is not in {text!r}"


def called(cities, answer):
    """A model that may call may leave it, and a small one makes little of what came of it; but a call is a right one."""
    assert answer, "nothing was said"
    assert not REAL or not cities or cities[0] == CITY, (cities, answer)


def main():
    failed = 0
    for name, function in CHECKS:
        try:
            function()
            print(f"ok {name}", flush=True)
        except Exception as error:  # whatever a client throws is what is wrong
            failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {' '.join(str(error).split())[:600]}", flush=True)
            if os.environ.get("A_IO_TRACE"):
                import traceback

                traceback.print_exc()
    sys.exit(1 if failed else 0)
