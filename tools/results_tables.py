"""The documents' tables, each a function of a result (results.py): Markdown lines that end with a line feed."""

import re
import textwrap

SCENARIOS = ("A", "B", "C")
REPLAY_ROWS = (
    "small",
    "large",
    "large-lookup",
    "random",
    "paper",
    "adaptive",
    "oracle",
    "always-lookup",
    "without-routing",
    "without-lookup-switch",
    "without-entropy-fallback",
    "without-probe-reuse",
)
REAL_PAIR_NAMES = {
    "small": "0.5B alone",
    "large": "1.5B alone",
    "random, half": "lots, half",
    "the paper's rule as published": "the paper's rule (code, low entropy → small), README's words",
    "the paper's rule, own words": "the same, words of `config/qwen2.5-coder.yaml`",
    "the paper's rule, calibrated": "the same, calibrated",
    "kind rule, learned": "learned kind: code → small",
    "learned kind: math, which takes longest, to the small model": "learned kind: math, which takes longest, → small",
    "success rule": "success at least 0.5 → small",
    "gain rule": "gain under 0.25 → small",
    "oracle": "oracle: small where it is right or the large one is not",
}
README_ROWS = {
    "small": "0.5B alone",
    "large": "1.5B alone",
    "the paper's rule as published": "the published rule",
    "success rule": "success at least one half → small",
    "oracle": "oracle",
}
PEER_MODELS = {
    "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf": "Qwen2.5-Coder-1.5B Q4_K_M",
    "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf": "Qwen2.5-Coder-0.5B Q4_K_M",
    "SmolLM2-135M-Instruct.Q4_1.gguf": "SmolLM2-135M Q4_1",
}
SYNTHETIC_MODEL = re.compile(r"([\w.-]+?)(?:-llama)?[:.](\w+?)(?:\.gguf)?")  # as peer.py was given it, or its file
PEER_COLUMNS = {
    "decode": "decode",
    "8 rows": "8 streams' steps",
    "prefill 512": "prefill 512",
    "decode at 2048": "decode at 2048",
}


def table(head, rows, right=()):
    """Columns whose numbers are in `right` stand at the right."""
    marks = "".join("---:|" if i in right else "---|" for i in range(len(head)))
    lines = ["| " + " | ".join(head) + " |", "|" + marks, *("| " + " | ".join(row) + " |" for row in rows)]
    # An empty cell has one blank, not two.
    return "\n".join(lines).replace("|  |", "| |").replace("|  |", "| |") + "\n"


def made(result):
    """By what, from which commit, where and when."""
    said = f"`{result['command']}`; commit {result['commit']}, {result['machine']}, {result['date']}."
    return textwrap.fill(f"{said} {result['note']}".strip(), 100, break_on_hyphens=False) + "\n"


# ---- make replay ------------------------------------------------------------------------------------


def replay_policies(result):
    """What is right, and how fast; of a run beside other work, whose speeds mean nothing, bytes instead."""
    runs = {(run["scenario"], run["policy"]): run for run in result["figures"]["runs"]}
    rows = []
    for policy in REPLAY_ROWS:
        row = [f"`{policy}`"]
        for scenario in SCENARIOS:
            run, large = runs[scenario, policy], runs[scenario, "large"]
            if result["busy"]:
                row += [f"{run['accuracy']:.1f}", f"{run['bytes_per_answer'] / 1e6:.0f}"]
            else:
                times = run["tokens_per_s"] / large["tokens_per_s"]
                row += [f"{run['accuracy']:.1f}, {run['tokens_per_s']:,.0f}", f"{times:.2f}"]
        rows.append(row)
    first, second = ("right %", "MB an answer") if result["busy"] else ("right %, tokens/s", "× large")
    return table(["", f"A: {first}", second, "B", second, "C", second], rows, right=range(1, 7))


# ---- make evidence-real -------------------------------------------------------------------------------


def with_interval(value, interval, digits):
    return f"{value:.{digits}f} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"


def times_large(row, large, streams):
    return large[streams]["ms_per_answer"] / row[streams]["ms_per_answer"]


def real_pair_frontier(result):
    found = result["figures"]["frontiers"][0]
    policies = {row["policy"]: row for row in found["policies"]}
    small, large = policies["small"], policies["large"]
    gap = large["accuracy"] - small["accuracy"]
    rows = []
    for name, shown in REAL_PAIR_NAMES.items():
        row = policies[name]
        cells = [
            shown,
            with_interval(row["accuracy"], row["accuracy_interval"], 1),
            f"{100 * (1 - row['small_share']):.0f}",
            f"{100 * (row['accuracy'] - small['accuracy']) / gap:.0f}",
        ]
        for streams in ("1", "8"):
            speed, size = row[streams]["tokens_per_s"], row[streams]["bytes_per_answer"] / 1e9
            cells += [f"{times_large(row, large, streams):.2f}", f"{speed:.1f}", f"{size:.1f}"]
        rows.append(cells)
    one, eight = found["exact"]
    drafts = [f"{one['right']:.1f}", "100", "100", f"{one['times_large']:.2f}", "", "", f"{eight['times_large']:.2f}"]
    rows.insert(-1, ["speculation: the small one drafts (replayed, below)", *drafts, "", ""])
    head = ["", "right, % (95 %)", "large calls, %", "gap recovered, %", "× large", "tokens/s", "GB each"]
    return table([*head, "× large, 8", "tokens/s, 8", "GB each, 8"], rows)


