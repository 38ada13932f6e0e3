"""The forward pass in float64, as plainly as it can be written: the reference of the golden set."""
import numpy as np

import quantise

HALVES = {"qwen2", "qwen3", "pangu-embedded"}  # RoPE pairs (i, i + d/2); llama: (2i, 2i + 1)


class Model:
    def __init__(self, keys, tensors):
        self.arch = arch = keys["general.architecture"]
        self.tensors = tensors

        def get(name, default=None):
            return keys.get(f"{arch}.{name}", default)

        self.n_layers = get("block_count")
        n_embd = get("embedding_length")
        self.n_heads = get("attention.head_count")
        self.n_kv = get("attention.head_count_kv", self.n_heads)
        self.head_dim = get("attention.key_length", n_embd // self.n_heads)
        self.epsilon = float(get("attention.layer_norm_rms_epsilon"))
        self.rope_dims = get("rope.dimension_count", self.head_dim)
        self.base = float(get("rope.freq_base", 10000.0))
        linear = get("rope.scaling.type") == "linear"
        self.position_scale = 1 / float(get("rope.scaling.factor")) if linear else 1.0

    def weight(self, name):
        return self.tensors.get(name)

    def norm(self, x, weight):
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.epsilon) * weight

    def rope(self, x):
        """x: positions × heads × head_dim, from position 0."""
        half = self.rope_dims // 2
        frequency = self.base ** (-2.0 * np.arange(half) / self.rope_dims)
        factors = self.weight("rope_freqs.weight")
        if factors is not None:
            frequency = frequency / factors
        angle = np.arange(len(x))[:, None, None] * self.position_scale * frequency
        cos, sin = np.cos(angle), np.sin(angle)
        out = x.copy()
        if self.arch in HALVES:
            first, second = np.s_[..., :half], np.s_[..., half:2 * half]
        else:
            first, second = np.s_[..., 0:2 * half:2], np.s_[..., 1:2 * half:2]
        out[first] = x[first] * cos - x[second] * sin
        out[second] = x[first] * sin + x[second] * cos
        return out

    def linear(self, x, name, round_input):
        """x · Wᵀ + b; with round_input as an integer kernel sees x."""
        weight = self.weight(name + ".weight")
        y = (quantise.round_activations(x) if round_input else x) @ weight.T
        bias = self.weight(name + ".bias")
        return y if bias is None else y + bias

    def attention(self, x, layer, round_input):
        n = len(x)

        def project(which, heads):
            return self.linear(x, f"blk.{layer}.attn_{which}", round_input).reshape(n, heads, self.head_dim)

        q, k, v = project("q", self.n_heads), project("k", self.n_kv), project("v", self.n_kv)
        if self.weight(f"blk.{layer}.attn_q_norm.weight") is not None:
            q = self.norm(q, self.weight(f"blk.{layer}.attn_q_norm.weight"))
            k = self.norm(k, self.weight(f"blk.{layer}.attn_k_norm.weight"))
        q, k = self.rope(q), self.rope(k)
        future = np.triu(np.ones((n, n), bool), 1)
        out = np.empty_like(q)
        for head in range(self.n_heads):
            shared = head * self.n_kv // self.n_heads
            scores = q[:, head] @ k[:, shared].T / np.sqrt(self.head_dim)
            scores[future] = -np.inf
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            out[:, head] = p / p.sum(axis=1, keepdims=True) @ v[:, shared]
        return self.linear(out.reshape(n, -1), f"blk.{layer}.attn_output", round_input)

    def feed_forward(self, x, layer, round_input):
        gate = self.linear(x, f"blk.{layer}.ffn_gate", round_input)
        up = self.linear(x, f"blk.{layer}.ffn_up", round_input)
        return self.linear(gate / (1 + np.exp(-gate)) * up, f"blk.{layer}.ffn_down", round_input)

    def logits(self, tokens, round_input=False):
        """positions × vocabulary, for token ids from position 0."""
        x = self.weight("token_embd.weight")[np.asarray(tokens)]
        for layer in range(self.n_layers):
            attn_in = self.norm(x, self.weight(f"blk.{layer}.attn_norm.weight"))
            x = x + self.attention(attn_in, layer, round_input)
            ffn_in = self.norm(x, self.weight(f"blk.{layer}.ffn_norm.weight"))
            x = x + self.feed_forward(ffn_in, layer, round_input)
        x = self.norm(x, self.weight("output_norm.weight"))
        head = "token_embd" if self.weight("output.weight") is None else "output"
        return self.linear(x, head, round_input)


def relative_error(ours, reference):
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))
