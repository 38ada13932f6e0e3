"""The code task: a short Python function from a spec. `long_prompt` puts it behind a long file."""

import contextlib
import random
import zlib

VERBS = """get find make build count take pick sum list read check show give keep scan load collect compute select
fetch gather measure""".split()
NOUNS = """values total items result words numbers score parts marks pieces data names answer entries points group level
amount series output""".split()
LISTS = "values numbers nums data items scores".split()
STRINGS = "text s word name line".split()
WORDLISTS = "words names lines parts".split()
WORDS = "red blue green yes no big small hot cold good bad high low old new fast slow pass fail open closed".split()

FILTERS = [  # (key, words, condition on x)
    ("all", "all", None),
    ("even", "the even", "x % 2 == 0"),
    ("odd", "the odd", "x % 2 == 1"),
    ("pos", "the positive", "x > 0"),
    ("neg", "the negative", "x < 0"),
    ("gt", "those above {k}", "x > {k}"),
    ("lt", "those below {k}", "x < {k}"),
    ("div", "those divisible by {k}", "x % {k} == 0"),
]
MAPS = [  # (key, words, expression)
    ("id", "", "x"),
    ("sq", "the squares of ", "x * x"),
    ("dbl", "the doubles of ", "2 * x"),
    ("cube", "the cubes of ", "x ** 3"),
]
AGGS = [
    ("sum", "the sum of ", "sum({g})"),
    ("list", "a list of ", "[{g}]"),
    ("max", "the largest of ", "max({g})"),
    ("min", "the smallest of ", "min({g})"),
    ("sorted", "a sorted list of ", "sorted({g})"),
]


def _name(r):
    return r.choice(VERBS) + "_" + r.choice(NOUNS)


def _num_list(r):
    return [r.randint(-30, 60) for _ in range(r.randint(4, 8))] + [-6, 12, 45, 90, -9, 7]


def f_list(r):
    p = r.choice(LISTS)
    fk, fw, fc = r.choice(FILTERS)
    mk, mw, me = r.choice(MAPS)
    ak, aw, ae = r.choice(AGGS)
    k = r.randint(2, 9) if fk == "div" else r.randint(2, 40)
    what = f"{fw} {p}" if not fw.startswith("those") else f"{p} {fw[6:]}"
    desc = f"returns {aw}{mw}{what}".replace("{k}", str(k))
    gen = f"{me} for x in {p}" + (f" if {fc}" if fc else "")
    body = f"    return {ae.format(g=gen)}".replace("{k}", str(k))
    return [p], desc, body, lambda q: [q(_num_list(r)) for _ in range(3)]


def f_count(r):
    p = r.choice(LISTS)
    fk, fw, fc = r.choice(FILTERS[1:])
    k = r.randint(2, 9) if fk == "div" else r.randint(2, 40)
    what = f"{fw} {p}" if not fw.startswith("those") else f"{p} {fw[6:]}"
    desc = f"counts {what} with a loop".replace("{k}", str(k))
    body = f"    total = 0\n    for x in {p}:\n        if {fc}:\n            total += 1\n    return total".replace(
        "{k}", str(k)
    )
    return [p], desc, body, lambda q: [q(_num_list(r)) for _ in range(3)]


def f_loop_sum(r):
    p = r.choice(LISTS)
    mk, mw, me = r.choice(MAPS)
    start = r.randint(0, 60)
    desc = f"adds {mw}all {p} to {start} with a loop and returns the total"
    body = f"    total = {start}\n    for x in {p}:\n        total += {me}\n    return total"
    return [p], desc, body, lambda q: [q(_num_list(r)) for _ in range(3)]


def f_arith(r):
    a, b = r.choice([("a", "b"), ("x", "y"), ("m", "n"), ("left", "right"), ("width", "height")])
    op, w = r.choice([("+", "sum"), ("-", "difference"), ("*", "product")])
    op2, w2 = r.choice([("+", "plus"), ("-", "minus"), ("*", "times")])
    k = r.randint(2, 90)
    desc = f"returns the {w} of {a} and {b} {w2} {k}"
    expr = f"({a} {op} {b}) {op2} {k}"
    return [a, b], desc, f"    return {expr}", lambda q: [q(r.randint(-9, 40), r.randint(2, 40)) for _ in range(3)]


