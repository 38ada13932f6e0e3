"""Tiny vocabularies, so that `a-io run -m` works on the golden models too: every byte, a few merges and
the special tokens of a chat format."""

import numpy as np

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
MERGES = [
    "Ġ t",
    "h e",
    "Ġ a",
    "i n",
    "e r",
    "r e",
    "o n",
    "Ġt he",
    "Ġ s",
    "Ġ w",
    "a t",
    "o r",
    "in g",
    "Ġa n",
    "Ġan d",
    "Ġ c",
    "o u",
    "Ċ Ċ",
    "Ġ Ġ",
    "ĠĠ ĠĠ",
    "d e",
    "de f",
    "Ġ o",
    "Ġo f",
    "u r",
    "ur n",
    "Ġ re",
    "Ġre t",
    "Ġret urn",
]
PIECES = ["▁t", "he", "▁a", "in", "er", "re", "on", "▁the", "▁s", "▁w", "at", "or", "ing", "▁an", "▁and", "▁▁"]
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def byte_characters():
    """GPT-2's printable stand-in for each byte: itself where printable, else from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(b if b in printable else next(others)) for b in range(256)]


def byte_level(pre, specials, bos, eos, add_bos, template=None):
    tokens = byte_characters() + [m.replace(" ", "") for m in MERGES] + specials
    types = [NORMAL] * (len(tokens) - len(specials)) + [CONTROL] * len(specials)
    keys = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array(types, np.int32),
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": tokens.index(bos),
        "tokenizer.ggml.eos_token_id": tokens.index(eos),
        "tokenizer.ggml.add_bos_token": add_bos,
    }
    return keys | ({"tokenizer.chat_template": template} if template else {})


def llama3():
    return byte_level(
        "llama-bpe",
        ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "<|begin_of_text|>",
        "<|eot_id|>",
        True,
    )


def chatml():
    return byte_level(
        "qwen2", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|endoftext|>", "<|im_end|>", False, CHATML
    )


def sentencepiece():
    letters = ["▁"] + [chr(c) for c in range(0x21, 0x7F)]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + PIECES + letters
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * (len(PIECES) + len(letters))
    scores = [0.0] * 259 + [-float(i + 1) for i in range(len(PIECES) + len(letters))]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": np.array(scores, np.float32),
        "tokenizer.ggml.token_type": np.array(types, np.int32),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_space_prefix": True,
    }
