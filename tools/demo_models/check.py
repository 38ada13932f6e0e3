"""Exact checkers: an answer's text against the `check` of its item."""

import json
import subprocess
import sys

from tasks_math import final_number

RUNNER = r"""
import json, resource, signal, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
SAFE = {n: getattr(__builtins__, n) for n in
        "abs all any bool dict enumerate filter float int len list map max min range reversed round set sorted str sum tuple zip repr".split()}
def stop(*_):
    raise TimeoutError
signal.signal(signal.SIGALRM, stop)
for line in sys.stdin:
    source, calls = json.loads(line)
    good = True
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        scope = {"__builtins__": SAFE}
        exec(source, scope)
        good = all(repr(eval(e, scope)) == v for e, v in calls)
    except BaseException:
        good = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(int(good), flush=True)
"""


def run_python(items):
    """Runs (source, calls) pairs in one child process; True where every call gives its value."""
    text = "\n".join(json.dumps(i) for i in items) + "\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUNNER], input=text, capture_output=True, text=True, timeout=60 + 2 * len(items)
    )
    good = [line == "1" for line in done.stdout.split()]
    return good + [False] * (len(items) - len(good))


def check_all(answers, checks):
    """One bool an answer."""
    good = [None] * len(answers)
    code = [i for i, c in enumerate(checks) if c["type"] == "python"]
    for i, ok in zip(code, run_python([(answers[i], checks[i]["call"]) for i in code]) if code else []):
        good[i] = ok
    for i, c in enumerate(checks):
        if c["type"] == "exact":
            good[i] = answers[i].strip() == c["value"]
        elif c["type"] == "final_number":
            good[i] = final_number(answers[i]) == c["value"]
    return good
