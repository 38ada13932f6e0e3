"""The models of families.py: for each architecture at least two, small, with every property it has in use.

Shapes: `layers`, `embd`, `heads`, `kv`, `dim`, `ff`, and for experts `experts`, `used`, `shared_ff`. `keys` are written as they
stand, behind the architecture's name. Windows are shorter than the positions that are computed, and original contexts too where a
scaling looks at them."""

import dataclasses
import typing

import numpy as np

import vocabulary
from gguf_file import F32


@dataclasses.dataclass(frozen=True)
class Spec:
    name: str
    arch: str
    why: str
    seed: int = 1
    layers: int = 2
    embd: int = 64
    heads: int = 4
    kv: int = 2
    dim: int = 32
    ff: int = 256
    experts: int = 0
    used: int = 0
    shared_ff: int = 0
    vocab: typing.Callable = vocabulary.llama3
    context: int = 512
    base: float = 10000.0
    tied: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    fused_qkv: bool = False
    fused_ffn: bool = False
    factors: tuple[str, ...] = ()
    embedding_size: float = 1.0  # deviation of the embeddings' values
    after_norm: float = 1.0  # mean weight of the norms after the blocks
    only_f16: bool = False
    keys: dict = dataclasses.field(default_factory=dict)


def _yarn(factor, original, **more):
    return {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": F32(factor),
        "rope.scaling.original_context_length": original,
        **{f"rope.scaling.yarn_{name}": F32(value) for name, value in more.items()},
    }


def _pattern(text):
    """'LLG': two layers with a window (local), then one without (global)"""
    return np.array([letter == "L" for letter in text])


_SQUARE = dict(heads=2, kv=1, dim=32, embd=64)  # for architectures whose heads make up the width
_ODD_SQUARE = dict(heads=3, kv=1, dim=32, embd=96)
_GEMMA = dict(vocab=vocabulary.sentencepiece, tied=True, embedding_size=0.35)

