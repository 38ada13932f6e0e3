"""Random weights that come out the same to the last bit with every numpy: integers of a counter, mixed, and a few products."""

import math
import zlib

import numpy as np

# Irwin and Hall: the sum of four even numbers of 16 bits, so nearly normal.
_MEAN, _DEVIATION = 2 * 65535, 65536 / math.sqrt(3)


def _mixed(counter):
    """SplitMix64 (Steele, Lea, Flood 2014): 64 random bits for each 64-bit counter."""
    z = counter * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _bits(name, n):
    start = np.uint64(zlib.crc32(name.encode()) << 32)
    return _mixed(start + np.arange(1, n + 1, dtype=np.uint64))


def normal(name, shape):
    """Of mean 0 and deviation 1; the name chooses which."""
    words = _bits(name, math.prod(shape)).view("<u2").reshape(-1, 4)
    return ((words.astype(np.int64).sum(axis=1) - _MEAN) / _DEVIATION).reshape(shape)


def below(name, n, limit):
    """n integers from 0 on and below the limit."""
    return (_bits(name, n) >> np.uint64(33)).astype(np.int64) % limit
