"""The math task: word problems of two and three steps, worked as equations, ending in `The answer is N.`"""

import random
import re
import zlib

NAMES = """Ada Ben Carla Dan Eva Finn Gina Hugo Iris Jack Kira Leo Mia Nils Olga Paul Rosa Sam Tina Uma Vera Will Yara Zoe
Anna Boris Clara David Emma Frank Grace Henry Ivan Julia Karl Lena Marco Nora Oscar Petra Quinn Ruth Simon Tara""".split()
ITEMS = """apples pears books coins marbles pencils stamps cards shells buttons stickers cookies eggs plums tickets balls
beads candles cups flowers keys lemons nuts oranges pens ribbons stones toys badges postcards""".split()
BOXES = "bags boxes baskets packs crates trays jars bundles".split()
PLACES = "shop farm school market library garden factory museum".split()


def _add(steps, a, b):
    steps.append(f"{a}+{b}={a + b}.")
    return a + b


def _sub(steps, a, b):
    steps.append(f"{a}-{b}={a - b}.")
    return a - b


def _mul(steps, a, b):
    steps.append(f"{a}*{b}={a * b}.")
    return a * b


def _div(steps, a, b):
    steps.append(f"{a}/{b}={a // b}.")
    return a // b


def s_gain_lose(r, n, m, it, s):
    a, b = r.randint(11, 90), r.randint(11, 60)
    c = r.randint(11, a + b - 5)
    x = _sub(s, _add(s, a, b), c)
    return r.choice(
        [
            f"{n} has {a} {it}. {m} gives {n} {b} more. Then {n} loses {c} of them. How many {it} does {n} have now?",
            f"{n} owned {a} {it}, got another {b} from {m} and sold {c}. How many {it} are left?",
            f"There are {a} {it} in a box. {n} puts in {b} more and {m} takes out {c}. How many {it} are in the box now?",
        ]
    ), x


def s_boxes_extra(r, n, m, it, s):
    a, b, c = r.randint(2, 9), r.randint(3, 20), r.randint(11, 90)
    bx = r.choice(BOXES)
    x = _add(s, _mul(s, a, b), c)
    return r.choice(
        [
            f"{n} buys {a} {bx} with {b} {it} each and already had {c} {it}. How many {it} does {n} have in total?",
            f"Each of {a} {bx} holds {b} {it}. {m} adds {c} loose {it}. How many {it} are there altogether?",
            f"{n} has {a} {bx} of {b} {it} and {c} single {it}. What is the total number of {it}?",
        ]
    ), x


def s_boxes_minus(r, n, m, it, s):
    a, b = r.randint(2, 9), r.randint(6, 20)
    c = r.randint(2, a * b - 4)
    bx = r.choice(BOXES)
    x = _sub(s, _mul(s, a, b), c)
    return r.choice(
        [
            f"A {r.choice(PLACES)} gets {a} {bx} with {b} {it} each and sells {c} {it}. How many {it} remain?",
            f"{n} packs {a} {bx} of {b} {it}. {m} takes away {c} {it}. How many {it} are left?",
            f"{n} ordered {a} {bx}, each with {b} {it}, but {c} {it} were broken. How many good {it} are there?",
        ]
    ), x


def s_two_products(r, n, m, it, s):
    a, b, c, d = r.randint(2, 9), r.randint(3, 20), r.randint(2, 9), r.randint(3, 20)
    it2 = r.choice([i for i in ITEMS if i != it])
    x = _add(s, _mul(s, a, b), _mul(s, c, d))
    return r.choice(
        [
            f"{n} buys {a} {it} for {b} dollars each and {c} {it2} for {d} dollars each. How many dollars does {n} pay?",
            f"At the {r.choice(PLACES)} {n} sells {a} rows of {b} {it} and {m} sells {c} rows of {d} {it}. How many {it} do they sell together?",
            f"{a} tables have {b} {it} each and {c} shelves have {d} {it} each. How many {it} are there?",
        ]
    ), x


