"""GGUF files taken apart and put together again, sound or not: nothing is checked."""

import dataclasses
import struct

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
U32, I32, F32, BOOL, TEXT, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10


@dataclasses.dataclass
class Tensor:
    name: bytes
    dims: list
    type: int
    offset: int


@dataclasses.dataclass
class File:
    """keys: [name, type, value]; an array's value is (element type, list)."""

    keys: list
    tensors: list
    data: bytes
    fields: list  # (what, from, to) of the bytes that it was read from

    def key(self, name):
        """The first key whose name ends so."""
        return next((one for one in self.keys if one[0].endswith(name)), None)

    def write(self, alignment=32):
        head = struct.pack("<4sIQQ", b"GGUF", 3, len(self.tensors), len(self.keys))
        head += b"".join(_text(name) + struct.pack("<I", kind) + _value(kind, value) for name, kind, value in self.keys)
        for t in self.tensors:
            head += _text(t.name) + struct.pack(f"<I{len(t.dims)}Q", len(t.dims), *t.dims)
            head += struct.pack("<IQ", t.type, t.offset)
        return head + bytes(-len(head) % alignment) + self.data


def _text(raw):
    return struct.pack("<Q", len(raw)) + raw


def _value(kind, value):
    if kind == TEXT:
        return _text(value)
    if kind != ARRAY:
        return struct.pack(SCALARS[kind], value) if kind in SCALARS else value
    element, items = value
    return struct.pack("<IQ", element, len(items)) + b"".join(_value(element, item) for item in items)


class _Reader:
    def __init__(self, raw):
        self.raw, self.at, self.fields = raw, 0, []

    def take(self, what, form):
        value = struct.unpack_from(form, self.raw, self.at)[0]
        size = struct.calcsize(form)
        self.fields.append((what, self.at, self.at + size))
        self.at += size
        return value

    def text(self, what):
        length = self.take(f"{what}: length", "<Q")
        self.fields.append((what, self.at, self.at + length))
        self.at += length
        return self.raw[self.at - length : self.at]

    def value(self, what, kind):
        if kind == TEXT:
            return self.text(what)
        if kind != ARRAY:
            return self.take(what, SCALARS[kind])
        element, count = self.take(f"{what}: element type", "<I"), self.take(f"{what}: count", "<Q")
        return element, [self.value(f"{what}: element", element) for _ in range(count)]


def read(path):
    r = _Reader(path.read_bytes())
    r.take("magic", "<I")
    r.take("version", "<I")
    n_tensors, n_keys = r.take("number of tensors", "<Q"), r.take("number of keys", "<Q")
    keys, tensors = [], []
    for _ in range(n_keys):
        name = r.text("key")
        kind = r.take("type of a value", "<I")
        keys.append([name, kind, r.value("value", kind)])
    for _ in range(n_tensors):
        name, n_dims = r.text("name of a tensor"), r.take("number of dimensions", "<I")
        dims = [r.take("dimension", "<Q") for _ in range(n_dims)]
        tensors.append(Tensor(name, dims, r.take("type of a tensor", "<I"), r.take("offset", "<Q")))
    data = r.raw[r.at + -r.at % 32 :]
    return File(keys, tensors, data, r.fields)
