"""The report's tables, as Markdown: of what evidence_report.py gathers."""

import evidence_checked as checked

STREAMS = (1, 8)
KINDS = ("code", "math", "qa")


def number(value, digits=1):
    return "–" if value is None else f"{value:.{digits}f}"


def with_interval(triple, digits=1):
    return (
        "–"
        if triple is None or triple[0] is None
        else f"{triple[0]:.{digits}f} ({number(triple[1], digits)} to {number(triple[2], digits)})"
    )


def table(head, rows):
    return (
        "\n".join(
            ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + ["| " + " | ".join(row) + " |" for row in rows]
        )
        + "\n"
    )


def own_table(rows):
    return table(
        ["", "requests", "0.5B right, %", "published", "1.5B right, %", "published", "one of them, %"],
        [
            [
                r["task"],
                str(r["requests"]),
                with_interval(r["small"]),
                number((r["published"] or {}).get("small")),
                with_interval(r["large"]),
                number((r["published"] or {}).get("large")),
                with_interval(r["either"]),
            ]
            for r in rows
        ],
    )


def area_table(rows):
    return table(
        ["the small model is right: told by", "all", *KINDS],
        [[r["predictor"]] + [with_interval(r[k], 2) for k in ("all", *KINDS)] for r in rows],
    )


def kind_table(rows):
    return table(
        ["labels", "requests", "kind right, %"],
        [[r["way"], str(r["requests"]), with_interval(r["right"])] for r in rows],
    )


def frontier_table(made):
    small, large = (next(r for r in made["policies"] if r["policy"] == name) for name in ("small", "large"))
    gap = large["accuracy"] - small["accuracy"]
    rows = []
    for r in made["policies"] + ([made["speculation"]] if made["speculation"] else []):
        cells = [
            r["policy"],
            with_interval([r["accuracy"], *r.get("accuracy_interval", (None, None))]),
            number(100 * (1 - r["small_share"]), 0),
            number(100 * (r["accuracy"] - small["accuracy"]) / gap if gap > 0 else None, 0),
        ]
        for streams in map(str, STREAMS):
            cells += (
                [
                    number(large[streams]["ms_per_answer"] / r[streams]["ms_per_answer"], 2),
                    number(r[streams]["tokens_per_s"]),
                    number(r[streams]["bytes_per_answer"] / 1e9, 1),
                ]
                if streams in r
                else ["–"] * 3
            )
        rows.append(cells)
    return table(
        [
            "",
            "right, % (95 %)",
            "large calls, %",
            "gap recovered, %",
            "× large",
            "tokens/s",
            "GB each",
            "× large, 8",
            "tokens/s, 8",
            "GB each, 8",
        ],
        rows,
    )


def curve_table(made):
    return table(
        ["score", "APGR", "CPT50, %", "CPT80, %"],
        [
            [c["score"], number(c["apgr"], 3), number(100 * c["cpt50"]), number(100 * c["cpt80"])]
            for c in sorted(made["curves"], key=lambda c: -c["apgr"])
        ]
        + [["random", "0.500", "50.0", "80.0"]],
    )


def goal_line(made, name):
    """A head's rule: its fastest limit within two points of the large model, and how many limits lie above the line
    between the models."""
    small, large = (next(r for r in made["policies"] if r["policy"] == role) for role in ("small", "large"))
    points = made["rules"][name]
    kept = [p for p in points if p["accuracy"] >= large["accuracy"] - 2]
    if not kept:
        return ""
    above = sum(
        p["accuracy"] >= large["accuracy"] + p["small_share"] * (small["accuracy"] - large["accuracy"]) - 1e-9
        for p in points
    )
    best = min(kept, key=lambda p: p["1"]["ms_per_answer"])
    gain = [large[s]["ms_per_answer"] / best[s]["ms_per_answer"] for s in ("1", "8")]
    return (
        f"Within two points of the large model the {name} rule reaches {gain[0]:.2f} × its speed one at a time and "
        f"{gain[1]:.2f} × at eight (limit {best['limit']:.2f}, {100 * best['small_share']:.0f} % to the small model, "
        f"{best['accuracy']:.1f} % right); the limit is read off these requests. By calls it lies on or above the line "
        f"between the models at {above} of {len(points)} limits.\n"
    )


def markdown(report):
    parts = [
        "### Own scores\n",
        own_table(report["own"]),
        "### Kinds\n",
        kind_table(report["kinds"]),
        "### Right or wrong, told beforehand\n",
        area_table(report["areas"]),
    ]
    for made in report["frontiers"]:
        parts += [
            f"### Frontier: {made['title']}\n",
            frontier_table(made),
            *(goal_line(made, name) for name in made["rules"]),
        ]
        for study in made["checked"]:
            parts += [f"### Checked answers: {made['title']}, {study['streams']} at once\n", checked.markdown(study)]
    parts += ["### In RouteLLM's terms\n", curve_table(report["frontiers"][0])]
    return "\n".join(parts)
