#!/usr/bin/env python3
"""Takes llama-server's command line and starts a-io with a configuration that means the same.

An option that has no counterpart is said on standard error and left out. A_IO_PROGRAM is our program,
A_IO_REAL_MODELS the folder of real models. Python's standard library.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
REAL = pathlib.Path(os.environ.get("A_IO_REAL_MODELS") or os.path.expanduser("~/.cache/a-io/real"))
DEMO = ROOT / "models/demo"

# What stands in for the tests' own models, which only their hub has: small real ones that fill in, and that write on
# and on; the demo pair for what embeds and what drafts.
STAND_INS = {
    "stories260K-infill": REAL / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    "stories260K": REAL / "SmolLM2-135M-Instruct.Q4_1.gguf",
}
OTHER, DRAFT = DEMO / "large.gguf", DEMO / "small.gguf"

VALUES = [
    "--port",
    "--host",
    "--temp",
    "--seed",
    "--model",
    "--model-url",
    "--model-draft",
    "--hf-repo",
    "--hf-file",
    "--batch-size",
    "--ubatch-size",
    "--threads",
    "--n-gpu-layers",
    "--pooling",
    "--alias",
    "--tags",
    "--ctx-size",
    "--parallel",
    "-ctk",
    "-ctv",
    "-fa",
    "--n-predict",
    "--spec-type",
    "--api-key",
    "--spec-draft-n-max",
    "--spec-draft-n-min",
    "--chat-template",
    "--chat-template-file",
    "--reasoning-format",
    "--reasoning",
    "--cors-origins",
    "--slot-save-path",
    "--cache-ram",
    "--spec-synth-len",
    "--spec-synth-rates",
]
FLAGS = [
    "--offline",
    "--cont-batching",
    "--embedding",
    "--metrics",
    "--kv-unified",
    "--slots",
    "--no-slots",
    "--verbose",
    "--context-shift",
    "--no-ui",
    "--jinja",
    "--no-jinja",
    "--no-cache-idle-slots",
    "--reranking",
    "--backend_sampling",
]
# Nothing that they change can be seen here, or they ask for what is always so.
WITHOUT_EFFECT = {
    "offline",
    "cont_batching",
    "embedding",
    "metrics",
    "slots",
    "jinja",
    "no_jinja",
    "ubatch_size",
    "n_gpu_layers",
    "fa",
    "verbose",
    "ctk",
    "ctv",
    "backend_sampling",
    "temp",
    "pooling",
    "tags",
    "spec_draft_n_min",
    "model",
    "model_url",
    "hf_file",
    "spec_type",
    "reasoning_format",
}


def read():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in VALUES:
        parser.add_argument(name)
    for name in FLAGS:
        parser.add_argument(name, action="store_true")
    return parser.parse_args()


def model_for(o):
    asked = f"{o.hf_repo or ''}/{o.hf_file or ''}"
    return next((path for part, path in STAND_INS.items() if part in asked), OTHER)


def template_for(o, folder):
    if o.chat_template_file:
        # --reasoning says what a template is told where a request says nothing; here that stands in the template.
        thinks = "false" if o.reasoning == "off" else "true"
        text = pathlib.Path(o.chat_template_file).read_text()
        path = folder / "template.jinja"
        path.write_text(
            f"{{%- if enable_thinking is not defined %}}{{% set enable_thinking = {thinks} %}}{{% endif -%}}\n" + text
        )
        return f"file:{path}"
    if o.chat_template and " " in o.chat_template:  # not a name, but a template
        path = folder / "template.jinja"
        path.write_text(o.chat_template)
        return f"file:{path}"
    return o.chat_template


def models(o, folder):
    """The context is shared out to the places there, unless it is one pool; here each has all of it."""
    slots = int(o.parallel or 4)
    context = int(o.ctx_size or 0) // (1 if o.kv_unified else slots)
    template = template_for(o, folder)
    name = (o.alias or "model").split(",")[0]
    main = {"name": name, "role": "large", "path": str(model_for(o)), "slots": slots, "context": context}
    if template:
        main["chat_template"] = template
    if not o.model_draft:
        return [main]
    return [main, {"name": "draft", "role": "small", "path": str(DRAFT), "slots": slots}]


def configuration(o, folder):
    made = {
        "version": 1,
        "models": models(o, folder),
        "server": {"host": (o.host or "127.0.0.1").split(",")[0], "port": int(o.port or 8080), "unknown_model": "auto"},
    }
    if o.model_draft:
        made["policy"] = {"name": "rules", "rules": [{"name": "drafted", "model": "large", "lookup": "draft"}]}
    engine = {"prefill_chunk": o.batch_size, "threads": o.threads}
    made["engine"] = {key: int(value) for key, value in engine.items() if value} | {"prefix_cache": True}
    server = made["server"]
    if o.seed:
        server["seed_default"] = int(o.seed)
    if o.n_predict and int(o.n_predict) > 0:
        server["max_tokens_default"] = int(o.n_predict)
    if o.api_key:  # without one, no page's may be "*"
        server["allowed_origins"] = (o.cors_origins or "*").split(",")
    return made


def main():
    o = read()
    known = {
        "port",
        "host",
        "hf_repo",
        "alias",
        "ctx_size",
        "parallel",
        "kv_unified",
        "batch_size",
        "threads",
        "seed",
        "n_predict",
        "api_key",
        "chat_template",
        "chat_template_file",
        "model_draft",
        "cors_origins",
        "reasoning",
    }
    for name, value in vars(o).items():
        if value and name not in known | WITHOUT_EFFECT:
            print(f"llama-server.py: --{name.replace('_', '-')} has no counterpart", file=sys.stderr)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="a-io-llama-server-"))
    file = folder / "config.yaml"
    file.write_text(json.dumps(configuration(o, folder)))  # JSON is YAML
    environment = dict(os.environ, A_IO_API_KEY=o.api_key or "")
    program = os.environ.get("A_IO_PROGRAM", str(ROOT / "build/a-io"))
    os.execve(program, [program, "serve", "--config", str(file)], environment)


if __name__ == "__main__":
    main()
