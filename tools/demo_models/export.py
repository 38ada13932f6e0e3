"""Checkpoint to GGUF: export.py small|large CHECKPOINT OUT [--bpe bpe.json]. Reads the file back to check it."""

import argparse
import os

import numpy as np
import torch

import bpe
import gguf
from model import CONFIGS, EPS, ROPE_BASE, Model

TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'"
    " + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
BLOCK = {
    "attn_norm.weight": "attn_norm.weight",
    "ffn_norm.weight": "ffn_norm.weight",
    "q.weight": "attn_q.weight",
    "q.bias": "attn_q.bias",
    "k.weight": "attn_k.weight",
    "k.bias": "attn_k.bias",
    "v.weight": "attn_v.weight",
    "v.bias": "attn_v.bias",
    "o.weight": "attn_output.weight",
    "gate.weight": "ffn_gate.weight",
    "up.weight": "ffn_up.weight",
    "down.weight": "ffn_down.weight",
}


def names(layers):
    """Parameter name to tensor name."""
    out = {"embed.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
    for i in range(layers):
        out.update({f"blocks.{i}.{a}": f"blk.{i}.{b}" for a, b in BLOCK.items()})
    return out


def keys(name, c, tok, parameters):
    return {
        "general.architecture": "qwen2",
        "general.name": f"A-IO demo {name}",
        "general.license": "apache-2.0",
        "general.file_type": 7,
        "general.parameter_count": parameters,
        "general.quantization_version": 2,
        "qwen2.vocab_size": len(tok.tokens),
        "qwen2.context_length": c["context"],
        "qwen2.embedding_length": c["width"],
        "qwen2.block_count": c["layers"],
        "qwen2.feed_forward_length": c["hidden"],
        "qwen2.attention.head_count": c["heads"],
        "qwen2.attention.head_count_kv": c["kv_heads"],
        "qwen2.attention.key_length": c["width"] // c["heads"],
        "qwen2.attention.value_length": c["width"] // c["heads"],
        "qwen2.attention.layer_norm_rms_epsilon": EPS,
        "qwen2.rope.dimension_count": c["width"] // c["heads"],
        "qwen2.rope.freq_base": ROPE_BASE,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tok.tokens,
        "tokenizer.ggml.token_type": [3 if i < len(bpe.SPECIALS) else 1 for i in range(len(tok.tokens))],
        "tokenizer.ggml.merges": [a + " " + b for a, b in tok.merges],
        "tokenizer.ggml.bos_token_id": bpe.ENDOFTEXT,
        "tokenizer.ggml.eos_token_id": bpe.IM_END,
        "tokenizer.ggml.padding_token_id": bpe.ENDOFTEXT,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def load(path):
    """(model with the dequantised weights, tokenizer) of an exported file."""
    meta, tensors = gguf.read(path)

    def k(x):
        return meta["qwen2." + x]

    config = dict(
        width=k("embedding_length"),
        layers=k("block_count"),
        heads=k("attention.head_count"),
        kv_heads=k("attention.head_count_kv"),
        hidden=k("feed_forward_length"),
        context=k("context_length"),
    )
    tok = bpe.Tokenizer([m.split(" ") for m in meta["tokenizer.ggml.merges"]])
    assert tok.tokens == meta["tokenizer.ggml.tokens"]
    model = Model(config, len(tok.tokens))
    model.load_state_dict({a: torch.from_numpy(tensors[b].copy()) for a, b in names(config["layers"]).items()})
    return model.eval(), tok


def main():
    p = argparse.ArgumentParser()
    p.add_argument("name", choices=CONFIGS)
    p.add_argument("checkpoint")
    p.add_argument("out")
    p.add_argument("--bpe", default="/tmp/demo_models/bpe.json")
    a = p.parse_args()
    tok = bpe.Tokenizer.load(a.bpe)
    config = CONFIGS[a.name]
    state = {k: v.float().numpy() for k, v in torch.load(a.checkpoint).items()}
    parameters = sum(v.size for v in state.values())
    gguf.write(a.out, keys(a.name, config, tok, parameters), {b: state[x] for x, b in names(config["layers"]).items()})
    model, _ = load(a.out)
    worst = max(
        float(np.abs(v.numpy() - state[k]).max() / (np.abs(state[k]).max() + 1e-9))
        for k, v in model.state_dict().items()
    )
    print(
        f"{a.out}: {parameters} parameters, {os.path.getsize(a.out)} bytes, "
        f"largest rounding {worst:.4f} of a tensor's largest value"
    )


if __name__ == "__main__":
    main()
