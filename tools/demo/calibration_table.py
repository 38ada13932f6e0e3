#!/usr/bin/env python3
"""make bench-calibrate: `a-io calibrate` on the demo pair, and what its limits do to requests it has not seen.

    calibration_table.py [--program build/a-io] FOLDER

FOLDER holds the three splits of calibration_requests.py. Besides the two unseen splits the ambiguous part of the second one
is judged by itself: the rest of them the demo probe knows well.
"""

import argparse
import json
import os
import subprocess
import sys

TARGETS = ["1%", "2%", "5%"]


def calibrate(options, target):
    tests = [os.path.join(options.folder, name) for name in ("unseen-1.jsonl", "unseen-2.jsonl", "ambiguous.jsonl")]
    command = [
        options.program,
        "calibrate",
        os.path.join(options.folder, "calibration.jsonl"),
        "--json",
        "--no-machine",
        "--max-misroute",
        target,
        "--config",
        options.config,
    ]
    for test in tests:
        command += ["--test", test]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def write_ambiguous(folder):
    with open(os.path.join(folder, "unseen-2.jsonl"), encoding="utf-8") as lines:
        rows = [line for line in lines if json.loads(line)["kind"] == "ambiguous"]
    with open(os.path.join(folder, "ambiguous.jsonl"), "w", encoding="utf-8") as out:
        out.writelines(rows)


def name_of(result):
    return os.path.basename(result["name"]).replace(".jsonl", "")


def interval(pair, sign=1):
    low, high = sorted(sign * x for x in pair)
    return f"({low:.4f} to {high:.4f})"


def print_scores(report):
    probe = report["probe"]
    print(
        f"fitted on {probe['fitted_on']} requests: {probe['form']} (held-out NLL "
        + ", ".join(f"{k} {v:.4f}" for k, v in report["held_out_nll"].items() if v is not None)
        + ")\n"
    )
    print(f"{'requests':<24}{'n':>6}  {'':<9}{'accuracy':>9}{'NLL':>8}{'Brier':>8}{'ECE width':>11}{'ECE mass':>10}")
    for r in report["results"]:
        for when in ("before", "after"):
            s = r[when]
            head = f"{name_of(r):<24}{r['requests']:>6}" if when == "before" else f"{'':<30}"
            print(
                f"{head}  {when:<9}{s['accuracy']:>9.4f}{s['nll']:>8.4f}{s['brier']:>8.4f}{s['ece_equal_width']:>11.4f}"
                f"{s['ece_equal_mass']:>10.4f}"
            )
        print(
            f"{'':<32}change   NLL {interval(r['gain_95']['nll'], -1)}, Brier {interval(r['gain_95']['brier'], -1)}, 95 %, paired"
        )


def print_limits(target, report):
    for r in report["results"]:
        e = r["limit"]
        n = e["requests"]
        print(
            f"{target:>6} {e['entropy']:>8.4f}  {name_of(r):<24}{n:>6}{100 * e['small'] / n:>10.1f} %{e['misrouted']:>11}"
            f"{100 * e['misrouted'] / n:>9.2f} %{100 * e['misroute_upper']:>9.2f} %"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="build/a-io")
    parser.add_argument("--config", default="config/demo.yaml")
    parser.add_argument("folder")
    options = parser.parse_args()
    write_ambiguous(options.folder)
    reports = {target: calibrate(options, target) for target in TARGETS}
    print_scores(reports[TARGETS[0]])
    print(
        "\nlimit for a share of misroutes (of all requests: the small model answers, the intent is wrong)\n"
        f"{'target':>6} {'nats':>8}  {'requests':<24}{'n':>6}{'coverage':>12}{'misrouted':>11}{'share':>11}{'95 %: ≤':>11}"
    )
    for target, report in reports.items():
        print_limits(target, report)
    print(
        "coverage: the share of all requests that the small model answers. The half not fitted on is the one that the limit\n"
        "was chosen on. ambiguous is a part of unseen-2: the limit promises nothing about a part."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