# fmt: off
SPECS = [
    Spec("llama-yarn", "llama", "YaRN of an original context longer than what is computed", dim=64, heads=2, kv=1,
         keys=_yarn(4.0, 1024)),
    Spec("llama-yarn-short", "llama", "YaRN past its original context, biases, a factor for attention", tied=True,
         qkv_bias=True, out_bias=True, keys=_yarn(8.0, 32) | {"rope.scaling.attn_factor": F32(0.9)}),
    Spec("llama-factors", "llama", "rope_freqs of Llama 3, heads that are not the width", base=500000.0,
         factors=("rope_freqs",)),
    Spec("llama-linear", "llama", "linear RoPE scaling", kv=1, keys={"rope.scaling.type": "linear",
                                                                     "rope.scaling.factor": F32(4.0)}),

    Spec("mistral3-a", "mistral3", "temperature by position, YaRN with its own bounds, magnitude cancelled", base=1e6,
         keys=_yarn(16.0, 24, beta_fast=1.0, beta_slow=0.25, log_multiplier=1.0)
         | {"attention.temperature_scale": F32(0.3)}),
    Spec("mistral3-b", "mistral3", "YaRN with a part of the magnitude cancelled, no temperature, tied", tied=True, kv=1,
         keys=_yarn(4.0, 256, beta_fast=16.0, beta_slow=2.0, log_multiplier=0.5)),

    Spec("qwen2-a", "qwen2", "biases of q, k, v", vocab=vocabulary.chatml, base=1e6, qkv_bias=True, tied=True, **_SQUARE),
    Spec("qwen2-b", "qwen2", "YaRN, as its long contexts have it", vocab=vocabulary.chatml, base=1e6, qkv_bias=True,
         keys=_yarn(4.0, 512), **_ODD_SQUARE),
    Spec("qwen3-a", "qwen3", "norms of q and k by head", vocab=vocabulary.chatml, base=1e6, tied=True),
    Spec("qwen3-b", "qwen3", "YaRN, heads of 64", vocab=vocabulary.chatml, base=1e6, heads=4, kv=1, dim=64,
         keys=_yarn(4.0, 512)),
    Spec("qwen2moe-a", "qwen2moe", "4 experts of which 2, not renormalised; one shared, behind a sigmoid",
         vocab=vocabulary.chatml, base=1e6, qkv_bias=True, embedding_size=4.0, seed=12, experts=4, used=2, shared_ff=256,
         **_SQUARE),
    Spec("qwen2moe-b", "qwen2moe", "5 experts of which 3, a wider shared one", vocab=vocabulary.chatml, base=1e6,
         qkv_bias=True, embedding_size=4.0, seed=23, experts=5, used=3, ff=128, shared_ff=512, **_SQUARE),
    Spec("qwen3moe-a", "qwen3moe", "8 experts of which 3, renormalised", vocab=vocabulary.chatml, base=1e6,
         embedding_size=4.0, seed=20, experts=8, used=3, ff=64),
    Spec("qwen3moe-b", "qwen3moe", "4 experts of which 2, tied", vocab=vocabulary.chatml, base=1e6, embedding_size=4.0,
         seed=6, experts=4, used=2, kv=1, tied=True),

    Spec("gemma-a", "gemma", "GELU, embeddings multiplied with the root of their width", **_GEMMA),
    Spec("gemma-b", "gemma", "heads that are not the width, one of keys and values", heads=2, kv=1, dim=64, **_GEMMA),
    Spec("gemma2-a", "gemma2", "small caps of scores and logits, every second layer with a window", layers=4,
         keys={"attn_logit_softcapping": F32(2.0), "final_logit_softcapping": F32(4.0), "attention.sliding_window": 16},
         **_GEMMA),
    Spec("gemma2-b", "gemma2", "caps of 50 and 30 without keys", layers=3, kv=1,
         keys={"attention.sliding_window": 24}, **_GEMMA),
    Spec("gemma2-46-layers", "gemma2", "scores scaled by width / heads, as in the largest", layers=46, embd=32, heads=2,
         kv=1, ff=64, after_norm=0.3, only_f16=True, keys={"attention.sliding_window": 16}, **_GEMMA),
    Spec("gemma3-a", "gemma3", "five layers with a window and RoPE of their own, then one without and with scaled RoPE",
         layers=7, base=1e6, keys={"attention.sliding_window": 16, "rope.scaling.type": "linear",
                                   "rope.scaling.factor": F32(8.0)}, **_GEMMA),
    Spec("gemma3-b", "gemma3", "pattern and second RoPE base from the file, a cap of logits, a head of its own", layers=4,
         kv=1, base=500000.0, keys={"attention.sliding_window": 24, "attention.sliding_window_pattern": _pattern("LGLG"),
                                    "rope.freq_base_swa": F32(5000.0), "final_logit_softcapping": F32(5.0)},
         **_GEMMA | dict(tied=False)),
    Spec("gemma3-62-layers", "gemma3", "scores scaled by width / heads, as in the largest", layers=62, embd=32, heads=2,
         kv=1, ff=64, base=1e6, after_norm=0.3, only_f16=True, keys={"attention.sliding_window": 16}, **_GEMMA),

    Spec("phi3-long", "phi3", "long RoPE factors and their magnitude, fused matrices", vocab=vocabulary.sentencepiece,
         fused_qkv=True, fused_ffn=True, factors=("rope_factors_long", "rope_factors_short"),
         keys={"rope.scaling.original_context_length": 32, "rope.scaling.attn_factor": F32(1.19),
               "attention.sliding_window": 0}, **_SQUARE),
    Spec("phi3-short", "phi3", "short RoPE factors on a part of each head, a window in all layers", fused_qkv=True,
         fused_ffn=True, factors=("rope_factors_long", "rope_factors_short"),
         keys={"rope.scaling.original_context_length": 512, "rope.scaling.attn_factor": F32(0.95),
               "rope.dimension_count": 24, "attention.sliding_window": 20}, **_ODD_SQUARE),
    Spec("smollm3-a", "smollm3", "every fourth layer without RoPE", layers=5, base=5e6, tied=True),
    Spec("smollm3-b", "smollm3", "YaRN, the last layer without RoPE", layers=4, kv=1, base=5e6, keys=_yarn(2.0, 64)),
    Spec("granite-a", "granite", "scales of embeddings, blocks, scores and logits", tied=True, embedding_size=0.4,
         keys={"embedding_scale": F32(3.0), "residual_scale": F32(0.4), "attention.scale": F32(0.3),
               "logit_scale": F32(2.5)}, **_SQUARE),
    Spec("granite-b", "granite", "no RoPE where the file says so, logits divided by their scale alone",
         keys={"rope.scaling.finetuned": False, "logit_scale": F32(0.7)}, **_ODD_SQUARE),
    Spec("granitemoe-a", "granitemoe", "4 experts of which 2, and the four scales", tied=True, seed=10, experts=4,
         used=2, keys={"embedding_scale": F32(3.0), "residual_scale": F32(0.5), "attention.scale": F32(0.25),
                       "logit_scale": F32(2.0)}, **_SQUARE),
    Spec("granitemoe-b", "granitemoe", "6 experts of which 3 beside a shared one", embedding_size=2.5, seed=31, experts=6,
         used=3, ff=64, shared_ff=256,
         keys={"embedding_scale": F32(1.5), "residual_scale": F32(0.6), "attention.scale": F32(0.15),
               "logit_scale": F32(1.5)}, **_ODD_SQUARE),
    Spec("olmo2-a", "olmo2", "norms after the blocks only, of q and k over their whole width", base=500000.0, **_SQUARE),
    Spec("olmo2-b", "olmo2", "windows in three of four layers, where YaRN does not hold (OLMo 3)", layers=4, base=500000.0,
         keys=_yarn(8.0, 256) | {"attention.sliding_window": 16, "attention.sliding_window_pattern": _pattern("LLLG")},
         **_ODD_SQUARE),
    Spec("olmoe-a", "olmoe", "norms of q and k over their whole width, 4 experts of which 2, not renormalised",
         embedding_size=4.0, seed=12, experts=4, used=2, **_SQUARE | dict(kv=2)),
    Spec("olmoe-b", "olmoe", "6 experts of which 3", embedding_size=4.0, seed=8, experts=6, used=3, ff=64,
         **_ODD_SQUARE | dict(kv=3)),
    Spec("glm4-a", "glm4", "norms before and after the blocks, half of each head rotated, biases", qkv_bias=True,
         fused_ffn=True, keys={"rope.dimension_count": 16}),
    Spec("glm4-b", "glm4", "no biases, another share of each head", fused_ffn=True, heads=2, kv=1, dim=64,
         keys={"rope.dimension_count": 32}),
    Spec("exaone4-a", "exaone4", "no windows: RoPE with factors in all layers", base=1e6, tied=True,
         factors=("rope_freqs",), **_SQUARE),
    Spec("exaone4-b", "exaone4", "windows in three of four layers, RoPE in these only", layers=5, base=1e6,
         keys={"attention.sliding_window": 20, "attention.sliding_window_pattern": _pattern("LLLGL")}, **_ODD_SQUARE),
    Spec("exaone4-64-layers", "exaone4", "the period that the largest has without a key", layers=64, embd=32, heads=1, kv=1,
         ff=64, base=1e6, after_norm=0.3, only_f16=True, keys={"attention.sliding_window": 16}),
    Spec("cohere2-a", "cohere2", "one LayerNorm before both blocks, windows in three of four layers, RoPE in these only",
         layers=4, base=50000.0, tied=True, keys={"attention.sliding_window": 16, "logit_scale": F32(0.25),
                                                  "rope.scaling.type": "none"}, **_SQUARE),
    Spec("cohere2-b", "cohere2", "every second layer with a window", layers=3, base=50000.0, tied=True,
         keys={"attention.sliding_window": 24, "attention.sliding_window_pattern": 2, "logit_scale": F32(0.0625)},
         **_ODD_SQUARE),
    Spec("internlm2-a", "internlm2", "linear RoPE scaling", base=1e6, keys={"rope.scaling.type": "linear",
                                                                            "rope.scaling.factor": F32(2.0)}, **_SQUARE),
    Spec("internlm2-b", "internlm2", "biases of q, k and v", base=1e6, qkv_bias=True, **_ODD_SQUARE),
    Spec("ernie4-5-a", "ernie4_5", "heads that are not the width, tied", base=500000.0, tied=True),
    Spec("ernie4-5-b", "ernie4_5", "biases of q, k and v", base=500000.0, kv=1, qkv_bias=True),
    Spec("seed-oss-a", "seed_oss", "the norm before the network under another name, biases", base=1e7, qkv_bias=True),
    Spec("seed-oss-b", "seed_oss", "heads that are not the width, tied", base=1e7, heads=2, kv=1, dim=64, tied=True),
    Spec("gpt-oss-a", "gpt-oss", "sinks, windows in every second layer, YaRN, 4 experts of which 2 with biases",
         embedding_size=10.0, seed=9, layers=4,
         ff=64, experts=4, used=2, base=150000.0, qkv_bias=True, out_bias=True,
         keys=_yarn(32.0, 4096) | {"attention.sliding_window": 16}),
    Spec("gpt-oss-b", "gpt-oss", "7 experts of which 3, an odd number of layers, YaRN of a short context",
         embedding_size=10.0, seed=39, layers=3, ff=96,
         experts=7, used=3, heads=2, kv=1, dim=64, base=150000.0, qkv_bias=True, out_bias=True,
         keys=_yarn(4.0, 64) | {"attention.sliding_window": 24}),
    Spec("pangu-a", "pangu-embedded", "biases of all four attention matrices", vocab=vocabulary.sentencepiece,
         qkv_bias=True, out_bias=True, **_SQUARE),
    Spec("pangu-b", "pangu-embedded", "heads that are not the width, tied", vocab=vocabulary.sentencepiece, qkv_bias=True,
         out_bias=True, tied=True),
]
# fmt: on
