"""GGUF version 3, written and read in the few lines the golden set needs."""

import struct

import numpy as np

import quantise

ALIGNMENT = 32
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _ARRAY = 8, 9


class F32(float):
    """A key's value to be written as f32."""


def _text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value):
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, F32):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return _TEXT, _text(value)
    if isinstance(value, np.ndarray):
        element = {"int32": 5, "float32": 6, "bool": 7}[value.dtype.name]
        return _ARRAY, struct.pack("<IQ", element, len(value)) + value.tobytes()
    items = b"".join(_text(item) for item in value)
    return _ARRAY, struct.pack("<IQ", _TEXT, len(value)) + items


def write(path, keys, tensors):
    """keys: {name: value}; tensors: {name: (type name, float64 array, last axis contiguous)}."""
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(keys))]
    for name, value in keys.items():
        kind, raw = _value(value)
        head.append(_text(name) + struct.pack("<I", kind) + raw)
    data = bytearray()
    for name, (kind, array) in tensors.items():
        dims = array.shape[::-1]
        head.append(
            _text(name)
            + struct.pack("<I", len(dims))
            + struct.pack(f"<{len(dims)}Q", *dims)
            + struct.pack("<IQ", quantise.TYPES[kind][0], len(data))
        )
        data += quantise.encode(kind, array)
        data += bytes(-len(data) % ALIGNMENT)
    head = b"".join(head)
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % ALIGNMENT) + bytes(data))


class _Cursor:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def unpack(self, form):
        values = struct.unpack_from(form, self.raw, self.at)
        self.at += struct.calcsize(form)
        return values[0] if len(values) == 1 else values

    def text(self):
        length = self.unpack("<Q")
        self.at += length
        return self.raw[self.at - length : self.at].decode("utf-8", "replace")

    def value(self, kind):
        if kind == _TEXT:
            return self.text()
        if kind != _ARRAY:
            return self.unpack(_SCALARS[kind])
        element, count = self.unpack("<IQ")
        return [self.value(element) for _ in range(count)]


class Unsupported(Exception):
    """The file has a tensor of a type that quantise.py does not know."""


def read(path):
    """(keys, tensors, kinds): tensors as float64 arrays, decoded exactly, and the names of their types."""
    with open(path, "rb") as f:
        c = _Cursor(f.read())
    assert c.raw[:4] == b"GGUF"
    c.at = 4
    _, n_tensors, n_keys = c.unpack("<IQQ")
    keys = {}
    for _ in range(n_keys):
        name = c.text()
        keys[name] = c.value(c.unpack("<I"))
    infos = []
    for _ in range(n_tensors):
        name, n_dims = c.text(), c.unpack("<I")
        dims = [c.unpack("<Q") for _ in range(n_dims)]
        infos.append((name, dims, *c.unpack("<IQ")))
    alignment = keys.get("general.alignment", ALIGNMENT)
    begin = c.at + -c.at % alignment
    tensors, kinds = {}, {}
    for name, dims, kind, offset in infos:
        if kind not in quantise.NAME_OF_ID:
            raise Unsupported(f"type {kind}")
        kind = kinds[name] = quantise.NAME_OF_ID[kind]
        _, block, block_bytes = quantise.TYPES[kind]
        size = int(np.prod(dims)) // block * block_bytes
        tensors[name] = quantise.decode(kind, c.raw[begin + offset : begin + offset + size], dims[::-1])
    return keys, tensors, kinds
