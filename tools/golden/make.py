#!/usr/bin/env python3
"""Makes the golden set: small random models, the logits of the float64 reference and manifest.json."""

import argparse
import json
import math
import pathlib
import zlib

import numpy as np

import gguf_file
import vocabulary
from gguf_file import F32
from reference import Model, relative_error

ROOT = pathlib.Path(__file__).resolve().parents[2]
POSITIONS = 72  # past 64, so that a kernel's blocks of positions are crossed
SHARED_IDS = 280  # every vocabulary has at least as many

# The shape of each model. `kinds` names the tensor type of all matrices, or of some by a part of their name (the first
# that fits). F32 proves the architecture's arithmetic; the other types prove their own decoding and products.
# fmt: off
MODELS = [
    dict(name="llama-rope-factors.F32", arch="llama", vocab=vocabulary.llama3, embd=64, ff=96, heads=4, kv=2, dim=16,
         layers=2, base=500000.0, factors=True, kinds={"": "F32"}, why="adjacent RoPE pairs with rope_freqs"),
    dict(name="llama-linear-tied.F32", arch="llama", vocab=vocabulary.llama3, embd=48, ff=96, heads=3, kv=1, dim=16,
         layers=2, base=10000.0, linear=4.0, tied=True, kinds={"": "F32"},
         why="linear RoPE scaling, the embedding as output head, three heads on one KV head"),
    dict(name="qwen2.F32", arch="qwen2", vocab=vocabulary.chatml, embd=64, ff=96, heads=2, kv=1, dim=32, layers=2,
         base=1e6, tied=True, qkv_bias=True, kinds={"": "F32"}, why="half-split RoPE pairs, bias on q, k, v"),
    dict(name="qwen3.F32", arch="qwen3", vocab=vocabulary.chatml, embd=48, ff=96, heads=4, kv=2, dim=32, layers=2,
         base=1e6, qk_norm=True, kinds={"": "F32"}, why="norms of q and k, head size not width / heads"),
    dict(name="pangu.F32", arch="pangu-embedded", vocab=vocabulary.sentencepiece, embd=48, ff=96, heads=3, kv=3,
         dim=16, layers=2, base=10000.0, qkv_bias=True, out_bias=True, kinds={"": "F32"},
         why="bias on attn_output too, as many KV heads as heads"),
    dict(name="qwen2.F16", arch="qwen2", vocab=vocabulary.chatml, embd=64, ff=192, heads=2, kv=1, dim=32, layers=2,
         base=1e6, qkv_bias=True, kinds={"": "F16"}, why="F16 matrices and embedding"),
    dict(name="llama.BF16", arch="llama", vocab=vocabulary.llama3, embd=64, ff=160, heads=4, kv=2, dim=16, layers=2,
         base=10000.0, kinds={"": "BF16"}, why="BF16 matrices and embedding"),
    dict(name="pangu.Q8_0", arch="pangu-embedded", vocab=vocabulary.sentencepiece, embd=96, ff=224, heads=3, kv=1,
         dim=32, layers=2, base=10000.0, qkv_bias=True, out_bias=True, kinds={"": "Q8_0"},
         why="Q8_0, widths that are odd multiples of 32"),
    dict(name="qwen3.Q4_0", arch="qwen3", vocab=vocabulary.chatml, embd=96, ff=224, heads=2, kv=1, dim=64, layers=2,
         base=1e6, qk_norm=True, kinds={"": "Q4_0"}, why="Q4_0, widths that are odd multiples of 32"),
    dict(name="qwen2.Q4_K", arch="qwen2", vocab=vocabulary.chatml, embd=256, ff=256, heads=4, kv=2, dim=64, layers=2,
         base=1e6, qkv_bias=True,
         kinds={"attn_output": "Q4_K", "attn_v": "Q6_K", "ffn_down": "Q6_K", "output": "Q6_K", "": "Q4_K"},
         why="Q4_K beside Q6_K: q, k and v joined from different types"),
    dict(name="llama.Q6_K", arch="llama", vocab=vocabulary.llama3, embd=256, ff=256, heads=4, kv=1, dim=64, layers=1,
         base=10000.0, tied=True, kinds={"": "Q6_K"}, why="Q6_K as matrix, embedding and tied head"),
]
# fmt: on


def keys_of(spec, n_vocab):
    arch = spec["arch"]
    keys = {
        "general.architecture": arch,
        "general.name": "golden " + spec["name"],
        f"{arch}.vocab_size": n_vocab,
        f"{arch}.context_length": 512,
        f"{arch}.embedding_length": spec["embd"],
        f"{arch}.block_count": spec["layers"],
        f"{arch}.feed_forward_length": spec["ff"],
        f"{arch}.attention.head_count": spec["heads"],
        f"{arch}.attention.head_count_kv": spec["kv"],
        f"{arch}.attention.layer_norm_rms_epsilon": F32(1e-5),
        f"{arch}.rope.dimension_count": spec["dim"],
        f"{arch}.rope.freq_base": F32(spec["base"]),
    }
    if spec["dim"] * spec["heads"] != spec["embd"]:
        keys |= {f"{arch}.attention.key_length": spec["dim"], f"{arch}.attention.value_length": spec["dim"]}
    if "linear" in spec:
        keys |= {f"{arch}.rope.scaling.type": "linear", f"{arch}.rope.scaling.factor": F32(spec["linear"])}
    return keys


