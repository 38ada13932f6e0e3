"""What evidence_report.py counts with. Random numbers come from fixed seeds. Python's standard library alone."""

import math
import random

RESAMPLES = 2000
SEED = 1


def wilson(right, n):
    """Per cent: the share, and its 95 % interval."""
    if n == 0:
        return None
    z, p = 1.96, right / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return 100 * p, 100 * (middle - half) / (1 + z * z / n), 100 * (middle + half) / (1 + z * z / n)


def auc(scores, right):
    """The area under the ROC: how often a right one has the higher score; ties are worth half. None: one class only."""
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    ranks, at = [0.0] * len(scores), 0
    while at < len(order):
        end = at
        while end < len(order) and scores[order[end]] == scores[order[at]]:
            end += 1
        for i in order[at:end]:
            ranks[i] = (at + end + 1) / 2
        at = end
    n_right = sum(right)
    n_wrong = len(right) - n_right
    if n_right == 0 or n_wrong == 0:
        return None
    return (sum(r for r, good in zip(ranks, right) if good) - n_right * (n_right + 1) / 2) / (n_right * n_wrong)


def interval(values):
    """The 95 % interval of resampled values; those that are None are left out."""
    known = sorted(v for v in values if v is not None)
    return (known[int(0.025 * len(known))], known[int(0.975 * (len(known) - 1))]) if known else (None, None)


def resampled(n, figure, times=RESAMPLES):
    """`figure` of lists of n indices drawn with repetition."""
    rng = random.Random(SEED)
    return [figure([rng.randrange(n) for _ in range(n)]) for _ in range(times)]


def auc_with_interval(scores, right):
    low, high = interval(
        resampled(len(right), lambda drawn: auc([scores[i] for i in drawn], [right[i] for i in drawn]), times=500)
    )
    return auc(scores, right), low, high


def recovered_curve(scores, small_right, large_right):
    """RouteLLM's curve: (share of large calls, accuracy), the requests with the lowest scores going to the large model
    first; steps within equal scores are left out."""
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    right = sum(small_right)
    curve = [(0.0, right / len(order))]
    for place, i in enumerate(order):
        right += large_right[i] - small_right[i]
        if place + 1 == len(order) or scores[order[place + 1]] != scores[i]:
            curve.append(((place + 1) / len(order), right / len(order)))
    return curve


def gap_recovered(curve):
    """The same in shares of the gap between the models; None: there is no gap."""
    low, gap = curve[0][1], curve[-1][1] - curve[0][1]
    return [(share, (accuracy - low) / gap) for share, accuracy in curve] if gap > 0 else None


def area(curve):
    """Under a curve of straight pieces from 0 to 1: APGR."""
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(curve, curve[1:]))


def calls_for(curve, wanted):
    """CPT: the least share of large calls that recovers so much of the gap, on the straight pieces between steps."""
    for a, b in zip(curve, curve[1:]):
        if a[1] >= wanted:
            return a[0]
        if b[1] >= wanted:
            return a[0] + (b[0] - a[0]) * (wanted - a[1]) / (b[1] - a[1])
    return 1.0