def f_cond(r):
    p = r.choice(["x", "n", "value", "score", "level"])
    cw, c = r.choice([("above", ">"), ("below", "<"), ("at least", ">="), ("at most", "<="), ("equal to", "==")])
    k = r.randint(2, 99)
    u, v = r.sample(WORDS, 2)
    desc = f"returns '{u}' if {p} is {cw} {k} and '{v}' otherwise"
    body = f"    if {p} {c} {k}:\n        return '{u}'\n    return '{v}'"
    return [p], desc, body, lambda q: [q(k - 1), q(k), q(k + 1)]


def f_string(r):
    p = r.choice(STRINGS)
    k = r.randint(2, 9)
    w = r.choice(WORDS)
    c = r.choice("aeioustrnlm")
    key, desc, expr = r.choice(
        [
            ("first", f"returns the first {k} letters of {p}", f"{p}[:{k}]"),
            ("last", f"returns the last {k} letters of {p}", f"{p}[-{k}:]"),
            ("rep", f"returns {p} repeated {k} times", f"{p} * {k}"),
            ("pre", f"returns {p} with '{w}' in front", f"'{w}' + {p}"),
            ("suf", f"returns {p} with '{w}' at the end", f"{p} + '{w}'"),
            ("cnt", f"returns how often '{c}' occurs in {p}", f"{p}.count('{c}')"),
            ("rpl", f"returns {p} with every '{c}' replaced by '{w}'", f"{p}.replace('{c}', '{w}')"),
            ("up", f"returns {p} in upper case with '{w}' at the end", f"{p}.upper() + '{w}'"),
            ("rev", f"returns {p} reversed with '{w}' at the end", f"{p}[::-1] + '{w}'"),
            ("has", f"returns whether {p} starts with '{w}'", f"{p}.startswith('{w}')"),
            ("end", f"returns whether {p} ends with '{w}'", f"{p}.endswith('{w}')"),
            ("in", f"returns whether '{w}' occurs in {p}", f"'{w}' in {p}"),
        ]
    )
    return [p], desc, f"    return {expr}", lambda q: [q("lantern stories"), q("a" + w), q(w + "mountain rules")]


def f_words(r):
    p = r.choice(WORDLISTS)
    k = r.randint(2, 9)
    c = r.choice("abcdefghlmnprstw")
    key, desc, expr = r.choice(
        [
            ("long", f"returns a list of the {p} longer than {k} letters", f"[w for w in {p} if len(w) > {k}]"),
            ("short", f"returns a list of the {p} shorter than {k} letters", f"[w for w in {p} if len(w) < {k}]"),
            ("start", f"returns a list of the {p} that start with '{c}'", f"[w for w in {p} if w.startswith('{c}')]"),
            ("end", f"returns a list of the {p} that end with '{c}'", f"[w for w in {p} if w.endswith('{c}')]"),
            ("has", f"returns a list of the {p} that contain '{c}'", f"[w for w in {p} if '{c}' in w]"),
            ("cut", f"returns a list of the first {k} letters of all {p}", f"[w[:{k}] for w in {p}]"),
            ("add", f"returns a list of all {p} with '{c}' at the end", f"[w + '{c}' for w in {p}]"),
            ("num", f"returns the number of {p} longer than {k} letters", f"sum(1 for w in {p} if len(w) > {k})"),
        ]
    )
    pool = "apple bear cat dolphin elephants fog grapes hill lamp moon night pears rabbits sun tree wolf".split()
    return [p], desc, f"    return {expr}", lambda q: [q(r.sample(pool, 7)) for _ in range(3)]


