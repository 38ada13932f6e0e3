#!/usr/bin/env python3
"""Makes a model of every architecture and its float64 logits, anew each time and the same byte for byte, and checks them against
tests/golden/families.json. With --measure it writes that file: hashes and bounds."""

import argparse
import hashlib
import json
import math
import pathlib
import sys

import numpy as np

import gguf_file
import plan
import weights
from family_models import SPECS
from gguf_file import F32
from reference import Model, relative_error

ROOT = pathlib.Path(__file__).resolve().parents[2]
MANIFEST = ROOT / "tests/golden/families.json"
POSITIONS = 80
SHARED_IDS = 280  # every vocabulary has at least as many
ROUTER_SIZE = 2.0  # deviation of the routers' scores: few near ties, so that rounding seldom changes a choice


class Weights:
    """The tensors of one model: {name: values}, of sizes at which activations neither vanish nor grow."""

    def __init__(self, spec):
        self.name, self.values = f"{spec.name} {spec.seed}", {}

    def matrix(self, name, *shape, size=1.0):
        self.values[name + ".weight"] = self.draw(name, shape) * (size / math.sqrt(shape[-1]))

    def vector(self, name, *shape, mean=0.0, deviation=0.3):
        self.values[name] = mean + deviation * self.draw(name, shape)

    def norm(self, name, n, mean=1.0):
        self.vector(name + ".weight", n, mean=mean, deviation=0.2 * mean)

    def draw(self, name, shape):
        return weights.normal(f"{self.name} {name}", shape)


def add_attention(w, spec, at):
    q, kv = spec.heads * spec.dim, spec.kv * spec.dim
    parts = {"attn_qkv": q + 2 * kv} if spec.fused_qkv else {"attn_q": q, "attn_k": kv, "attn_v": kv}
    for name, rows in parts.items():
        w.matrix(at + name, rows, spec.embd, size=1.3)
        if spec.qkv_bias:
            w.vector(f"{at}{name}.bias", rows)
    norm = plan.FAMILIES[spec.arch].qk_norm
    if norm:
        w.norm(at + "attn_q_norm", q if norm == "width" else spec.dim)
        w.norm(at + "attn_k_norm", kv if norm == "width" else spec.dim)
    w.matrix(at + "attn_output", spec.embd, q)
    if spec.out_bias:
        w.vector(at + "attn_output.bias", spec.embd)
    if spec.arch == "gpt-oss":
        w.vector(at + "attn_sinks.weight", spec.heads, deviation=1.5)


def add_dense(w, spec, at, suffix, ff):
    if spec.fused_ffn:
        w.matrix(f"{at}ffn_up{suffix}", 2 * ff, spec.embd)
    else:
        w.matrix(f"{at}ffn_gate{suffix}", ff, spec.embd)
        w.matrix(f"{at}ffn_up{suffix}", ff, spec.embd)
    w.matrix(f"{at}ffn_down{suffix}", spec.embd, ff, size=1.5)


def add_experts(w, spec, at):
    n, embd, ff = spec.experts, spec.embd, spec.ff
    w.matrix(at + "ffn_gate_inp", n, embd, size=ROUTER_SIZE)
    w.matrix(at + "ffn_gate_exps", n, ff, embd)
    w.matrix(at + "ffn_up_exps", n, ff, embd)
    w.matrix(at + "ffn_down_exps", n, embd, ff, size=1.5)
    if spec.arch == "gpt-oss":
        w.vector(at + "ffn_gate_inp.bias", n)
        w.vector(at + "ffn_gate_exps.bias", n, ff)
        w.vector(at + "ffn_up_exps.bias", n, ff)
        w.vector(at + "ffn_down_exps.bias", n, embd)
    if spec.shared_ff:
        add_dense(w, spec, at, "_shexp", spec.shared_ff)
    if plan.FAMILIES[spec.arch].shared_expert == "gated":
        w.vector(at + "ffn_gate_inp_shexp.weight", embd, deviation=1 / math.sqrt(embd))


