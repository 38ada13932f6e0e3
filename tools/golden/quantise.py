"""The eight weight types: numpy float64 rows to the file's bytes and back.

Quantising is plain rounding to the nearest level; it only has to be valid, not good. Decoding is exact:
it is the definition that the reference logits are computed from."""

import numpy as np

# name: (id in the file, values a block, bytes a block)
TYPES = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "BF16": (30, 1, 2),
    "Q8_0": (8, 32, 34),
    "Q4_0": (2, 32, 18),
    "Q4_K": (12, 256, 144),
    "Q6_K": (14, 256, 210),
    "MXFP4": (39, 32, 17),
}
FLOAT_TYPES = {"F32", "F16", "BF16"}  # multiplied with activations that stay float32
NAME_OF_ID = {row[0]: name for name, row in TYPES.items()}


def _f16(x):
    return np.asarray(x).astype("<f2")


def _round_div(x, d):
    """round(x / d), 0 where d is 0."""
    return np.rint(np.divide(x, d, out=np.zeros_like(x), where=d != 0))


def _bytes(*parts):
    """Joins byte matrices of equal height into one stream of blocks."""
    return np.concatenate([np.ascontiguousarray(p).view(np.uint8) for p in parts], axis=1).tobytes()


# ---- F32, F16, BF16 ----------------------------------------------------------------------------


def _bf16_encode(x):
    bits = x.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def _bf16_decode(raw):
    return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)


# ---- blocks of 32 ------------------------------------------------------------------------------


def _q8_0_encode(x):
    x = x.reshape(-1, 32)
    d = _f16(np.abs(x).max(axis=1, keepdims=True) / 127)
    q = np.clip(_round_div(x, d.astype(np.float64)), -127, 127).astype(np.int8)
    return _bytes(d, q)


def _q8_0_decode(raw):
    b = np.frombuffer(raw, np.uint8).reshape(-1, 34)
    d = np.ascontiguousarray(b[:, :2]).view("<f2").astype(np.float64)
    return (d * np.ascontiguousarray(b[:, 2:]).view(np.int8)).ravel()


def _q4_0_encode(x):
    x = x.reshape(-1, 32)
    extreme = np.take_along_axis(x, np.abs(x).argmax(axis=1)[:, None], axis=1)
    d = _f16(extreme / -8)  # the value of largest magnitude becomes level 0, which is -8
    q = np.clip(_round_div(x, d.astype(np.float64)) + 8, 0, 15).astype(np.uint8)
    return _bytes(d, q[:, :16] | q[:, 16:] << 4)


def _q4_0_decode(raw):
    b = np.frombuffer(raw, np.uint8).reshape(-1, 18)
    d = np.ascontiguousarray(b[:, :2]).view("<f2").astype(np.float64)
    q = np.concatenate([b[:, 2:] & 15, b[:, 2:] >> 4], axis=1)
    return (d * (q.astype(np.float64) - 8)).ravel()


# A block has one exponent of base two (a byte, 127 is 0); a level is a sign and one of these, halved.
_MXFP4_LEVELS = np.array([0, 1, 2, 3, 4, 6, 8, 12], np.float64)


def _mxfp4_encode(x):
    x = x.reshape(-1, 32)
    largest = np.abs(x).max(axis=1, keepdims=True)
    exponent = np.where(
        largest > 0, np.frexp(largest)[1] - 3, 0
    )  # the largest becomes a level of 4 to 6, or a bit more
    levels = np.ldexp(np.abs(x), 1 - exponent)
    middles = (_MXFP4_LEVELS[1:] + _MXFP4_LEVELS[:-1]) / 2
    q = np.searchsorted(middles, levels).astype(np.uint8) | (x < 0).astype(np.uint8) << 3
    return _bytes((exponent + 127).astype(np.uint8), q[:, :16] | q[:, 16:] << 4)


def _mxfp4_decode(raw):
    b = np.frombuffer(raw, np.uint8).reshape(-1, 17)
    q = np.concatenate([b[:, 1:] & 15, b[:, 1:] >> 4], axis=1)
    value = _MXFP4_LEVELS[q & 7] * np.where(q & 8, -1.0, 1.0)
    return np.ldexp(value, b[:, :1].astype(np.int64) - 128).ravel()


# ---- blocks of 256 -----------------------------------------------------------------------------


def _q4_k_pack_scales(sc, m):
    out = np.zeros((len(sc), 12), np.uint8)
    for j in range(4):
        out[:, j] = sc[:, j] | (sc[:, j + 4] >> 4) << 6
        out[:, j + 4] = m[:, j] | (m[:, j + 4] >> 4) << 6
        out[:, j + 8] = (sc[:, j + 4] & 15) | (m[:, j + 4] & 15) << 4
    return out


def _q4_k_unpack_scales(q):
    sc, m = np.zeros((len(q), 8), np.uint8), np.zeros((len(q), 8), np.uint8)
    for j in range(8):
        if j < 4:
            sc[:, j], m[:, j] = q[:, j] & 63, q[:, j + 4] & 63
        else:
            sc[:, j] = (q[:, j + 4] & 15) | (q[:, j - 4] >> 6) << 4
            m[:, j] = q[:, j + 4] >> 4 | (q[:, j] >> 6) << 4
    return sc, m