def f_range(r):
    k = r.randint(2, 60)
    mk, mw, me = r.choice(MAPS)
    key, desc, expr = r.choice(
        [
            ("rsum", f"returns the sum of {mw}the numbers from {k} to n", f"sum({me} for x in range({k}, n + 1))"),
            ("rlist", f"returns a list of {mw}the numbers from {k} to n", f"[{me} for x in range({k}, n + 1)]"),
            ("rmul", f"returns a list of the first n multiples of {k}", f"[{k} * x for x in range(1, n + 1)]"),
        ]
    )
    return ["n"], desc, f"    return {expr}", lambda q: [q(3), q(k), q(k + 5)]


FAMILIES = [f_list, f_list, f_list, f_count, f_loop_sum, f_arith, f_cond, f_string, f_string, f_words, f_range]
FORMS = [
    "Write a Python function {sig} that {desc}.",
    "Please write a function {sig} in Python which {desc}.",
    "Implement {sig} in Python. It {desc}.",
    "I need a Python function {sig}. It {desc}.",
    "write python code for {sig}: it {desc}",
    "Complete this function. It {desc}.\ndef {sig}:",
]


def parts(rng, split):
    """A function whose description is not in the other split: (signature, description, source, calls)."""
    while True:
        params, desc, body, calls = rng.choice(FAMILIES)(rng)
        if (zlib.crc32(desc.encode()) % 8 == 0) != (split == "test"):
            continue
        name = _name(rng)
        sig = f"{name}({', '.join(params)})"
        exprs = calls(lambda *args: f"{name}({', '.join(map(repr, args))})")
        return sig, desc, f"def {sig}:\n{body}", exprs


def _check(source, exprs):
    scope = {}
    exec(source, scope)
    out = []
    for e in exprs:
        with contextlib.suppress(ValueError):  # max() of nothing
            out.append([e, repr(eval(e, scope))])
    return {"type": "python", "call": out}


def make(rng, split):
    """One task: (prompt, answer, check)."""
    while True:
        sig, desc, source, exprs = parts(rng, split)
        check = _check(source, exprs)
        if check["call"]:
            return rng.choice(FORMS).format(sig=sig, desc=desc), source, check


NOTES = [
    "The tests live in the folder {a} and are run before each {b}.",
    "Keep lines short and names clear.",
    "Module {a} depends on module {b} but not the other way round.",
    "TODO: move {a} into its own file.",
    "Version {n}.{k} renamed {a} to {b}.",
    "The {a} table has {n} rows and the {b} table has {k}.",
    "Ask the {a} team before you change the {b} format.",
    "Release {n} was slow because of the {a} cache.",
    "Do not log the {a} of a user.",
    "The {b} server listens on port {n}{k}.",
    "We keep {a} and {b} sorted, so that reviews are easy.",
    "Errors in {a} are raised, errors in {b} are counted.",
]
OPENINGS = [
    "Here is a file of our project.",
    "This is the file I am working on.",
    "Read these notes and functions first.",
    "Below is the module so far.",
]


def paragraph(rng):
    """A function of the training side, or notes, as a long file has them."""
    if rng.random() < 0.5:
        return parts(rng, "train")[2]
    return "# " + " ".join(
        rng.choice(NOTES).format(a=rng.choice(NOUNS), b=rng.choice(NOUNS), n=rng.randint(2, 90), k=rng.randint(1, 99))
        for _ in range(rng.randint(1, 3))
    )


def long_prompt(rng, split, count, low, high):
    """A code task behind a file that brings it to low..high tokens, as `count` counts them."""
    prompt, answer, check = make(rng, split)
    goal = rng.randint(low, high)
    rest = count(prompt) + 16
    opening = rng.choice(OPENINGS)
    blocks = []
    while True:
        block = paragraph(rng)
        rest += count(block) + 1
        if rest > goal:
            break
        blocks.append(block)
    return "\n\n".join([opening] + blocks + [prompt]), answer, check


def make_test(n, seed):
    rng = random.Random(seed)
    return [make(rng, "test") for _ in range(n)]


def make_long_test(n, seed, count, low, high):
    rng = random.Random(seed)
    return [long_prompt(rng, "test", count, low, high) for _ in range(n)]
