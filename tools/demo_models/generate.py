"""Batched greedy decoding and the probe with the torch model (on the dequantised weights of a GGUF file)."""

import torch

import chat
from bpe import IM_END


def _mask(lengths, width):
    """Left-padded rows: key j of row i is real if j >= width - lengths[i]."""
    real = torch.arange(width)[None] >= (width - torch.tensor(lengths))[:, None]
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    allowed = real[:, None, :] & causal | torch.eye(width, dtype=torch.bool)
    return torch.zeros(allowed.shape).masked_fill_(~allowed, -1e9)[:, None, None], real


@torch.no_grad()
def prefill(model, prompts):
    """Left-padded prompts through the model: (hidden state of the last position, kv, real keys)."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    pos = torch.tensor([[0] * (width - len(p)) + list(range(len(p))) for p in prompts])
    mask, real = _mask([len(p) for p in prompts], width)
    hidden, kv = model(ids, pos, mask)
    return hidden[:, -1], kv, real


@torch.no_grad()
def greedy(model, prompts, limit=80, rows=64):
    """Answers (token ids without the end token), in the order of the prompts."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers = [None] * len(prompts)
    for at in range(0, len(order), rows):
        batch = order[at : at + rows]
        hidden, kv, real = prefill(model, [prompts[i] for i in batch])
        out = [[] for _ in batch]
        live = list(range(len(batch)))
        for _ in range(limit):
            token = model.logits(hidden).argmax(-1)
            keep = []
            for j, t in enumerate(token.tolist()):
                if t != IM_END:
                    out[live[j]].append(t)
                    keep.append(j)
            if not keep:
                break
            k = torch.tensor(keep)
            live, token = [live[j] for j in keep], token[k]
            kv, real = (
                [(a[k], b[k]) for a, b in kv],
                torch.cat([real[k], torch.ones(len(keep), 1, dtype=torch.bool)], 1),
            )
            mask = torch.zeros(real.shape).masked_fill_(~real, -1e9)[:, None, None, None]
            hidden, kv = model(token[:, None], real.sum(1, keepdim=True) - 1, mask, kv)
            hidden = hidden[:, -1]
        for j, i in enumerate(batch):
            answers[i] = out[j]
    return answers


@torch.no_grad()
def probe(model, tok, conversations, rows=64):
    """Probabilities of the labels, one row a conversation, and the mass outside the labels."""
    prompts = [chat.probe(tok, c) for c in conversations]
    labels = torch.tensor(chat.label_ids(tok))
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    result = [None] * len(prompts)
    for at in range(0, len(order), rows):
        batch = order[at : at + rows]
        hidden, _, _ = prefill(model, [prompts[i] for i in batch])
        logits = model.logits(hidden)
        inside = logits[:, labels].softmax(-1)
        outside = 1 - logits.softmax(-1)[:, labels].sum(-1)
        for j, i in enumerate(batch):
            result[i] = inside[j].tolist(), float(outside[j])
    return result
