"""The demo pair's network: `qwen2` (RMSNorm, biased q/k/v, half-split RoPE, SwiGLU, tied embedding)."""

import torch
import torch.nn.functional as F
from torch import nn

SMALL = dict(width=128, layers=5, heads=4, kv_heads=2, hidden=448, context=320)
LARGE = dict(width=384, layers=6, heads=6, kv_heads=2, hidden=1024, context=640)
CONFIGS = {"small": SMALL, "large": LARGE}
ROPE_BASE = 10000.0
EPS = 1e-6


class Norm(nn.Module):
    """RMSNorm. Inside the blocks its weight stays one: the matrices after it learn the scale, and training is faster."""

    def __init__(self, width, learned=False):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width), requires_grad=learned)

    def forward(self, x):
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS)
        if self.weight.requires_grad or not self.training:
            x = x * self.weight
        return x.bfloat16() if torch.is_autocast_cpu_enabled() else x  # cast once, not in every matrix after it


def rotate(x, cos, sin):
    """x: batch, heads, length, head size; cos and sin: batch, 1, length, half the head size."""
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        w, self.heads, self.kv = c["width"], c["heads"], c["kv_heads"]
        self.size = w // self.heads
        self.attn_norm, self.ffn_norm = Norm(w), Norm(w)
        self.q = nn.Linear(w, w)
        self.k = nn.Linear(w, self.kv * self.size)
        self.v = nn.Linear(w, self.kv * self.size)
        self.o = nn.Linear(w, w, bias=False)
        self.gate = nn.Linear(w, c["hidden"], bias=False)
        self.up = nn.Linear(w, c["hidden"], bias=False)
        self.down = nn.Linear(c["hidden"], w, bias=False)

    def forward(self, x, cos, sin, mask, past=None, where=None):
        n, t, _ = x.shape
        h = self.attn_norm(x)
        q = self.q(h).view(n, t, self.heads, self.size).transpose(1, 2)
        k = self.k(h).view(n, t, self.kv, self.size).transpose(1, 2)
        v = self.v(h).view(n, t, self.kv, self.size).transpose(1, 2)
        q, k = rotate(q, cos, sin) * self.size**-0.5, rotate(k, cos, sin)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        now = (k, v)
        group = self.heads // self.kv
        q = q.reshape(n, self.kv, group * t, self.size)
        s = (q @ k.transpose(2, 3)).view(n, self.kv, group, t, -1) + mask
        p = s.softmax(-1).view(n, self.kv, group * t, -1)
        y = (p.to(v.dtype) @ v).view(n, self.heads, t, self.size).transpose(1, 2).reshape(n, t, -1)
        x = x + self.o(y)
        if where is not None:
            x = x.view(-1, x.shape[-1])[where]
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h)), now


class Model(nn.Module):
    def __init__(self, config, vocab):
        super().__init__()
        self.config = config
        self.size = config["width"] // config["heads"]
        self.embed = nn.Embedding(vocab, config["width"])
        self.blocks = nn.ModuleList(Block(config) for _ in range(config["layers"]))
        self.norm = Norm(config["width"], learned=True)
        nn.init.normal_(self.embed.weight, std=0.02)
        for b in self.blocks:
            for m in (b.q, b.k, b.v, b.gate, b.up):
                nn.init.normal_(m.weight, std=config["width"] ** -0.5 * 0.6)
            for m in (b.q, b.k, b.v):
                nn.init.zeros_(m.bias)
            nn.init.zeros_(b.o.weight)
            nn.init.zeros_(b.down.weight)

    def rope(self, positions):
        f = ROPE_BASE ** (-torch.arange(0, self.size, 2).float() / self.size)
        a = positions.float()[:, None, :, None] * f
        return a.cos(), a.sin()

    def forward(self, ids, positions, mask, past=None, where=None):
        """Hidden states after the last norm, and each layer's keys and values. mask: added to the scores
        (batch, 1, 1, length, keys). With `where` only those of the flattened positions are finished and returned."""
        cos, sin = self.rope(positions)
        x, kv = self.embed(ids), []
        for i, b in enumerate(self.blocks):
            last = where if i == len(self.blocks) - 1 else None
            x, now = b(x, cos, sin, mask, None if past is None else past[i], last)
            kv.append(now)
        return self.norm(x), kv

    def logits(self, hidden):
        return F.linear(hidden, self.embed.weight)
