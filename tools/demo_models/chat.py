"""ChatML and the probe's template as token ids. Specials come from the template only, never from a message."""

from bpe import IM_END, IM_START

LABELS = ["code", "qa", "math"]
PROBE_SUFFIX = "Intent:"
PROBE_HEAD, PROBE_TAIL = 96, 160
PROBE_WINDOW = PROBE_HEAD + PROBE_TAIL


def conversation(tok, messages):
    """Ids of the rendered conversation up to and including `<|im_start|>assistant\\n`."""
    ids = []
    for role, text in messages:
        ids += [IM_START] + tok.encode(role + "\n" + text) + [IM_END] + tok.encode("\n")
    return ids + [IM_START] + tok.encode("assistant\n")


def probe(tok, messages):
    """Ids of the probe: the conversation, cut to head and tail when longer than the window, then the suffix."""
    ids = conversation(tok, messages)
    if len(ids) > PROBE_WINDOW:
        ids = ids[:PROBE_HEAD] + ids[-PROBE_TAIL:]
    return ids + tok.encode(PROBE_SUFFIX)


def label_ids(tok):
    """The label tokens, each of which must be one token."""
    out = []
    for label in LABELS:
        ids = tok.encode(" " + label)
        assert len(ids) == 1, label
        out.append(ids[0])
    return out
