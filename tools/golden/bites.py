#!/usr/bin/env python3
"""Changes one property at a time in the models of build/golden, as a wrong engine would have it, and says how far the logits
move: what moves them by less than the bound would go unnoticed. Exits 1 where no model of an architecture notices a property."""

import argparse
import collections
import dataclasses
import json
import math
import pathlib
import sys

import numpy as np

import gguf_file
from families import MANIFEST, ROOT, tokens
from reference import Model, relative_error

NOTICED = 10  # times the bound


def change_family(**changes):
    def change(model):
        family = model.plan.family
        if all(getattr(family, name) == value for name, value in changes.items()):
            return False
        model.plan = dataclasses.replace(model.plan, family=dataclasses.replace(family, **changes))
        return True

    return change


def ungated(model):
    if model.plan.family.shared_expert != "gated":
        return False
    return change_family(shared_expert="added")(model)


def plain_score_scale(model):
    return change_plan(score_scale=1 / math.sqrt(model.plan.head_dim))(model)


def change_plan(**changes):
    def change(model):
        if all(getattr(model.plan, name) == value for name, value in changes.items()):
            return False
        model.plan = dataclasses.replace(model.plan, **changes)
        return True

    return change


def change_layers(changed):
    """changed: what a layer becomes, given it and all"""

    def change(model):
        layers = [changed(layer, model.plan.layers) for layer in model.plan.layers]
        if repr(layers) == repr(model.plan.layers):
            return False
        model.plan = dataclasses.replace(model.plan, layers=layers)
        return True

    return change


def change_rope(applies, **changes):
    def changed(layer, _):
        if layer.rope is None or not applies(layer.rope):
            return layer
        return dataclasses.replace(layer, rope=dataclasses.replace(layer.rope, **changes))

    return change_layers(changed)


def without(part):
    def change(model):
        names = [name for name in model.tensors if part in name]
        for name in names:
            del model.tensors[name]
        return bool(names)

    return change


def whole_rope(layer, layers):
    some = next((other.rope for other in layers if other.rope), None)
    return dataclasses.replace(layer, rope=layer.rope or some)


def one_rope(layer, layers):
    return dataclasses.replace(layer, rope=layer.rope and layers[-1].rope or layer.rope)


def wider(layer, _):
    return dataclasses.replace(layer, window=layer.window and layer.window + 1)


def turned_pairs(layer, _):
    return dataclasses.replace(layer, rope=layer.rope and dataclasses.replace(layer.rope, halves=not layer.rope.halves))


CHANGES = {
    "RoPE pairs": change_layers(turned_pairs),
    "RoPE in all layers": change_layers(whole_rope),
    "one RoPE for all layers": change_layers(one_rope),
    "RoPE dims": change_layers(
        lambda layer, _: dataclasses.replace(
            layer, rope=layer.rope and dataclasses.replace(layer.rope, dims=layer.rope.dims - 2, factors=None)
        )
    ),
    "RoPE factors": change_rope(lambda table: table.factors is not None, factors=None),
    "linear scaling": change_rope(lambda table: table.yarn is None, stretch=1.0),
    "YaRN": change_rope(lambda table: table.yarn is not None, yarn=None),
    "YaRN's magnitude": change_rope(lambda table: table.yarn is not None, magnitude=1.05),
    "attention factor": change_rope(lambda table: table.yarn is None, magnitude=1.0),
    "window one wider": change_layers(wider),
    "no window": change_layers(lambda layer, _: dataclasses.replace(layer, window=0)),
    "all windows": change_layers(
        lambda layer, layers: dataclasses.replace(layer, window=max(x.window for x in layers))
    ),
    "score scale": plain_score_scale,
    "score cap": change_plan(score_cap=0.0),
    "logit cap": change_plan(logit_cap=0.0),
    "logit scale": change_plan(logit_scale=1.0),
    "embedding scale": change_plan(embedding_scale=1.0),
    "residual scale": change_plan(residual_scale=1.0),
    "temperature": change_plan(temperature_scale=0.0),
    "norm of q and k": change_family(qk_norm=None),
    "norm before attention": change_family(before_attention=None),
    "norm after attention": change_family(after_attention=None),
    "norm before feed-forward": change_family(before_ffn=None),
    "norm after feed-forward": change_family(after_ffn=None),
    "LayerNorm": change_family(layer_norm=False),
    "parallel blocks": change_family(parallel=False),
    "activation": change_family(activation="silu"),
    "renormalised experts": change_family(renormalise=True, router="softmax first"),
    "gate of the shared expert": ungated,
    "shared expert": without("_shexp"),
    "sinks": without("attn_sinks"),
    "attention biases": without("attn_q.bias"),
    "output bias": without("attn_output.bias"),
    "router bias": without("ffn_gate_inp.bias"),
    "expert biases": without("_exps.bias"),
}
SAME = {("gpt-oss", "renormalised experts")}  # two ways to the same weights


def moved(path, entry, change, exact):
    """How many bounds the logits move by the change; None where there is nothing to change."""
    model = Model(*gguf_file.read(path))
    if change(model) is False:
        return None
    with np.errstate(all="ignore"):  # without their norms some grow beyond measure
        return relative_error(model.logits(tokens()), exact) / entry["relative_error"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=ROOT / "build/golden")
    folder = parser.parse_args().folder
    most = collections.defaultdict(float)
    for entry in json.loads(MANIFEST.read_text())["models"]:
        if entry["type"] != "F16":
            continue
        path = folder / entry["model"]
        exact = Model(*gguf_file.read(path)).logits(tokens())
        for name, change in CHANGES.items():
            times = moved(path, entry, change, exact)
            if times is not None:
                at = entry["architecture"], name
                most[at] = max(most[at], times)
    unnoticed = {at for at, times in most.items() if times < NOTICED} - SAME
    for (arch, name), times in sorted(most.items()):
        print(f"{arch:16} {name:28} {times:9.0f} × the bound" + ("  UNNOTICED" if (arch, name) in unnoticed else ""))
    sys.exit(1 if unnoticed else 0)


if __name__ == "__main__":
    main()
