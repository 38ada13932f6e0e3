"""Files that are wrong, always the same ones for a seed: each is (what was done, {name: bytes}, the file to be named).

Bytes where they stand (`bits`, `fields`, `cuts`), what a model says of itself (`numbers`, `keys`), its tokenizer, its
tensors, and sets of files that are one model (`sets`).
"""

import copy
import math
import struct

import layout

EXTREMES = [
    0,
    1,
    2,
    3,
    7,
    255,
    2**16 - 1,
    2**24 + 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
]
FLOATS = [0.0, -1.0, math.nan, math.inf, -math.inf, 1e-45, 3.4e38]
SIZES = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}
NUMBERS = [layout.U32, layout.I32, layout.U64, 2, 3, 11]


def _one(what, raw):
    return what, {"model.gguf": raw}, "model.gguf"


def bits(random, raw, file):
    header = file.fields[-1][2]
    changed = bytearray(raw)
    n = random.choice([1, 1, 2, 8, 64])
    for _ in range(n):
        changed[random.randrange(4, header)] ^= 1 << random.randrange(8)
    return _one(f"{n} bits of the header", bytes(changed))


def fields(random, raw, file):
    """A number where one stands, of every kind of field alike."""
    what = random.choice(sorted({one[0] for one in file.fields}))
    _, begin, end = random.choice([one for one in file.fields if one[0] == what])
    changed = bytearray(raw)
    form = SIZES.get(end - begin)
    if form and random.random() < 0.8:
        value = random.choice(EXTREMES) % 2 ** (8 * (end - begin))
        changed[begin:end] = struct.pack(form, value)
        return _one(f"{what}: {value}", bytes(changed))
    changed[begin:end] = random.randbytes(end - begin)
    return _one(f"{what}: anything", bytes(changed))