class Weights:
    """Random tensors of sizes at which activations neither vanish nor grow."""

    def __init__(self, spec):
        self.kinds, self.tensors = spec["kinds"], {}
        self.random = np.random.default_rng(zlib.crc32(spec["name"].encode()))

    def matrix(self, name, rows, cols, scale=1.0):
        kind = next(kind for part, kind in self.kinds.items() if part in name)
        self.tensors[name] = (kind, self.random.standard_normal((rows, cols)) * scale / math.sqrt(cols))

    def vector(self, name, n, mean, deviation):
        self.tensors[name] = ("F32", mean + deviation * self.random.standard_normal(n))


def add_layer(w, spec, prefix):
    embd, dim = spec["embd"], spec["dim"]
    q, kv = spec["heads"] * dim, spec["kv"] * dim
    w.vector(prefix + "attn_norm.weight", embd, 1.0, 0.1)
    for which, rows in (("q", q), ("k", kv), ("v", kv)):
        w.matrix(f"{prefix}attn_{which}.weight", rows, embd)
        if spec.get("qkv_bias"):
            w.vector(f"{prefix}attn_{which}.bias", rows, 0.0, 0.3)
    if spec.get("qk_norm"):
        w.vector(prefix + "attn_q_norm.weight", dim, 1.0, 0.2)
        w.vector(prefix + "attn_k_norm.weight", dim, 1.0, 0.2)
    w.matrix(prefix + "attn_output.weight", embd, q)
    if spec.get("out_bias"):
        w.vector(prefix + "attn_output.bias", embd, 0.0, 0.3)
    w.vector(prefix + "ffn_norm.weight", embd, 1.0, 0.1)
    w.matrix(prefix + "ffn_gate.weight", spec["ff"], embd)
    w.matrix(prefix + "ffn_up.weight", spec["ff"], embd)
    w.matrix(prefix + "ffn_down.weight", embd, spec["ff"])


def tensors_of(spec, n_vocab):
    w = Weights(spec)
    # Rows of deviation about 1, like the activations that are added to them.
    w.matrix("token_embd.weight", n_vocab, spec["embd"], math.sqrt(spec["embd"]))
    for layer in range(spec["layers"]):
        add_layer(w, spec, f"blk.{layer}.")
    w.vector("output_norm.weight", spec["embd"], 1.0, 0.1)
    if not spec.get("tied"):
        w.matrix("output.weight", n_vocab, spec["embd"], 2.0)
    if spec.get("factors"):
        half = spec["dim"] // 2
        w.tensors["rope_freqs.weight"] = ("F32", 1.0 + 7.0 * (np.arange(half) / (half - 1)) ** 2)
    return w.tensors


def bound(spec, model, tokens, exact):
    """(largest allowed relative error, why)"""
    kinds = set(spec["kinds"].values())
    if kinds == {"F32"}:
        return 2e-6, "float32 arithmetic against float64"
    if kinds <= {"F16", "BF16"}:
        return 1e-5, "the weights expand exactly; activations stay float32"
    error = relative_error(model.logits(tokens, round_input=True), exact)
    return float(f"{1.5 * error:.2g}"), f"1.5 × what rounding activations to int8 in blocks of 32 costs ({error:.2g})"


def make(spec, folder, tokens):
    vocab_keys = spec["vocab"]()
    n_vocab = len(vocab_keys["tokenizer.ggml.tokens"])
    assert n_vocab >= SHARED_IDS
    path = folder / (spec["name"] + ".gguf")
    gguf_file.write(path, keys_of(spec, n_vocab) | vocab_keys, tensors_of(spec, n_vocab))
    model = Model(*gguf_file.read(path))
    exact = model.logits(tokens)
    exact.astype("<f4").tofile(folder / (spec["name"] + ".logits.f32"))
    limit, reason = bound(spec, model, tokens, exact)
    return {
        "model": path.name,
        "architecture": spec["arch"],
        "type": spec["name"].split(".")[-1],
        "logits": spec["name"] + ".logits.f32",
        "positions": len(tokens),
        "vocab": n_vocab,
        "relative_error": limit,
        "relative_error_reason": reason,
        "covers": spec["why"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=ROOT / "tests/golden/data")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [int(t) for t in np.random.default_rng(7).integers(0, SHARED_IDS, POSITIONS)]
    (folder / "tokens.txt").write_text(" ".join(map(str, tokens)) + "\n")
    manifest = [make(spec, folder, tokens) for spec in MODELS]
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    total = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{len(manifest)} models, {total / 1e6:.2f} MB in {folder}")


if __name__ == "__main__":
    main()
