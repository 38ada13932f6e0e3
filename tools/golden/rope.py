"""Rotary position embeddings: frequencies and magnitudes of all scalings, in float64."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Yarn:
    original_context: int
    fast: float  # turns within the original context: faster pairs are kept,
    slow: float  # slower ones stretched, and between the two it is mixed
    log_multiplier: float


@dataclasses.dataclass(frozen=True)
class Table:
    dims: int  # of the head's values, the first `dims` are rotated
    halves: bool
    base: float
    factors: object  # array that divides the frequencies of the pairs, or None
    stretch: float  # positions are divided by it
    yarn: object  # Yarn or None
    magnitude: float  # times cos and sin

    def frequencies(self):
        own = self.base ** (-2.0 * np.arange(self.dims // 2) / self.dims)
        if self.factors is not None:
            own = own / self.factors
        if self.yarn is None:
            return own / self.stretch
        kept = self._kept_share()
        return own / self.stretch * (1 - kept) + own * kept

    def _kept_share(self):
        def pair_with(turns):
            return self.dims * math.log(self.yarn.original_context / (turns * 2 * math.pi)) / (2 * math.log(self.base))

        low = max(0, math.floor(pair_with(self.yarn.fast)))
        high = min(self.dims - 1, math.ceil(pair_with(self.yarn.slow)))
        return 1 - np.clip((np.arange(self.dims // 2) - low) / max(0.001, high - low), 0, 1)

    def total_magnitude(self):
        def growth(multiplier):
            return 1.0 if self.stretch <= 1 else 1 + 0.1 * multiplier * math.log(self.stretch)

        if self.yarn is None:
            return self.magnitude
        divisor = growth(self.yarn.log_multiplier) if self.yarn.log_multiplier else 1.0
        return self.magnitude * growth(1.0) / divisor

    def rotate(self, x):
        """x: positions × heads × head size, from position 0."""
        angle = np.arange(len(x))[:, None, None] * self.frequencies()
        cos, sin = self.total_magnitude() * np.cos(angle), self.total_magnitude() * np.sin(angle)
        half, out = self.dims // 2, x.copy()
        if self.halves:
            first, second = np.s_[..., :half], np.s_[..., half : 2 * half]
        else:
            first, second = np.s_[..., 0 : 2 * half : 2], np.s_[..., 1 : 2 * half : 2]
        out[first] = x[first] * cos - x[second] * sin
        out[second] = x[first] * sin + x[second] * cos
        return out


def _factors(tensors, context, original_context):
    if "rope_factors_long.weight" in tensors:
        return tensors["rope_factors_long.weight" if context > original_context else "rope_factors_short.weight"]
    return tensors.get("rope_freqs.weight")


def read_table(get, head_dim, halves, tensors, context):
    """get: a key of the architecture by its name, or a default."""
    original = get("rope.scaling.original_context_length", get("context_length"))
    kind = get("rope.scaling.type", "linear")
    stretch = float(get("rope.scaling.factor", get("rope.scale_linear", 0.0))) or 1.0
    yarn = (
        Yarn(
            original,
            float(get("rope.scaling.yarn_beta_fast", 32.0)),
            float(get("rope.scaling.yarn_beta_slow", 1.0)),
            float(get("rope.scaling.yarn_log_multiplier", 0.0)),
        )
        if kind == "yarn"
        else None
    )
    return Table(
        dims=get("rope.dimension_count", head_dim),
        halves=halves,
        base=float(get("rope.freq_base", 10000.0)),
        factors=_factors(tensors, context, original),
        stretch=1.0 if kind == "none" else stretch,
        yarn=yarn,
        magnitude=float(get("rope.scaling.attn_factor", 1.0)),
    )


def plain(table):
    return dataclasses.replace(table, factors=None, stretch=1.0, yarn=None, magnitude=1.0)


def with_base(table, base):
    return dataclasses.replace(table, base=base)
