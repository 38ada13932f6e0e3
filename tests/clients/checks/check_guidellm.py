import json
import os
import pathlib
import subprocess
import sys
import tempfile

import check as c


def benchmark(path, requests=4):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="a-io-guidellm-"))
    data = folder / "prompts.jsonl"
    data.write_text(
        "".join(json.dumps({"prompt": f"What is {i} plus 4?", "output_tokens_count": 8}) + "\n" for i in range(20))
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "guidellm",
            "run",
            "--backend",
            f"kind=openai_http,target={c.URL},model={c.SMALL},request_format={path}",
            "--profile",
            "kind=synchronous",
            "--constraint",
            f"kind=max_requests,count={requests}",
            "--data",
            f"kind=json_file,path={data}",
            "--output",
            f"kind=json,path={folder / 'report.json'}",
            "--disable-console-interactive",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)},
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-1500:]
    report = json.loads((folder / "report.json").read_text())
    totals = report["benchmarks"][0]["metrics"]["request_totals"]
    assert (totals["successful"], totals["errored"]) == (requests, 0), totals


@c.check("a benchmark over chat completions")
def chat():
    benchmark("/v1/chat/completions")


@c.check("a benchmark over completions")
def completions():
    benchmark("/v1/completions")


c.main()
