"""The forward pass in float64, as plainly as it can be written: the reference of the golden set. What an architecture does in
its layers is in plan.py."""

import numpy as np

import plan as plans
import quantise


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softmax(scores):
    p = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def _capped(x, cap):
    return cap * np.tanh(x / cap) if cap else x


def _activate(kind, gate, up):
    if kind == "silu":
        return gate * _sigmoid(gate) * up
    if kind == "gelu":
        return 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3))) * up
    gate, up = np.minimum(gate, 7), np.clip(up, -7, 7)
    return gate * _sigmoid(1.702 * gate) * (up + 1)


class Model:
    def __init__(self, keys, tensors, kinds, context=512):
        """context: positions the run has room for."""
        self.tensors, self.kinds = tensors, kinds
        self.plan = plans.read_plan(keys, tensors, context)
        self.round_input, self.kv = False, "F32"

    def weight(self, name):
        return self.tensors.get(name)

    def norm(self, x, weight):
        if self.plan.family.layer_norm:
            x = x - x.mean(axis=-1, keepdims=True)
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.plan.epsilon) * weight

    def norm_named(self, x, layer, name):
        return x if name is None else self.norm(x, self.weight(f"blk.{layer}.{name}.weight"))

    def linear(self, x, name, expert=None):
        """x · Wᵀ + b, of one expert where the tensor holds several."""
        weight, bias = self.weight(name + ".weight"), self.weight(name + ".bias")
        if self.round_input and self.kinds[name + ".weight"] not in quantise.FLOAT_TYPES:
            x = quantise.round_activations(x)
        if expert is not None:
            weight, bias = weight[expert], None if bias is None else bias[expert]
        y = x @ weight.T
        return y if bias is None else y + bias

    # ---- attention ---------------------------------------------------------------------------------

    def project(self, x, layer):
        """q, k, v, each positions × heads × head size"""
        n, dim = len(x), self.plan.head_dim
        q_width, kv_width = self.plan.n_heads * dim, self.plan.n_kv * dim
        if self.weight(f"blk.{layer}.attn_qkv.weight") is not None:
            q, k, v = np.split(self.linear(x, f"blk.{layer}.attn_qkv"), [q_width, q_width + kv_width], axis=1)
        else:
            q, k, v = (self.linear(x, f"blk.{layer}.attn_{which}") for which in "qkv")
        if self.plan.family.qk_norm == "width":
            q, k = self.norm_named(q, layer, "attn_q_norm"), self.norm_named(k, layer, "attn_k_norm")
        q, k, v = (y.reshape(n, -1, dim) for y in (q, k, v))
        if self.plan.family.qk_norm == "head":
            q, k = self.norm_named(q, layer, "attn_q_norm"), self.norm_named(k, layer, "attn_k_norm")
        return q, k, v

    def attention(self, x, layer):
        plan, n = self.plan, len(x)
        q, k, v = self.project(x, layer)
        if plan.layers[layer].rope is not None:
            q, k = plan.layers[layer].rope.rotate(q), plan.layers[layer].rope.rotate(k)
        if self.kv != "F32":
            k, v = quantise.rounded(self.kv, k), quantise.rounded(self.kv, v)
        position = np.arange(n)
        if plan.temperature_scale:
            growth = np.log(np.floor(position / plan.temperature_length) + 1)
            q = q * (1 + plan.temperature_scale * growth)[:, None, None]
        distance = position[:, None] - position
        window = plan.layers[layer].window or n
        hidden = (distance < 0) | (distance >= window)
        sinks = self.weight(f"blk.{layer}.attn_sinks.weight")
        out = np.empty_like(q)
        for head in range(plan.n_heads):
            shared = head * plan.n_kv // plan.n_heads
            scores = _capped(q[:, head] @ k[:, shared].T * plan.score_scale, plan.score_cap)
            scores[hidden] = -np.inf
            if sinks is not None:  # one more place to look at, with nothing there
                scores = np.concatenate([scores, np.full((n, 1), sinks[head])], axis=1)
            out[:, head] = _softmax(scores)[:, :n] @ v[:, shared]
        return self.linear(out.reshape(n, -1), f"blk.{layer}.attn_output")

    # ---- feed-forward ------------------------------------------------------------------------------

    def dense(self, x, layer, suffix="", expert=None):
        up = self.linear(x, f"blk.{layer}.ffn_up{suffix}", expert)
        if self.weight(f"blk.{layer}.ffn_gate{suffix}.weight") is None:  # both in one matrix, gate first
            gate, up = np.split(up, 2, axis=1)
        else:
            gate = self.linear(x, f"blk.{layer}.ffn_gate{suffix}", expert)
        return self.linear(_activate(self.plan.family.activation, gate, up), f"blk.{layer}.ffn_down{suffix}", expert)

    def expert_shares(self, x, layer):
        """positions × experts: the weight of each, 0 of those not taken"""
        family = self.plan.family
        scores = self.linear(x, f"blk.{layer}.ffn_gate_inp")
        order = np.argsort(-scores, axis=1)[:, : self.plan.experts_used]
        shares = np.full_like(scores, -np.inf)
        np.put_along_axis(shares, order, np.take_along_axis(scores, order, axis=1), axis=1)
        if family.router == "softmax last" or family.renormalise:  # the same: e^a / Σ e^b, over those taken
            return _softmax(shares)
        return np.where(np.isinf(shares), 0, _softmax(scores))

    def experts(self, x, layer):
        shares = self.expert_shares(x, layer)
        out = np.zeros_like(x)
        for expert in range(shares.shape[1]):
            rows = np.nonzero(shares[:, expert])[0]
            out[rows] += shares[rows, expert, None] * self.dense(x[rows], layer, "_exps", expert)
        if self.weight(f"blk.{layer}.ffn_up_shexp.weight") is not None:
            shared = self.dense(x, layer, "_shexp")
            if self.plan.family.shared_expert == "gated":
                shared = shared * _sigmoid(x @ self.weight(f"blk.{layer}.ffn_gate_inp_shexp.weight"))[:, None]
            out += shared
        return out

    def feed_forward(self, x, layer):
        routed = self.weight(f"blk.{layer}.ffn_gate_inp.weight") is not None
        return self.experts(x, layer) if routed else self.dense(x, layer)

    # ---- the whole ---------------------------------------------------------------------------------

    def layer(self, x, layer):
        family, scale = self.plan.family, self.plan.residual_scale
        read = self.norm_named(x, layer, family.before_attention)
        attended = self.norm_named(self.attention(read, layer), layer, family.after_attention) * scale
        if family.parallel:
            return x + attended + self.feed_forward(read, layer)
        x = x + attended
        read = self.norm_named(x, layer, family.before_ffn)
        return x + self.norm_named(self.feed_forward(read, layer), layer, family.after_ffn) * scale

    def logits(self, tokens, round_input=False, kv="F32"):
        """positions × vocabulary, for token ids from position 0; with round_input as integer kernels see the activations; kv is
        the type that keys and values are kept in."""
        self.round_input, self.kv = round_input, kv
        x = self.weight("token_embd.weight")[np.asarray(tokens)] * self.plan.embedding_scale
        for layer in range(len(self.plan.layers)):
            x = self.layer(x, layer)
        x = self.norm(x, self.weight("output_norm.weight"))
        head = "token_embd" if self.weight("output.weight") is None else "output"
        return _capped(self.linear(x, head) * self.plan.logit_scale, self.plan.logit_cap)


def relative_error(ours, reference):
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))