def add_factors(w, spec):
    pairs = np.arange(spec.keys.get("rope.dimension_count", spec.dim) // 2)
    curves = {
        "rope_freqs": 1 + 7 * (pairs / pairs[-1]) ** 2,
        "rope_factors_short": 1 + pairs / 16,
        "rope_factors_long": 1 + pairs * pairs / 8,
    }
    for name in spec.factors:
        w.values[name + ".weight"] = curves[name]


def tensors_of(spec, n_vocab):
    w, family = Weights(spec), plan.FAMILIES[spec.arch]
    w.matrix("token_embd", n_vocab, spec.embd, size=spec.embedding_size * math.sqrt(spec.embd))
    add_factors(w, spec)
    for layer in range(spec.layers):
        at = f"blk.{layer}."
        for name, mean in (
            (family.before_attention, 1.0),
            (family.after_attention, spec.after_norm),
            (family.before_ffn, 1.0),
            (family.after_ffn, spec.after_norm),
        ):
            if name:
                w.norm(at + name, spec.embd, mean)
        add_attention(w, spec, at)
        if spec.experts:
            add_experts(w, spec, at)
        else:
            add_dense(w, spec, at, "", spec.ff)
    w.norm("output_norm", spec.embd)
    if not spec.tied:
        w.matrix("output", n_vocab, spec.embd, size=2.0)
    return w.values


def keys_of(spec, kind, n_vocab):
    family = plan.FAMILIES[spec.arch]
    epsilon = "attention.layer_norm_epsilon" if family.layer_norm else "attention.layer_norm_rms_epsilon"
    own = {
        "vocab_size": n_vocab,
        "context_length": spec.context,
        "embedding_length": spec.embd,
        "block_count": spec.layers,
        "feed_forward_length": spec.ff,
        "attention.head_count": spec.heads,
        "attention.head_count_kv": spec.kv,
        epsilon: F32(1e-5),
        "rope.dimension_count": spec.dim,
        "rope.freq_base": F32(spec.base),
    }
    if spec.dim * spec.heads != spec.embd or family.embedding_by_width:
        own |= {"attention.key_length": spec.dim, "attention.value_length": spec.dim}
    if spec.experts:
        own |= {"expert_count": spec.experts, "expert_used_count": spec.used}
        if family.expert_width_key:
            own[family.expert_width_key] = spec.ff
        if spec.shared_ff:
            own["expert_shared_feed_forward_length"] = spec.shared_ff
    general = {"general.architecture": spec.arch, "general.name": f"golden model in {kind}: {spec.why}"}
    return general | {f"{spec.arch}.{name}": value for name, value in (own | spec.keys).items()}


def kind_of(name, shape, kind):
    """The type of a tensor in a file that is said to be of this one, as converters mix them."""
    if len(shape) == 1 or "ffn_gate_inp" in name or name.endswith(".bias"):
        return "F32"
    if kind in ("F32", "F16"):
        return kind
    if kind == "MXFP4" and "_exps" in name:
        return "MXFP4"
    if shape[-1] % 256:
        return "Q8_0"
    return "Q6_K" if "attn_v" in name or name == "output.weight" else "Q4_K"


def kinds_of(spec):
    if spec.only_f16:
        return ["F16"]
    return ["F16", "MXFP4" if spec.arch == "gpt-oss" else "Q4_K"]


def write(spec, kind, path):
    """Returns the number of ids."""
    vocab = spec.vocab()
    n_vocab = len(vocab["tokenizer.ggml.tokens"])
    tensors = {name: (kind_of(name, values.shape, kind), values) for name, values in tensors_of(spec, n_vocab).items()}
    gguf_file.write(path, keys_of(spec, kind, n_vocab) | vocab, tensors)
    return n_vocab


def tokens():
    return [int(t) for t in weights.below("tokens", POSITIONS, SHARED_IDS)]


def bounds(kind, model, exact):
    """The largest errors that are allowed, and why. What rounding costs is what it costs here, and half as much again."""
    integers = kind != "F16"
    entry = {"relative_error": 1e-5, "relative_error_reason": "the weights expand exactly; activations stay float32"}
    if integers:
        error = relative_error(model.logits(tokens(), round_input=True), exact)
        entry = {
            "relative_error": float(f"{1.5 * error:.2g}"),
            "relative_error_reason": f"1.5 × what rounding activations to int8 in blocks of 32 costs ({error:.2g})",
        }
    if model.plan.head_dim % 32 == 0:  # as test_logits has it: by KV in binary16
        half, small = (model.logits(tokens(), round_input=integers, kv=kind) for kind in ("F16", "Q8_0"))
        entry["kv_q8_0_relative_error"] = float(f"{1.5 * relative_error(small, half):.2g}")
    return entry


def make(spec, kind, folder):
    """Writes model and logits; returns (what the manifest says of it, model, logits)."""
    path = folder / f"{spec.name}.{kind}.gguf"
    n_vocab = write(spec, kind, path)
    model = Model(*gguf_file.read(path), context=spec.context)
    exact = model.logits(tokens())
    exact.astype("<f4").tofile(path.with_suffix(".logits.f32"))
    entry = {
        "model": path.name,
        "architecture": spec.arch,
        "seed": spec.seed,
        "type": kind,
        "covers": spec.why,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "logits": path.with_suffix(".logits.f32").name,
        "positions": POSITIONS,
        "vocab": n_vocab,
    }
    return entry, model, exact


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--measure", action="store_true", help="write the manifest instead of checking against it")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "tokens.txt").write_text(" ".join(map(str, tokens())) + "\n")
    written = json.loads(MANIFEST.read_text())
    known = {entry["model"]: entry for entry in written["models"]}
    manifest, differing = [], []
    for spec in SPECS:
        for kind in kinds_of(spec):
            entry, model, exact = make(spec, kind, arguments.folder)
            old = known.get(entry["model"], {})
            if arguments.measure:
                entry |= bounds(kind, model, exact)
            elif {name: old.get(name) for name in entry} != entry:
                differing.append(entry["model"])
            manifest.append(old | entry)
    if arguments.measure:
        MANIFEST.write_text(json.dumps(written | {"models": manifest}, indent=1, ensure_ascii=False) + "\n")
    if differing or len(manifest) != len(known) and not arguments.measure:
        sys.exit(f"not as {MANIFEST.relative_to(ROOT)} says: {', '.join(differing) or 'the number of models'}")
    print(
        f"{len(manifest)} models of {len({entry['architecture'] for entry in manifest})} architectures in {arguments.folder}"
    )


if __name__ == "__main__":
    main()
