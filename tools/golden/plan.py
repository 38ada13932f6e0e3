"""What each architecture does in its layers, as data: the one place where architectures differ.

A `Family` says what the architecture's name implies; `read_plan` adds what the file's keys say. Sources: the models' own
papers and public implementations, and what the GGUF converters of these models write."""

import dataclasses
import math

import rope


@dataclasses.dataclass(frozen=True)
class Family:
    halves: bool = True  # RoPE pairs (i, i + d/2); else (2i, 2i + 1)
    layer_norm: bool = False  # norms subtract the mean
    before_attention: str | None = "attn_norm"  # tensor names of the norms around the two blocks, None: no norm
    after_attention: str | None = None
    before_ffn: str | None = "ffn_norm"
    after_ffn: str | None = None
    parallel: bool = False  # attention and feed-forward both read the first norm's output
    qk_norm: str | None = None  # "head": each head's values, "width": all heads' values together
    activation: str = "silu"  # "silu", "gelu" (its tanh form) or "clamped" (gpt-oss)
    # Which layers see a window. A file's key overrides the default window and period; of `period` layers the last sees all.
    window: int = 0
    period: int = 1
    deep_window: tuple[int, int] = (0, 0)  # (layers, window): the size that has one without a key
    window_base: float | None = None  # RoPE base of windowed layers; None: as the others
    plain_window_rope: bool = False  # no RoPE scaling in windowed layers
    rope_layers: str = "all"  # "all", "windowed" (all where no layer is), "not every fourth"
    scale_by_width: int = 0  # with this many layers scores are divided by √(width / heads), not by √(head size)
    embedding_by_width: bool = False  # embeddings × √width
    score_cap: float = 0.0  # cap · tanh(score / cap); likewise for logits
    logit_cap: float = 0.0
    logit_scale_divides: bool = False
    scaled_blocks: bool = False  # reads embedding_scale, residual_scale, attention.scale
    router: str = "softmax first"  # over all experts, then the best are taken; or "softmax last", over the best
    renormalise: bool = True  # the weights of the experts taken are made to sum to 1
    shared_expert: str = ""  # "", "added", or "gated" by a sigmoid
    expert_width_key: str | None = "expert_feed_forward_length"


_SANDWICH = dict(after_attention="post_attention_norm", after_ffn="post_ffw_norm")
_GEMMA = dict(activation="gelu", embedding_by_width=True, **_SANDWICH)
_GRANITE = dict(
    halves=False, logit_scale_divides=True, scaled_blocks=True, expert_width_key=None, shared_expert="added"
)
_AFTER_ONLY = dict(before_attention=None, before_ffn=None, **_SANDWICH)

FAMILIES = {
    "llama": Family(halves=False, expert_width_key=None),
    "mistral3": Family(halves=False, expert_width_key=None),
    "qwen2": Family(),
    "qwen3": Family(qk_norm="head"),
    "qwen2moe": Family(renormalise=False, shared_expert="gated"),
    "qwen3moe": Family(qk_norm="head"),
    "gemma": Family(activation="gelu", embedding_by_width=True),
    "gemma2": Family(window=4096, period=2, scale_by_width=46, score_cap=50.0, logit_cap=30.0, **_GEMMA),
    "gemma3": Family(
        qk_norm="head", period=6, window_base=10000.0, plain_window_rope=True, scale_by_width=62, **_GEMMA
    ),
    "phi3": Family(period=0),
    "smollm3": Family(halves=False, rope_layers="not every fourth"),
    "granite": Family(**_GRANITE),
    "granitemoe": Family(**_GRANITE),
    "olmo2": Family(qk_norm="width", period=4, plain_window_rope=True, **_AFTER_ONLY),
    "olmoe": Family(qk_norm="width", renormalise=False, expert_width_key=None),
    "glm4": Family(halves=False, **_SANDWICH),
    "exaone4": Family(qk_norm="head", period=4, deep_window=(64, 4096), rope_layers="windowed", **_AFTER_ONLY),
    "cohere2": Family(halves=False, layer_norm=True, before_ffn=None, parallel=True, period=4, rope_layers="windowed"),
    "internlm2": Family(halves=False),
    "ernie4_5": Family(halves=False),
    "seed_oss": Family(before_ffn="post_attention_norm"),
    "gpt-oss": Family(
        before_ffn="post_attention_norm", activation="clamped", period=2, router="softmax last", renormalise=False
    ),
    "pangu-embedded": Family(),
}


