"""A small task of choices and one of perplexity, scored by lm-eval over /v1/completions with logprobs, and
the same computed from the logits that `a-io logits` writes: the scores are equal."""

import array
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import check as c

CHOICES = [
    ("The capital of France is", [" Paris", " Rome", " London"], 0),
    ("The capital of Italy is", [" Berlin", " Rome", " Madrid"], 1),
    ("Two plus two is", [" four", " nine", " blue"], 0),
    ("The opposite of hot is", [" green", " cold", " seven"], 1),
    ("A dog is an", [" animal", " number", " city"], 0),
    ("In Python, a function begins with", [" def", " banana", " whale"], 0),
    ("The sky is", [" blue", " forty", " wooden"], 0),
    ("Monday comes before", [" Tuesday", " cheese", " Sunday"], 0),
    ("Water freezes at zero degrees", [" Celsius", " kilograms", " pages"], 0),
    ("The first month of the year is", [" June", " March", " January"], 2),
    ("The largest planet is", [" Mars", " Jupiter", " Venus"], 1),
    ("A week has", [" nine days", " seven days", " two days"], 1),
]
MODEL = c.SMALL
folder = pathlib.Path(tempfile.mkdtemp(prefix="a-io-lm-eval-"))
YAML = """task: a_io_choices
dataset_path: json
dataset_kwargs: {data_files: {test: "%s"}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
target_delimiter: ""
metric_list: [{metric: acc}, {metric: acc_norm}]
"""


def lm_eval():
    data = folder / "choices.jsonl"
    data.write_text("".join(json.dumps({"question": q, "choices": o, "answer": a}) + "\n" for q, o, a in CHOICES))
    (folder / "a_io_choices.yaml").write_text(YAML % data)
    model = (
        f"base_url={c.V1}/completions,model={MODEL},tokenizer_backend=remote,num_concurrent=2,max_retries=1,timeout=600"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "lm_eval",
            "--model",
            "local-completions",
            "--model_args",
            model,
            "--tasks",
            "a_io_choices",
            "--include_path",
            folder,
            "--output_path",
            folder / "out",
            "--log_samples",
            "--batch_size",
            "1",
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=1200,
        env={**os.environ, "HF_HOME": str(folder), "HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": c.KEY},
    )
    assert done.returncode == 0, done.stderr[-1500:]
    results = json.loads(next((folder / "out").rglob("results_*.json")).read_text())["results"]["a_io_choices"]
    samples = [json.loads(line) for line in next((folder / "out").rglob("samples_*.jsonl")).read_text().splitlines()]
    likelihoods = {s["doc"]["question"]: [float(r[0][0]) for r in s["resps"]] for s in samples}
    return results, [likelihoods[q] for q, _, _ in CHOICES]


# ---- the same from the logits -------------------------------------------------------------------------


def tokens_of(text):
    body = json.dumps({"content": text, "model": MODEL}).encode()
    asked = urllib.request.Request(c.URL + "/tokenize", body, {"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(asked).read())["tokens"]


def likelihood(question, choice):
    """ln P(choice | question), of tokens as lm-eval cuts them."""
    whole, start = tokens_of(question + choice), len(tokens_of(question))
    (folder / "tokens").write_text(" ".join(map(str, whole)))
    subprocess.run(
        [
            os.environ["A_IO_PROGRAM"],
            "logits",
            os.environ["A_IO_SMALL_FILE"],
            "--tokens",
            folder / "tokens",
            "--output",
            folder / "logits",
            "--kv",
            "f16",
        ],
        check=True,
    )
    logits = array.array("f")
    logits.frombytes((folder / "logits").read_bytes())
    width, total = len(logits) // len(whole), 0.0
    for at in range(start, len(whole)):
        row = logits[(at - 1) * width : at * width]
        high = max(row)
        total += row[whole[at]] - high - math.log(sum(math.exp(x - high) for x in row))
    return total


@c.check("a local task of choices by logprobs: the score and every likelihood as from a-io logits")
def same():
    results, told = lm_eval()
    ours = [[likelihood(q, choice) for choice in choices] for q, choices, _ in CHOICES]
    worst = max(abs(x - y) for a, b in zip(told, ours) for x, y in zip(a, b))
    assert worst < 1e-3, worst
    right = sum(max(range(len(o)), key=o.__getitem__) == answer for o, (_, _, answer) in zip(ours, CHOICES))
    assert abs(results["acc,none"] - right / len(CHOICES)) < 1e-9, (results, right)
    print(f"ok accuracy {right} of {len(CHOICES)}, likelihoods equal to {worst:.0e} nats")


c.main()
