"""A small GGUF writer and reader: what the demo pair needs (F32 and Q8_0 tensors, strings, numbers, arrays)."""

import struct

import numpy as np

F32, Q8_0 = 0, 8
U32, I32, FLOAT, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
ALIGN = 32


def quantize(x):
    """Q8_0: blocks of 32 as an f16 scale and 32 signed bytes."""
    b = x.astype(np.float32).reshape(-1, 32)
    d = np.abs(b).max(1, keepdims=True) / 127
    inverse = np.divide(1.0, d, out=np.zeros_like(d), where=d > 0)
    q = np.rint(b * inverse).astype(np.int8)
    out = np.empty(len(b), dtype=[("d", "<f2"), ("q", "i1", 32)])
    out["d"], out["q"] = d[:, 0].astype(np.float16), q
    return out.tobytes()


def dequantize(data, count):
    b = np.frombuffer(data, dtype=[("d", "<f2"), ("q", "i1", 32)], count=count // 32)
    return (b["d"].astype(np.float32)[:, None] * b["q"].astype(np.float32)).reshape(-1)


def _string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def _value(v):
    """(type id, bytes) of a Python value; integers are u32 but for lists, which are i32."""
    if isinstance(v, bool):
        return BOOL, struct.pack("<?", v)
    if isinstance(v, int):
        return U32, struct.pack("<I", v)
    if isinstance(v, float):
        return FLOAT, struct.pack("<f", v)
    if isinstance(v, str):
        return STRING, _string(v)
    kind = STRING if isinstance(v[0], str) else I32
    body = b"".join(_string(s) if kind == STRING else struct.pack("<i", s) for s in v)
    return ARRAY, struct.pack("<IQ", kind, len(v)) + body


def write(path, keys, tensors):
    """tensors: {name: float array}; vectors are stored as F32, matrices as Q8_0."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for k, v in keys.items():
        kind, body = _value(v)
        head += _string(k) + struct.pack("<I", kind) + body
    blobs, offset = [], 0
    for name, x in tensors.items():
        kind = F32 if x.ndim == 1 else Q8_0
        data = x.astype("<f4").tobytes() if kind == F32 else quantize(x)
        head += _string(name) + struct.pack("<I", x.ndim)
        head += struct.pack(f"<{x.ndim}Q", *reversed(x.shape)) + struct.pack("<IQ", kind, offset)
        pad = -len(data) % ALIGN
        blobs.append(data + bytes(pad))
        offset += len(data) + pad
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % ALIGN))
        f.writelines(blobs)


def read(path):
    """(keys, {name: float32 array}) with the weights dequantised."""
    with open(path, "rb") as f:
        data = f.read()
    at = 0

    def take(fmt):
        nonlocal at
        v = struct.unpack_from("<" + fmt, data, at)
        at += struct.calcsize("<" + fmt)
        return v[0]

    def string():
        nonlocal at
        n = take("Q")
        at += n
        return data[at - n : at].decode()

    def value(kind):
        if kind == ARRAY:
            inner, n = take("I"), take("Q")
            return [value(inner) for _ in range(n)]
        if kind == STRING:
            return string()
        return take({U32: "I", I32: "i", FLOAT: "f", BOOL: "?"}[kind])

    assert data[:4] == b"GGUF"
    at = 4
    assert take("I") == 3
    n_tensors, n_keys = take("Q"), take("Q")
    keys = {}
    for _ in range(n_keys):
        k = string()
        keys[k] = value(take("I"))
    infos = []
    for _ in range(n_tensors):
        name = string()
        shape = [take("Q") for _ in range(take("I"))]
        infos.append((name, shape[::-1], take("I"), take("Q")))
    base = (at + ALIGN - 1) // ALIGN * ALIGN
    tensors = {}
    for name, shape, kind, offset in infos:
        n = int(np.prod(shape))
        part = data[base + offset :]
        x = np.frombuffer(part, "<f4", n) if kind == F32 else dequantize(part, n)
        tensors[name] = x.reshape(shape)
    return keys, tensors
