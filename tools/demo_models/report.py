"""Prints the tables of models/demo/README.md from an evaluation: report.py logs/evaluation.json"""

import json
import sys

from chat import LABELS


def main(path):
    with open(path) as f:
        r = json.load(f)
    if "tasks" in r:
        print(
            "| task | items | small % | large % | large − small, points (95 % interval, paired) |\n|---|---|---|---|---|"
        )
        for name, t in r["tasks"].items():
            d = t["difference"]
            print(
                f"| {name} | {t['items']} | {t['small']:.2f} | {t['large']:.2f} | {d[0]:+.2f} ({d[1]:+.2f} … {d[2]:+.2f}) |"
            )
        print()
    if "probe" not in r:
        return
    models = [m for m in ("small", "large") if any(k.startswith(m + " ") for k in r["probe"])]
    for m in models:
        print(f"Probe of the {m} model (rows of the confusion: the true class; columns: code, qa, math):\n")
        print(
            "| set | items | accuracy % | mean entropy, nats | share above 0.45 nats, % | confusion |\n|---|---|---|---|---|---|"
        )
        for k, p in r["probe"].items():
            if k.startswith(m + " "):
                c = "; ".join(f"{x} {'/'.join(map(str, p['confusion'][x]))}" for x in LABELS if x in p["confusion"])
                print(
                    f"| {k[len(m) + 1 :]} | {p['items']} | {p['accuracy']:.2f} | {p['mean_entropy']:.3f} | {p['above_0.45']:.2f} | {c} |"
                )
        print()


if __name__ == "__main__":
    main(sys.argv[1])