def s_more_than(r, n, m, it, s):
    a, b = r.randint(11, 80), r.randint(5, 60)
    x = _add(s, a, _add(s, a, b))
    return r.choice(
        [
            f"{n} has {a} {it}. {m} has {b} more {it} than {n}. How many {it} do they have together?",
            f"{m} found {b} {it} more than {n}, who found {a}. How many {it} did both find?",
        ]
    ), x


def s_fewer_than(r, n, m, it, s):
    a = r.randint(20, 99)
    b = r.randint(5, a - 6)
    x = _add(s, a, _sub(s, a, b))
    return r.choice(
        [
            f"{n} has {a} {it}. {m} has {b} fewer {it} than {n}. How many {it} do they have together?",
            f"{m} found {b} {it} less than {n}, who found {a}. How many {it} did both find?",
        ]
    ), x


def s_times_more(r, n, m, it, s):
    a, k = r.randint(3, 20), r.randint(2, 9)
    x = _add(s, a, _mul(s, a, k))
    return r.choice(
        [
            f"{n} collected {a} {it} and {m} collected {k} times as many. How many {it} did they collect in all?",
            f"{m} has {k} times as many {it} as {n}. If {n} has {a} {it}, how many do they have together?",
        ]
    ), x


def s_share(r, n, m, it, s):
    k, q = r.randint(2, 9), r.randint(3, 20)
    t = k * q
    a = r.randint(2, t - 2)
    x = _div(s, _add(s, a, t - a), k)
    return r.choice(
        [
            f"{n} has {a} {it} and {m} has {t - a}. They share them equally among {k} children. How many {it} does each child get?",
            f"{a} red and {t - a} blue {it} are put into {k} equal {r.choice(BOXES)}. How many {it} are in each?",
        ]
    ), x


def s_share_left(r, n, m, it, s):
    k, q = r.randint(2, 9), r.randint(3, 20)
    t, b = k * q, r.randint(5, 60)
    x = _div(s, _sub(s, t + b, b), k)
    return r.choice(
        [
            f"{n} has {t + b} {it}, keeps {b} and shares the rest equally among {k} friends. How many {it} does each friend get?",
            f"A {r.choice(PLACES)} has {t + b} {it}. {b} are sold and the others go into {k} equal {r.choice(BOXES)}. How many {it} are in each?",
        ]
    ), x


def s_weeks(r, n, m, it, s):
    a, d = r.randint(3, 20), r.randint(2, 9)
    c = r.randint(11, 90)
    x = _add(s, c, _mul(s, a, d))
    return r.choice(
        [
            f"{n} starts with {c} {it} and makes {a} {it} every day for {d} days. How many {it} does {n} have then?",
            f"{n} saves {a} dollars a week. After {d} weeks, and with the {c} dollars from before, how many dollars does {n} have?",
        ]
    ), x


def s_change(r, n, m, it, s):
    a, b = r.randint(2, 9), r.randint(3, 20)
    t = a * b + r.randint(5, 90)
    x = _sub(s, t, _mul(s, a, b))
    return r.choice(
        [
            f"{n} has {t} dollars and buys {a} {it} for {b} dollars each. How many dollars are left?",
            f"{n} pays with {t} dollars for {a} {it} at {b} dollars a piece. How much change does {n} get?",
        ]
    ), x


def s_three_steps(r, n, m, it, s):
    a, b = r.randint(2, 9), r.randint(6, 20)
    c = r.randint(2, a * b - 4)
    d = r.randint(11, 90)
    bx = r.choice(BOXES)
    x = _add(s, _sub(s, _mul(s, a, b), c), d)
    return r.choice(
        [
            f"{n} has {a} {bx} with {b} {it} each. {n} gives {c} {it} to {m} and then finds {d} more. How many {it} does {n} have?",
            f"A {r.choice(PLACES)} has {a} {bx} of {b} {it}, sells {c} {it} and gets {d} new ones. How many {it} are there now?",
        ]
    ), x


