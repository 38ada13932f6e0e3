#!/usr/bin/env python3
"""results.py: figures of runs, kept in results/ and put into the documents from there. Run from the repository's root.

results.py keep KIND FILE... --command TEXT takes what a run wrote (KIND: replay, real-pair, peer and, of a processor
                                            with no more than AVX2, peer-avx2), keeps the figures
                                            that documents show, and says with them by what command, from which
                                            commit, on which machine and when they were made: results/KIND.json
results.py docs [--check]                   writes the tables between <!-- results: NAME --> and <!-- end --> anew;
                                            with --check fails where one differs

The tables' names are those of results_tables.py. Python's standard library only.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import time

import results_tables

FOLDER = pathlib.Path("results")
TABLE = re.compile(r"(<!-- results: ([\w/-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
DIGITS = 6  # significant ones, of what is kept


# ---- what is kept ---------------------------------------------------------------------------------


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [rounded(v) for v in value]
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    return value


def of_replay(report):
    """Of `a-io replay --output`: settings, and each run without its requests."""
    shown = ("scenario", "policy", "requests", "accuracy", "tokens", "tokens_per_s", "bytes_per_answer", "fallbacks")
    runs = [{key: run[key] for key in shown} for run in report["runs"]]
    return {"settings": {key: v for key, v in report["settings"].items() if v is not None}, "runs": runs}


def of_real_pair(report):
    """Of evidence_report.py --results: the tables without their curves."""
    frontiers = [
        {
            "title": made["title"],
            "policies": made["policies"],
            "speculation": made["speculation"],
            "exact": [next(r for r in study["rows"] if r["way"] == "exact") for study in made["checked"]],
            "curves": [{key: v for key, v in c.items() if key != "curve"} for c in made["curves"]],
        }
        for made in report["frontiers"]
    ]
    return {key: report[key] for key in ("requests", "own", "kinds", "areas")} | {"frontiers": frontiers}


def of_peer(*reports):
    """Of bench/peer.py --json, as many as there are: parts of a model that were measured apart go side by side."""
    models = {}
    for part in (model for report in reports for model in report["models"]):
        whole = models.setdefault(part["model"], part)
        for figures in ("tokens_per_s", "times"):
            for name, columns in part[figures].items():
                whole[figures][name] |= columns
        whole["percent_of_peak"] |= part["percent_of_peak"]
    return {"models": list(models.values())}


KINDS = {"replay": of_replay, "real-pair": of_real_pair, "peer": of_peer, "peer-avx2": of_peer}


def commit():
    described = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(described, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else "unknown"


def keep(given):
    if len(given.files) > 1 and KINDS[given.kind] is not of_peer:
        raise ValueError(f"{given.kind} is kept from one file")
    figures = KINDS[given.kind](*(json.loads(file.read_text()) for file in given.files))
    said = {
        "command": given.command,
        "commit": given.commit or commit(),
        "machine": given.machine or machine(),
        "date": given.date or time.strftime("%Y-%m-%d", time.gmtime()),
        "note": given.note,
        "busy": given.busy,
        "figures": rounded(figures),
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{given.kind}.json"
    path.write_text(json.dumps(said, ensure_ascii=False, indent=1) + "\n")
    print(f"{path}: kept; `make docs` writes the documents' tables from it")
    return 0


# ---- what is shown --------------------------------------------------------------------------------


def documents():
    return [pathlib.Path("README.md"), *sorted(pathlib.Path("docs").glob("*.md"))]


def filled(path, text):
    """The document's text with its tables as the results say."""

    def table(found):
        name = found.group(2)
        if name not in results_tables.TABLES:
            raise ValueError(f"{path}: no table {name}; there are: {', '.join(sorted(results_tables.TABLES))}")
        kind = name.split("/")[0]
        result = json.loads((FOLDER / f"{kind}.json").read_text())
        return found.group(1) + results_tables.TABLES[name](result) + found.group(4)

    return TABLE.sub(table, text)


def docs(given):
    differing, tables = [], 0
    for path in documents():
        before = path.read_text()
        after = filled(path, before)
        tables += len(TABLE.findall(before))
        if before.count("<!-- results:") != len(TABLE.findall(before)):
            raise ValueError(f"{path}: a table that does not end")
        if before == after:
            continue
        differing.append(path)
        if not given.check:
            path.write_text(after)
    for path in differing:
        print(f"{path}: differs from results/: make docs" if given.check else f"{path}: written")
    print(f"{tables} tables from results/, {len(differing)} documents {'differ' if given.check else 'changed'}")
    return 1 if given.check and differing else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    keeping = commands.add_parser("keep")
    keeping.add_argument("kind", choices=sorted(KINDS))
    keeping.add_argument("files", metavar="file", type=pathlib.Path, nargs="+")
    keeping.add_argument("--command", required=True)
    for name in ("commit", "date", "machine"):
        keeping.add_argument(f"--{name}", help="where it is not this one, now")
    keeping.add_argument("--note", default="", help="what a reader of the figures has to know")
    keeping.add_argument("--busy", action="store_true", help="other work ran: speeds mean nothing and are not shown")
    keeping.set_defaults(act=keep)
    showing = commands.add_parser("docs")
    showing.add_argument("--check", action="store_true")
    showing.set_defaults(act=docs)
    given = parser.parse_args()
    try:
        return given.act(given)
    except (OSError, ValueError, KeyError) as error:
        print(f"results.py: {error!r}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
