"""Trains one model of the pair: train.py small|large --tokens N [--out DIR]

Loss on answers only. Examples of like length are packed into rows with separate attention and positions. The learning
rate is constant after a short warm-up and falls linearly to zero over the last part. Writing a number of tokens to
OUT/NAME.decay starts the fall at once and ends the run after so many tokens more (the log says so).
"""

import argparse
import json
import os
import time

import torch
import torch.nn.functional as F

import bpe
import mixture
from model import CONFIGS, Model
from optim import Muon

ROWS = [112, 320, 640]  # row lengths; an example goes to the shortest row that fits
RATES = {"small": (0.02, 6e-3), "large": (0.02, 3e-3)}  # Muon, AdamW


def pack(examples, length):
    """First-fit rows of (ids, first target, weight) as tensors."""
    rows = []
    for e in sorted(examples, key=lambda e: -len(e[0])):
        for row in rows:
            if row[0] + len(e[0]) <= length:
                break
        else:
            row = [0, []]
            rows.append(row)
        row[0] += len(e[0])
        row[1].append(e)
    width = min(length, (max(r[0] for r in rows) + 15) // 16 * 16)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    pos, seg = torch.zeros_like(ids), torch.full_like(ids, -1)
    where, target, weight = [], [], []
    for i, (_, items) in enumerate(rows):
        at = 0
        for j, (x, first, w) in enumerate(items):
            n = len(x)
            ids[i, at : at + n] = torch.tensor(x)
            pos[i, at : at + n] = torch.arange(n)
            seg[i, at : at + n] = j
            where += range(i * width + at + first - 1, i * width + at + n - 1)
            target += x[first:]
            weight += [w] * (n - first)
            at += n
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    allowed = (seg[:, :, None] == seg[:, None, :]) & causal
    mask = torch.zeros(allowed.shape).masked_fill_(~allowed, -1e9)[:, None, None]
    return ids, pos, mask, torch.tensor(where), torch.tensor(target), torch.tensor(weight)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("name", choices=CONFIGS)
    p.add_argument("--tokens", type=float, required=True)
    p.add_argument("--out", default="/tmp/demo_models")
    p.add_argument("--batch", type=int, default=6144, help="tokens a step")
    p.add_argument("--decay", type=float, default=0.35, help="share of the run in which the learning rate falls")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--save", type=float, default=180, help="seconds between checkpoints")
    p.add_argument("--init", help="checkpoint to start from")
    p.add_argument("--rate", type=float, default=1.0, help="factor on the learning rates")
    p.add_argument("--log")
    p.add_argument("--steps", type=int, default=1 << 30, help="stop after so many steps (for timing)")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    tok = bpe.Tokenizer.load(os.path.join(a.out, "bpe.json"))
    config = CONFIGS[a.name]
    limit = config["context"]
    model = Model(config, len(tok.tokens))
    if a.init:
        model.load_state_dict(torch.load(a.init))
    total = sum(x.numel() for x in model.parameters())
    matrices = [x for n, x in model.blocks.named_parameters() if x.ndim == 2]
    others = [x for n, x in model.named_parameters() if x.requires_grad and (x.ndim == 1 or n.startswith("embed"))]
    rates = RATES[a.name]
    optimizers = [
        Muon(matrices, rates[0]),
        torch.optim.AdamW(others, rates[1], betas=(0.9, 0.97), eps=1e-8, weight_decay=0.0),
    ]
    data = mixture.Mixture(tok, a.seed)
    log = open(a.log or os.path.join(a.out, a.name + ".log"), "w")

    def say(**kw):
        line = json.dumps(kw)
        print(line, flush=True)
        print(line, file=log, flush=True)

    say(model=a.name, parameters=total, config=config, args=vars(a), shares=mixture.SHARES, rates=rates)
    start = saved = time.time()
    seen, step, begin, end = 0, 0, a.tokens * (1 - a.decay), a.tokens
    sums, drawn = {}, {}
    trigger = os.path.join(a.out, a.name + ".decay")
    while seen < end and step < a.steps:
        if os.path.exists(trigger):
            with open(trigger) as f:
                begin, end = seen, seen + float(f.read())
            os.remove(trigger)
            say(note="decay starts now", tokens=seen, end=end)
        groups, size = {r: [] for r in ROWS}, 0
        while size < a.batch:
            name, ids, first, weight = data.draw()
            if len(ids) > limit:
                cut = len(ids) - limit
                ids, first = ids[cut:], first - cut
            groups[next(r for r in ROWS if len(ids) <= r)].append((ids, first, weight))
            size += len(ids)
            drawn[name] = drawn.get(name, 0) + len(ids)
        scale = (
            a.rate * min(1.0, (step + 1) / (30 if a.init else 100)) * max(0.0, min(1.0, (end - seen) / (end - begin)))
        )
        for o, r in zip(optimizers, rates):
            o.param_groups[0]["lr"] = r * scale
        total_weight = sum(w * (len(x) - f) for g in groups.values() for x, f, w in g)
        loss_sum = 0.0
        for length, examples in groups.items():
            if not examples:
                continue
            ids, pos, mask, where, target, weight = pack(examples, length)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                hidden, _ = model(ids, pos, mask, where=where)
                logits = model.logits(hidden)
            loss = (F.cross_entropy(logits.float(), target, reduction="none") * weight).sum() / total_weight
            loss.backward()
            loss_sum += float(loss)
        for o in optimizers:
            o.step()
        for x in model.parameters():
            x.grad = None
        seen += size
        step += 1
        sums["loss"] = sums.get("loss", 0.0) + loss_sum
        if step % 20 == 0:
            say(
                step=step,
                tokens=seen,
                loss=round(sums.pop("loss") / 20, 4),
                lr=round(scale, 3),
                tokens_s=round(seen / (time.time() - start)),
                minutes=round((time.time() - start) / 60, 1),
            )
        if time.time() - saved > a.save:
            torch.save(model.state_dict(), os.path.join(a.out, a.name + ".pt"))
            saved = time.time()
    torch.save(model.state_dict(), os.path.join(a.out, a.name + ".pt"))
    say(note="done", tokens=seen, steps=step, tokens_by_task=drawn, minutes=round((time.time() - start) / 60, 1))


if __name__ == "__main__":
    main()