def _q4_k_encode(x):
    x = x.reshape(-1, 8, 32)
    low = np.minimum(x.min(axis=2), 0)
    step = (x.max(axis=2) - low) / 15
    d, dmin = _f16(step.max(axis=1, keepdims=True) / 63), _f16(-low.min(axis=1, keepdims=True) / 63)
    sc = np.clip(_round_div(step, d.astype(np.float64)), 0, 63).astype(np.uint8)
    m = np.clip(_round_div(-low, dmin.astype(np.float64)), 0, 63).astype(np.uint8)
    scale, minimum = d.astype(np.float64) * sc, dmin.astype(np.float64) * m
    q = np.clip(_round_div(x + minimum[:, :, None], np.broadcast_to(scale[:, :, None], x.shape)), 0, 15)
    q = q.astype(np.uint8)
    return _bytes(d, dmin, _q4_k_pack_scales(sc, m), (q[:, 0::2] | q[:, 1::2] << 4).reshape(-1, 128))


def _q4_k_decode(raw):
    b = np.frombuffer(raw, np.uint8).reshape(-1, 144)
    d = np.ascontiguousarray(b[:, :2]).view("<f2").astype(np.float64)
    dmin = np.ascontiguousarray(b[:, 2:4]).view("<f2").astype(np.float64)
    sc, m = _q4_k_unpack_scales(b[:, 4:16])
    nibbles = b[:, 16:].reshape(-1, 4, 32)
    q = np.empty((len(b), 8, 32))
    q[:, 0::2], q[:, 1::2] = nibbles & 15, nibbles >> 4
    return ((d * sc)[:, :, None] * q - (dmin * m)[:, :, None]).ravel()


def _q6_k_encode(x):
    x = x.reshape(-1, 16, 16)
    step = np.abs(x).max(axis=2) / 31
    d = _f16(step.max(axis=1, keepdims=True) / 127)
    sc = np.clip(_round_div(step, d.astype(np.float64)), 0, 127).astype(np.int8)
    scale = np.broadcast_to((d.astype(np.float64) * sc)[:, :, None], x.shape)
    q = (np.clip(_round_div(x, scale), -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    low, high = q & 15, q >> 4
    ql = np.stack([low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4], axis=2)
    qh = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    return _bytes(ql.reshape(-1, 128), qh.reshape(-1, 64), sc, d)


def _q6_k_decode(raw):
    b = np.frombuffer(raw, np.uint8).reshape(-1, 210)
    ql, qh = b[:, :128].reshape(-1, 2, 2, 32), b[:, 128:192].reshape(-1, 2, 32)
    sc = np.ascontiguousarray(b[:, 192:208]).view(np.int8).astype(np.float64)
    d = np.ascontiguousarray(b[:, 208:]).view("<f2").astype(np.float64)
    q = np.empty((len(b), 2, 4, 32))
    for part in range(4):
        nibble = ql[:, :, part & 1] >> (4 * (part >> 1)) & 15
        q[:, :, part] = nibble | (qh >> (2 * part) & 3) << 4
    return ((d * sc)[:, :, None] * (q.reshape(-1, 16, 16) - 32)).ravel()


_CODECS = {
    "F32": (lambda x: x.astype("<f4").tobytes(), lambda raw: np.frombuffer(raw, "<f4").astype(np.float64)),
    "F16": (lambda x: _f16(x).tobytes(), lambda raw: np.frombuffer(raw, "<f2").astype(np.float64)),
    "BF16": (_bf16_encode, _bf16_decode),
    "Q8_0": (_q8_0_encode, _q8_0_decode),
    "Q4_0": (_q4_0_encode, _q4_0_decode),
    "Q4_K": (_q4_k_encode, _q4_k_decode),
    "Q6_K": (_q6_k_encode, _q6_k_decode),
    "MXFP4": (_mxfp4_encode, _mxfp4_decode),
}


def encode(name, values):
    """Float64 values (rows of whole blocks) to the file's bytes."""
    block = TYPES[name][1]
    assert values.shape[-1] % block == 0, (name, values.shape)
    return _CODECS[name][0](np.asarray(values, np.float64))


def decode(name, raw, shape):
    """The file's bytes to float64 values of this shape."""
    return _CODECS[name][1](raw).reshape(shape)


def round_activations(x):
    """x as int8 in blocks of 32 with one f32 scale each: what integer kernels multiply with. The error
    this alone makes is where the bounds of quantised types in the manifest come from."""
    b = x.reshape(x.shape[:-1] + (-1, 32))
    d = (np.abs(b).max(axis=-1, keepdims=True) / 127).astype(np.float32).astype(np.float64)
    return (_round_div(b, np.broadcast_to(d, b.shape)) * d).reshape(x.shape)


def rounded(name, x):
    """x as it comes back from this type."""
    return decode(name, encode(name, x), x.shape)