def cuts(random, raw, file):
    what, begin, end = random.choice(file.fields)
    at = random.choice([begin, end, (begin + end) // 2])
    if random.random() < 0.2:
        at, what = random.randrange(file.fields[-1][2], len(raw)), "weights"
    return _one(f"cut at {what}, {at} bytes", raw[:at])


def _set(key, kind, value):
    key[1], key[2] = kind, value


def numbers(random, raw, file):
    """What the model says of its shape, at the ends of what can be written."""
    file = copy.deepcopy(file)
    shape = [one for one in file.keys if one[1] in layout.SCALARS and b"tokenizer" not in one[0]]
    key = random.choice(shape)
    if key[1] == layout.F32 and random.random() < 0.7:
        _set(key, layout.F32, random.choice(FLOATS))
    else:
        kind = layout.BOOL if key[1] == layout.BOOL else random.choice(NUMBERS)
        size = struct.calcsize(layout.SCALARS[kind])
        value = random.choice(EXTREMES) % 2 ** (8 * size)
        _set(
            key,
            kind,
            value - 2 ** (8 * size) if kind in (layout.I32, 3, 11) and value >= 2 ** (8 * size - 1) else value,
        )
    return _one(f"{key[0].decode()}: {key[2]}", file.write())


def keys(random, raw, file):
    """A key gone, twice, or of another type."""
    file = copy.deepcopy(file)
    at = random.randrange(len(file.keys))
    key, way = file.keys[at], random.choice(["gone", "twice", "type", "array", "unknown type"])
    if way == "gone":
        del file.keys[at]
    elif way == "twice":
        file.keys.insert(random.randrange(len(file.keys)), copy.deepcopy(key))
    elif way == "type":
        kind, value = random.choice([(layout.TEXT, b"text"), (layout.F32, 1.5), (layout.I32, -1), (layout.BOOL, 1)])
        _set(key, kind, value)
    elif way == "array":
        items = random.choice([(layout.I32, [1, 2, 3]), (layout.TEXT, [b""] * 5), (layout.ARRAY, []), (layout.F32, [])])
        _set(key, layout.ARRAY, items)
    else:
        _set(key, random.choice([13, 99, 2**31]), b"")
    return _one(f"{key[0].decode()}: {way}", file.write())


def _deep(depth):
    value = (layout.U32, [1])
    for _ in range(depth):
        value = (layout.ARRAY, [value])
    return value


def _odd_texts(random, texts):
    texts, at = list(texts), random.randrange(max(1, len(texts)))
    odd = [
        b"",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\0",
        b"a" * 100_000,
        b" ",
        b"  a",
        b"<0xZZ>",
        b"\xc3",
        texts[0] if texts else b"",
    ]
    way = random.choice(["one", "all", "fewer", "more", "none"])
    if way == "one" and texts:
        texts[at] = random.choice(odd)
    elif way == "all":
        texts = [random.choice(odd[:4])] * len(texts)
    elif way == "fewer":
        texts = texts[:at]
    elif way == "more":
        texts += [b"more%d" % i for i in range(random.choice([1, 1000, 70_000]))]
    else:
        texts = []
    return way, texts


def tokenizer(random, raw, file):
    file = copy.deepcopy(file)
    own = [one for one in file.keys if one[0].startswith(b"tokenizer.")]
    key = random.choice(own)
    name = key[0].decode()
    if key[1] != layout.ARRAY:
        if key[1] == layout.TEXT:
            value = random.choice([b"", b"nothing", b"\xff" * 9, b"gpt2", b"llama", b"bert", b"{{", b"a" * 1_000_000])
            _set(key, layout.TEXT, value)
        else:
            _set(key, layout.U32, random.choice(EXTREMES) % 2**32)
        return _one(f"{name}: {key[2][:20] if isinstance(key[2], bytes) else key[2]}", file.write())
    element, items = key[2]
    if random.random() < 0.3:
        other = random.choice(
            [
                (layout.F32, FLOATS * 40),
                (layout.TEXT, [b"1"] * len(items)),
                _deep(random.choice([1, 2000])),
                (layout.I32, [-1] * len(items)),
            ]
        )
        _set(key, layout.ARRAY, other)
        return _one(f"{name}: of another type", file.write())
    if element == layout.TEXT:
        way, items = _odd_texts(random, items)
    elif element in (layout.F32, layout.I32):
        values = FLOATS if element == layout.F32 else [-(2**31), -1, 0, 5, 6, 99, 2**31 - 1]
        way, items = "odd values", [random.choice(values) for _ in items]
    else:
        way, items = "fewer", items[: len(items) // 2]
    _set(key, layout.ARRAY, (element, items))
    return _one(f"{name}: {way}", file.write())


def _odd_dims(random, t):
    way = random.choice(["zero", "huge", "overflow", "swapped", "none", "five", "one more"])
    at = random.randrange(len(t.dims))
    if way == "zero":
        t.dims[at] = 0
    elif way == "huge":
        t.dims[at] = random.choice(EXTREMES[7:])
    elif way == "overflow":
        t.dims = [2**32, 2**32]
    elif way == "swapped":
        t.dims = t.dims[::-1] + [1]
    elif way == "none":
        t.dims = []
    elif way == "five":
        t.dims = [2, 2, 2, 2, 2]
    else:
        t.dims[at] += 1
    return f"dimensions {way}"


def tensors(random, raw, file):
    file = copy.deepcopy(file)
    at = random.randrange(len(file.tensors))
    t = file.tensors[at]
    name, way = (
        t.name.decode(),
        random.choice(["dims", "dims", "type", "offset", "offset", "gone", "twice", "name", "same place"]),
    )
    if way == "dims":
        way = _odd_dims(random, t)
    elif way == "type":
        t.type = random.choice([*range(45), 2**31, 2**32 - 1])
        way = f"type {t.type}"
    elif way == "offset":
        t.offset = random.choice(
            [1, 31, t.offset + 16, len(file.data), len(file.data) - 1, 2**32, 2**63, 2**64 - 32, 2**64 - 1]
        )
        way = f"offset {t.offset}"
    elif way == "gone":
        del file.tensors[at]
    elif way == "twice":
        file.tensors.append(copy.deepcopy(t))
    elif way == "name":
        t.name = random.choice(
            [
                b"",
                b"\0",
                t.name + b"\0x",
                b"blk.4294967296.attn_q.weight",
                b"blk.-1.attn_q.weight",
                b"x" * 100_000,
                file.tensors[0].name,
            ]
        )
    else:
        for other in file.tensors:
            other.offset = 0
    return _one(f"{name}: {way}", file.write())


def alignment(random, raw, file):
    file = copy.deepcopy(file)
    kind, value = random.choice(
        [(layout.U32, v) for v in (0, 1, 3, 8, 33, 64, 4096, 2**31, 2**32 - 1)]
        + [(layout.U64, 2**63), (layout.TEXT, b"32"), (layout.I32, -32)]
    )
    file.keys.insert(random.randrange(len(file.keys)), [b"general.alignment", kind, value])
    return _one(f"general.alignment: {value}", file.write())


# ---- sets of files -----------------------------------------------------------------------------------


def _parts(file, count):
    """A sound set: the model's keys in the first part, its tensors dealt out."""
    made, n = [], len(file.tensors)
    for i in range(count):
        mine = copy.deepcopy(file.tensors[n * i // count : n * (i + 1) // count])
        ends = sorted({t.offset for t in file.tensors} | {len(file.data)})
        data = b""
        for t in mine:
            begin, t.offset = t.offset, len(data)
            data += file.data[begin : ends[ends.index(begin) + 1]]
            data += bytes(-len(data) % 32)
        says = [[b"split.no", 2, i], [b"split.count", 2, count], [b"split.tensors.count", layout.I32, n]]
        made.append(layout.File([*(copy.deepcopy(file.keys) if i == 0 else []), *says], mine, data, []))
    return made


def _broken_part(random, part, others):
    way = random.choice(
        ["no", "count", "tensors", "no", "count", "no key", "keys again", "a tensor of another", "no tensors"]
    )
    if way in ("no", "count", "tensors"):
        key = part.key({"no": b"split.no", "count": b"split.count", "tensors": b"split.tensors.count"}[way])
        kind = random.choice(NUMBERS[:3])
        _set(key, kind, random.choice(EXTREMES[:9]) if kind == layout.I32 else random.choice(EXTREMES) % 2**32)
        return f"{key[0].decode()}: {key[2]}"
    if way == "no key":
        del part.keys[random.randrange(len(part.keys))]
    elif way == "keys again":
        part.keys += copy.deepcopy(random.choice(others).keys)
    elif way == "no tensors":
        part.tensors = []
    else:
        part.tensors += copy.deepcopy(random.choice(others).tensors)
    return way


def sets(random, raw, file):
    count = random.choice([2, 3, 5])
    parts = _parts(file, count)
    at, way = (
        random.randrange(count),
        random.choice(
            ["part", "part", "missing", "twice", "exchanged", "cut", "empty", "another first", "fewer named"]
        ),
    )
    if way == "part":
        way = _broken_part(random, parts[at], parts)
    written = [part.write() for part in parts]
    other = (at + 1) % count
    if way == "twice":
        written[at] = written[other]
    elif way == "exchanged":
        written[at], written[other] = written[other], written[at]
    elif way == "cut":
        written[at] = written[at][: random.randrange(len(written[at]))]
    elif way == "empty":
        written[at] = b""
    of = count + 1 if way == "fewer named" else count
    names = [f"m-{i + 1:05}-of-{of:05}.gguf" for i in range(count)]
    named = names[at if way == "another first" else 0]
    files = dict(zip(names, written))
    if way == "missing":
        del files[names[at]]
    return f"set of {count}, part {at + 1}: {way}", files, named


def sound(_random, _raw, file):
    """Nothing is wrong: what is taken apart here is put together rightly."""
    files = {f"m-{i + 1:05}-of-00003.gguf": part.write() for i, part in enumerate(_parts(file, 3))}
    return "a set of three", files, "m-00001-of-00003.gguf"


KINDS = [
    bits,
    fields,
    fields,
    cuts,
    numbers,
    numbers,
    numbers,
    keys,
    tokenizer,
    tokenizer,
    tensors,
    tensors,
    alignment,
    sets,
]