def s_three_shares(r, n, m, it, s):
    k, q, e = r.randint(2, 9), r.randint(3, 20), r.randint(5, 60)
    t = k * q
    a = r.randint(2, t - 2)
    x = _add(s, _div(s, _add(s, a, t - a), k), e)
    return r.choice(
        [
            f"{n} and {k - 1} friends share {a} green and {t - a} white {it} equally. {n} already had {e} {it}. How many {it} does {n} have now?",
            f"{a} old and {t - a} new {it} are split evenly among {k} people. {m}, one of them, had {e} before. How many {it} does {m} have?",
        ]
    ), x


def s_three_sum(r, n, m, it, s):
    a, b, k = r.randint(2, 10), r.randint(2, 10), r.randint(2, 9)
    x = _mul(s, _add(s, a, b), k)
    return r.choice(
        [
            f"Every day {n} sells {a} {it} and {m} sells {b} {it}. How many {it} do they sell in {k} days?",
            f"A bag holds {a} red and {b} yellow {it}. How many {it} are in {k} such bags?",
        ]
    ), x


def s_day_by_day(r, n, m, it, s):
    a, b, c = r.randint(11, 60), r.randint(11, 60), r.randint(2, 30)
    x = _add(s, _add(s, a, b), b + c)
    s.insert(0, f"{b}+{c}={b + c}.")
    return r.choice(
        [
            f"{n} sold {a} {it} on Monday, {b} on Tuesday and {c} more on Wednesday than on Tuesday. How many {it} did {n} sell in the three days?",
            f"Room one has {a} {it}, room two has {b}, and room three has {c} more than room two. How many {it} are in the rooms?",
        ]
    ), x


STORIES = [
    s_gain_lose,
    s_boxes_extra,
    s_boxes_minus,
    s_two_products,
    s_more_than,
    s_fewer_than,
    s_times_more,
    s_share,
    s_share_left,
    s_weeks,
    s_change,
    s_three_steps,
    s_three_shares,
    s_three_sum,
    s_day_by_day,
]


def make(rng, split):
    """One problem: (prompt, answer, check). A prompt belongs to the test set if its checksum says so."""
    while True:
        n, m = rng.sample(NAMES, 2)
        steps = []
        prompt, x = rng.choice(STORIES)(rng, n, m, rng.choice(ITEMS), steps)
        if (zlib.crc32(prompt.encode()) % 8 == 0) == (split == "test"):
            return prompt, " ".join(steps) + f" The answer is {x}.", {"type": "final_number", "value": str(x)}


def make_calc(rng):
    """One bare calculation, for training only: (prompt, answer, check)."""
    steps, k = [], rng.randrange(4)
    if k == 0:
        a, b = rng.randint(2, 180), rng.randint(2, 120)
        x = _add(steps, a, b)
    elif k == 1:
        a = rng.randint(12, 200)
        b = rng.randint(2, a - 1)
        x = _sub(steps, a, b)
    elif k == 2:
        a, b = rng.randint(2, 9), rng.randint(2, 20)
        a, b = rng.choice([(a, b), (b, a)])
        x = _mul(steps, a, b)
    else:
        b, x = rng.randint(2, 9), rng.randint(2, 20)
        a = b * x
        _div(steps, a, b)
    op = "+-*/"[k]
    word = ["plus", "minus", "times", "divided by"][k]
    form = rng.choice(
        ["What is {a} {o} {b}?", "Calculate {a} {o} {b}.", "{a}{o}{b}", "how much is {a} {w} {b}", "{a} {o} {b} = ?"]
    )
    return (
        form.format(a=a, b=b, o=op, w=word),
        steps[0] + f" The answer is {x}.",
        {"type": "final_number", "value": str(x)},
    )


def make_test(n, seed):
    rng = random.Random(seed)
    return [make(rng, "test") for _ in range(n)]


def final_number(text):
    """The last number of an answer, or None."""
    found = re.findall(r"-?\d+", text)
    return found[-1] if found else None