@dataclasses.dataclass(frozen=True)
class Layer:
    window: int  # how many positions are seen, itself included; 0: all
    rope: rope.Table | None


@dataclasses.dataclass(frozen=True)
class Plan:
    family: Family
    layers: list[Layer]
    n_heads: int
    n_kv: int
    head_dim: int
    epsilon: float
    score_scale: float
    score_cap: float
    logit_cap: float
    logit_scale: float
    embedding_scale: float
    residual_scale: float
    temperature_scale: float  # q × (1 + this · ln(⌊position / temperature_length⌋ + 1))
    temperature_length: int
    experts_used: int


def _windowed(get, family, n_layers):
    """(window, whether it holds in each layer)"""
    deep_layers, deep_window = family.deep_window
    window = get("attention.sliding_window", deep_window if n_layers == deep_layers else family.window)
    pattern = get("attention.sliding_window_pattern", family.period)
    if not window:
        return 0, [False] * n_layers
    if isinstance(pattern, list):
        return window, [bool(x) for x in pattern]
    return window, [pattern == 0 or layer % pattern < pattern - 1 for layer in range(n_layers)]


def _has_rope(get, family, layer, windowed):
    if not get("rope.scaling.finetuned", True) and family.scaled_blocks:
        return False
    if family.rope_layers == "not every fourth":
        return (layer + 1) % 4 != 0
    return family.rope_layers == "all" or windowed[layer] or not any(windowed)


def _layers(get, family, head_dim, factors, context):
    n_layers = get("block_count")
    window, windowed = _windowed(get, family, n_layers)
    full = rope.read_table(get, head_dim, family.halves, factors, context)
    base = get("rope.freq_base_swa", family.window_base)
    local = rope.plain(full) if family.plain_window_rope else full
    local = local if base is None else rope.with_base(local, float(base))
    return [
        Layer(
            window if windowed[i] else 0,
            (local if windowed[i] else full) if _has_rope(get, family, i, windowed) else None,
        )
        for i in range(n_layers)
    ]


def read_plan(keys, tensors, context):
    """context: positions the run has room for, which chooses between long and short RoPE factors."""
    arch = keys["general.architecture"]
    family = FAMILIES[arch]

    def get(name, default=None):
        return keys.get(f"{arch}.{name}", default)

    width, n_heads = get("embedding_length"), get("attention.head_count")
    head_dim = get("attention.key_length", width // n_heads)
    by_width = family.scale_by_width == get("block_count")
    score_scale = 1 / math.sqrt(width // n_heads if by_width else head_dim)
    embedding_scale = math.sqrt(width) if family.embedding_by_width else 1.0
    residual_scale, logit_scale = 1.0, float(get("logit_scale", 1.0))
    if family.scaled_blocks:
        score_scale = float(get("attention.scale") or score_scale)
        embedding_scale = float(get("embedding_scale") or 1.0)
        residual_scale = float(get("residual_scale") or 1.0)
    epsilon = get("attention.layer_norm_epsilon" if family.layer_norm else "attention.layer_norm_rms_epsilon")
    return Plan(
        family=family,
        layers=_layers(get, family, head_dim, tensors, context),
        n_heads=n_heads,
        n_kv=get("attention.head_count_kv", n_heads),
        head_dim=head_dim,
        epsilon=float(epsilon),
        score_scale=score_scale,
        score_cap=float(get("attn_logit_softcapping", family.score_cap)) if family.score_cap else 0.0,
        logit_cap=float(get("final_logit_softcapping", family.logit_cap)) if family.embedding_by_width else 0.0,
        logit_scale=1 / logit_scale if family.logit_scale_divides else logit_scale,
        embedding_scale=embedding_scale,
        residual_scale=residual_scale,
        temperature_scale=float(get("attention.temperature_scale", 0.0)) if arch == "mistral3" else 0.0,
        temperature_length=get("rope.scaling.original_context_length", get("context_length")),
        experts_used=get("expert_used_count", 0),
    )