def real_pair_areas(result):
    shown = {
        "success head": "success head (layer 20)",
        "kind alone (true label)": "kind alone (its rate on the judged half itself)",
        "entropy of the label probe (template)": "entropy of the label probe, raw",
        "entropy of the label probe (calibrated)": "entropy of the label probe, calibrated",
        "entropy of the label probe (published)": "entropy of the label probe, README's words",
        "prompt length (the shorter, the surer)": "prompt length, the shorter the surer",
        "the large model's reading, after the fact: the mean token": "*after the fact:* the large model reads the "
        "answer: its mean log-probability of a token",
        "the same: the least probable token": "the same: its least probable token",
    }
    areas = {row["predictor"]: row for row in result["figures"]["areas"]}

    def cell(found):
        return f"{found[0]:.2f}" if found[1] == found[2] else with_interval(found[0], found[1:], 2)

    kinds = ("all", "code", "math", "qa")
    rows = [[text, *(cell(areas[name][kind]) for kind in kinds)] for name, text in shown.items()]
    return table(["told by", *kinds], rows)


def real_pair_readme(result):
    found, slower = result["figures"]["frontiers"][:2]
    policies = {row["policy"]: row for row in found["policies"]}
    large = policies["large"]
    rows = [
        [
            shown,
            f"{policies[name]['accuracy']:.1f} %",
            f"{100 * (1 - policies[name]['small_share']):.0f} %",
            f"{times_large(policies[name], large, '1'):.2f}",
        ]
        for name, shown in README_ROWS.items()
    ]
    one, other = found["exact"][0], slower["exact"][0]
    speed = f"{one['times_large']:.2f}, with a 7B's steps {other['times_large']:.2f}"
    drafts = "the small model drafts for the large one (replayed from measured steps)"
    rows.insert(-1, [drafts, f"{one['right']:.1f} %", "100 %", speed])
    return table(["", "right", "large calls", "× the large model's speed"], rows)


# ---- make bench-peer ------------------------------------------------------------------------------------


def short(value):
    """Three digits or whole numbers."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def spread(found, digits):
    """Of a median, the lowest and the highest."""
    median, low, high = (f"{value:.{digits}f}" for value in found)
    return median if low == high else f"{median} ({low} to {high})"


def peer_name(model):
    """Of a real file, or of a synthetic model: its shape and type."""
    synthetic = SYNTHETIC_MODEL.fullmatch(model)
    return PEER_MODELS.get(model) or (f"{synthetic[1]} {synthetic[2].upper()}" if synthetic else model)


def share_of_peak(model, column):
    """Behind a decode speed: of the read peak."""
    depth = {"decode": "0"}.get(column, column.removeprefix("decode at "))
    return f", {spread(model['percent_of_peak'][depth], 0)} %" if depth in model["percent_of_peak"] else ""


def peer_all(result):
    """Every cell that was measured; of each model our tokens/s, then what they are times each peer's."""
    models, rows = result["figures"]["models"], []
    columns = list(dict.fromkeys(column for model in models for column in model["tokens_per_s"]["A-IO"]))
    for model in models:
        ours, name = model["tokens_per_s"]["A-IO"], peer_name(model["model"])
        cells = [short(ours[c][0]) + share_of_peak(model, c) if c in ours else "–" for c in columns]
        rows.append([f"**{name}**, {model['weight_bytes'] / 1e6:,.0f} MB a step", *cells])
        for peer, times in model["times"].items():
            rows.append([f"times {peer}", *(spread(times[c], 2) if c in times else "–" for c in columns)])
    return table(["tokens/s; of the read peak", *columns], rows)


def peer_readme(result):
    """Ours, and in brackets the least of what we are times the peers: a spread is median, lowest, highest."""
    rows = []
    for model in result["figures"]["models"]:
        if model["model"] not in PEER_MODELS:
            continue
        row = [PEER_MODELS[model["model"]]]
        for column in PEER_COLUMNS:
            least = min(times[column][0] for times in model["times"].values())
            cell = f"{short(model['tokens_per_s']['A-IO'][column][0])} ({least:.2f})"
            if column == "decode":
                cell += f", {model['percent_of_peak']['0'][0]:.0f} %" + (" of the read peak" if not rows else "")
            row.append(cell)
        rows.append(row)
    return table(["", *PEER_COLUMNS.values()], rows)


TABLES = {
    "replay/policies": replay_policies,
    "replay/made": made,
    "real-pair/frontier": real_pair_frontier,
    "real-pair/areas": real_pair_areas,
    "real-pair/readme": real_pair_readme,
    "real-pair/made": made,
    "peer/all": peer_all,
    "peer/readme": peer_readme,
    "peer/made": made,
    "peer-avx2/all": peer_all,
    "peer-avx2/readme": peer_readme,
    "peer-avx2/made": made,
}
