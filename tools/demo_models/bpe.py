"""Byte-level BPE: the qwen2 splitting pattern, a trainer over counted pieces, an encoder and a decoder."""

import collections
import json

import regex

PATTERN = regex.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_map():
    """GPT-2's printable stand-in for each byte."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for b in range(256):
        if b in keep:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


BYTE = byte_map()
UNBYTE = {c: b for b, c in BYTE.items()}


def pieces(text):
    """The pieces of a text, each in the stand-in alphabet."""
    return ["".join(BYTE[b] for b in m.group().encode()) for m in PATTERN.finditer(text)]


def train(counts, vocab_size):
    """Merges learned from piece counts; ties are broken by the pair itself, so the result is reproducible."""
    words = [[list(w), c] for w, c in sorted(counts.items())]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, (w, c) in enumerate(words):
        for p in zip(w, w[1:]):
            pairs[p] += c
            where[p].add(i)
    merges = []
    while len(merges) < vocab_size - 256 - len(SPECIALS):
        best = max(pairs, key=lambda p: (pairs[p], p))
        if pairs[best] < 2:
            break
        merges.append(best)
        for i in sorted(where[best]):
            w, c = words[i]
            for p in zip(w, w[1:]):
                pairs[p] -= c
            out, j = [], 0
            while j < len(w):
                if j + 1 < len(w) and (w[j], w[j + 1]) == best:
                    out.append(w[j] + w[j + 1])
                    j += 2
                else:
                    out.append(w[j])
                    j += 1
            words[i][0] = out
            for p in zip(out, out[1:]):
                pairs[p] += c
                where[p].add(i)
        del pairs[best]
    return merges


class Tokenizer:
    """Token ids are: specials, the 256 bytes, then one token a merge."""

    def __init__(self, merges):
        self.merges = [tuple(m) for m in merges]
        self.tokens = SPECIALS + [BYTE[b] for b in range(256)] + [a + b for a, b in self.merges]
        self.ids = {}
        for i, t in enumerate(self.tokens):
            self.ids.setdefault(t, i)
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.cache = {}

    @classmethod
    def load(cls, path):
        with open(path) as f:
            return cls(json.load(f)["merges"])

    def save(self, path):
        with open(path, "w") as f:
            json.dump({"merges": self.merges}, f, ensure_ascii=False)

    def _piece(self, piece):
        got = self.cache.get(piece)
        if got is not None:
            return got
        w = list(piece)
        while len(w) > 1:
            rank, i = min((self.rank.get(p, 1 << 30), i) for i, p in enumerate(zip(w, w[1:])))
            if rank == 1 << 30:
                break
            w[i : i + 2] = [w[i] + w[i + 1]]
        ids = [self.ids[t] for t in w]
        if len(self.cache) < 500000:
            self.cache[piece] = ids
        return ids

    def encode(self, text):
        """Ids of plain text; specials in it are not recognised."""
        return [i for p in pieces(text) for i in self._piece(p)]

    def decode(self, ids):
        data = b"".join(bytes(UNBYTE[c] for c in self.tokens[i]) for i in ids if i >= len(SPECIALS))
        return data.decode("utf-8", "replace")


ENDOFTEXT, IM_START, IM_END = range(3)
