"""Muon (momentum, orthogonalised by Newton-Schulz steps) for the matrices, AdamW for everything else."""

import torch


def orthogonal(g, steps=5):
    x = g.bfloat16()
    flip = x.shape[0] > x.shape[1]
    if flip:
        x = x.t()
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        a = x @ x.t()
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.t() if flip else x).float()


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["m"] = torch.zeros_like(p)
                m = state["m"]
                m.mul_(group["momentum"]).add_(p.grad)
                g = orthogonal(p.grad + group["momentum"] * m)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(g, alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)
