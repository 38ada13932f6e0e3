"""What it would be worth if the large model checked the small one's answers: replayed from recorded answers and from
what each model makes of the other's, token by token (evidence.py's scores-*.jsonl), with measured costs of steps.

again    the whole answer is read; where a token of it (or their mean) is less probable than the limit, the large model
         begins anew
relay    blocks are read as they come; the large model goes on, to the end, from the last token before the first one
         that is less probable than the limit
lenient  likewise, but the small model goes on after the token that the large one put in its place. Its text is not
         known without running it: a bound of the speed, and no accuracy
exact    the large model's own answer, token for token: speculation with the small one as its draft

Python's standard library alone.
"""

import math

import evidence_statistics as statistics

BLOCKS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
LIMITS = (0.5, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # probabilities of a token


class Pair:
    """Costs of a small and a large model, ms, with so many answers at once; prompts are read one at a time."""

    def __init__(self, small, large, streams):
        self.small, self.large, self.streams = small, large, streams
        self.small_token = small.rows_ms(streams) / streams
        self.large_token = large.rows_ms(streams) / streams

    def read(self, rows):
        """A block of an answer, by the large model, together with the others' blocks."""
        return self.large.rows_ms(rows * self.streams) / self.streams

    def prompts(self, one):
        return one.prompt * (self.small.prompt_row_ms + self.large.prompt_row_ms)

    def by_small(self, one):
        return one.prompt * self.small.prompt_row_ms + one.small_tokens * self.small_token

    def by_large(self, one):
        return one.prompt * self.large.prompt_row_ms + one.large_tokens * self.large_token


class Answered:
    """One request: what both models answered, and what each makes of the other's answer."""

    def __init__(self, line, of_small, of_large):
        self.line = line
        self.id, self.kind = line["id"], line["intent"]
        self.prompt = line["small"]["prompt_tokens"]
        self.small_right, self.large_right = int(line["small"]["right"]), int(line["large"]["right"])
        self.small_tokens, self.large_tokens = line["small"]["tokens"], line["large"]["tokens"]
        self.logprob = of_small["logprob"] if of_small else []
        self.agrees = [rank == 0 for rank in of_large["rank"]] if of_large else []

    def kept(self, limit):
        """Tokens before the first that is less probable than the limit."""
        least = math.log(limit)
        return next((i for i, value in enumerate(self.logprob) if value < least), len(self.logprob))


def answered(lines, of_small, of_large):
    return [
        Answered(line, of_small.get(line["id"]), of_large.get(line["id"]))
        for line in lines
        if line["id"] in of_small and line["id"] in of_large
    ]


# ---- what each way costs -----------------------------------------------------------------------


def again_ms(pair, one, is_rejected):
    read = (one.prompt + len(one.logprob)) * pair.large.prompt_row_ms
    return pair.by_small(one) + read + is_rejected * one.large_tokens * pair.large_token


def relay_ms(pair, one, limit, block, rest):
    """`rest`: tokens of the large model after the small one's."""
    kept, whole = one.kept(limit), len(one.logprob)
    blocks = math.ceil(whole / block) if kept == whole else kept // block + 1
    drafted = min(blocks * block, whole)
    return pair.prompts(one) + drafted * pair.small_token + blocks * pair.read(block) + rest * pair.large_token


def rounds(accepts, block):
    """Steps of the large model, and the small one's before them, until all is said: each step adds the tokens that it
    accepts, and one of its own."""
    at = steps = 0
    while at < len(accepts):
        run = 0
        while run < block and at + run < len(accepts) and accepts[at + run]:
            run += 1
        at += run + 1
        steps += 1
    return steps


def speculated_ms(pair, one, accepts, block):
    steps = rounds(accepts, block)
    return pair.prompts(one) + steps * (block * pair.small_token + pair.read(block + 1))


# ---- what comes of it --------------------------------------------------------------------------


def lots(pair, some, ms):
    """Per cent right of a mixture of both models that takes as long."""
    small, large = (100 * sum(getattr(one, f"{role}_right") for one in some) / len(some) for role in ("small", "large"))
    quick, slow = sum(pair.by_small(one) for one in some), sum(pair.by_large(one) for one in some)
    return small + (large - small) * min(max((ms - quick) / (slow - quick), 0), 1)


def row(pair, some, name, right, ms):
    """`right`: 0 to 1 for each request, or None where it is not known."""
    total, n = sum(ms), len(some)
    made = {
        "way": name,
        "requests": n,
        "times_large": sum(pair.by_large(one) for one in some) / total,
        "lots": lots(pair, some, total),
    }
    if right is not None:
        made["right"] = 100 * sum(right) / n
        made["against_large"] = [
            100 * v
            for v in statistics.interval(
                statistics.resampled(n, lambda drawn: sum(right[i] - some[i].large_right for i in drawn) / n, times=500)
            )
        ]
    return made


def fastest(make, choices):
    """Of the rows that a choice makes, the one that takes least."""
    return max((make(choice) | {"block": choice} for choice in choices), key=lambda made: made["times_large"])


def again(pair, some):
    """At each limit of the least token, and of the mean one."""
    for name, score in (("least", min), ("mean", lambda values: sum(values) / len(values))):
        scores = [math.exp(score(one.logprob)) for one in some]
        for limit in LIMITS if name == "least" else (0.95, 0.9, 0.85, 0.8, 0.7, 0.6):
            rejected = [value < limit for value in scores]
            right = [one.large_right if bad else one.small_right for one, bad in zip(some, rejected)]
            yield row(
                pair,
                some,
                f"again, {name} token under {limit:g}",
                right,
                [again_ms(pair, one, bad) for one, bad in zip(some, rejected)],
            ) | {"rejected": 100 * sum(rejected) / len(some)}


def relays(pair, some, ran):
    """Where the large model went on in truth: {(id, limit): {"right", "tokens"}}."""
    for limit in sorted({key[1] for key in ran}, reverse=True):
        there = [one for one in some if (one.id, limit) in ran]
        known = [ran[one.id, limit] for one in there]
        if there:
            made = fastest(
                lambda block: row(
                    pair,
                    there,
                    f"relay, token under {limit:g}",
                    [k["right"] for k in known],
                    [relay_ms(pair, one, limit, block, k["tokens"]) for one, k in zip(there, known)],
                ),
                BLOCKS,
            )
            yield made | {"kept": 100 * sum(one.kept(limit) for one in there) / sum(len(one.logprob) for one in there)}


def lenient(pair, some):
    for limit in LIMITS:
        least = math.log(limit)
        yield fastest(
            lambda block: row(
                pair,
                some,
                f"lenient, token under {limit:g}",
                None,
                [speculated_ms(pair, one, [value >= least for value in one.logprob], block) for one in some],
            ),
            BLOCKS,
        )


def exact(pair, some):
    made = fastest(
        lambda block: row(
            pair,
            some,
            "exact",
            [one.large_right for one in some],
            [speculated_ms(pair, one, one.agrees, block) for one in some],
        ),
        BLOCKS,
    )
    agreed, all_tokens = (sum(map(count, some)) for count in (lambda one: sum(one.agrees), lambda one: len(one.agrees)))
    return made | {"agreed": 100 * agreed / all_tokens}


def study(some, small, large, ran, streams):
    """Rows of every way, for answers to `some` requests."""
    pair = Pair(small, large, streams)
    rows = [
        row(pair, some, "small", [one.small_right for one in some], [pair.by_small(one) for one in some]),
        row(pair, some, "large", [one.large_right for one in some], [pair.by_large(one) for one in some]),
        exact(pair, some),
        *again(pair, some),
        *lenient(pair, some),
        *relays(pair, some, ran),
    ]
    return {"streams": streams, "rows": rows}


def markdown(made):
    text = [
        "| | requests | right, % | against the large model, points | × large | lots in that time, % | block |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in made["rows"]:
        right = (
            [f"{one['right']:.1f}", "{:+.1f} to {:+.1f}".format(*one["against_large"])]
            if "right" in one
            else ["–", "–"]
        )
        text.append(
            "| "
            + " | ".join(
                [
                    one["way"],
                    str(one["requests"]),
                    *right,
                    f"{one['times_large']:.2f}",
                    f"{one['lots']:.1f}",
                    str(one.get("block", "")),
                ]
            )
            + " |"
        )
    return "\n".join(text) + "\n"
