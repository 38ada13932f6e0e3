#!/usr/bin/env python3
"""Checks the reference against logits that were computed independently, and the committed set against
the reference: prints one line a model, exits 1 when one differs."""

import argparse
import json
import pathlib
import sys

import numpy as np

import gguf_file
from reference import Model, relative_error

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 1e-6  # both are float64; the stored logits are rounded to float32 (6e-8)


def check(folder, entry, tokens, limit):
    model = Model(*gguf_file.read(folder / entry["model"]))
    stored = np.fromfile(folder / entry["logits"], "<f4").reshape(entry["positions"], entry["vocab"])
    error = relative_error(model.logits(tokens[: entry["positions"]]), stored)
    print(
        f"{entry['model']:32} {entry['architecture']:16} {entry['type']:8} {error:.1e}"
        + ("" if error <= limit else "  DIFFERS")
    )
    return error <= limit


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder",
        nargs="*",
        type=pathlib.Path,
        default=[ROOT / "tests/golden/data", ROOT.parent / "shared/golden"],
        help="folders with manifest.json and tokens.txt",
    )
    sound, checked = True, 0
    for folder in parser.parse_args().folder:
        if not (folder / "manifest.json").exists():
            print(f"{folder}: not there, skipped")
            continue
        tokens = [int(t) for t in (folder / "tokens.txt").read_text().split()]
        for entry in json.loads((folder / "manifest.json").read_text()):
            try:
                sound &= check(folder, entry, tokens, LIMIT)
                checked += 1
            except gguf_file.Unsupported as reason:
                print(f"{entry['model']:32} skipped: {reason} is not in the reference")
    print(f"{checked} models checked: " + ("all agree" if sound else "SOME DIFFER"))
    sys.exit(0 if sound and checked else 1)


if __name__ == "__main__":
    main()
