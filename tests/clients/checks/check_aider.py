import os
import pathlib
import re
import subprocess
import sys
import tempfile

import check as c

WRONG = "def add(a, b):\n    return a - b\n"


@c.check("a file is changed as the message says")
def change():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="a-io-aider-"))
    file = folder / "sums.py"
    file.write_text(WRONG)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "aider",
            "--model",
            f"openai/{c.LARGE}",
            "--edit-format",
            "whole",
            "--yes-always",
            "--no-git",
            "--no-check-update",
            "--no-show-model-warnings",
            "--no-analytics",
            "--no-show-release-notes",
            "--map-tokens",
            "0",
            "--no-auto-lint",
            "--message",
            "The function add must return a + b. Mend it.",
            str(file),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=580,
        env={
            **os.environ,
            "OPENAI_API_BASE": c.V1,
            "OPENAI_API_KEY": c.KEY,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HOME": str(folder),
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"litellm\.\w*Error", done.stdout), done.stdout  # it asks for a list of prices elsewhere, too
    text = file.read_text()
    assert not c.REAL or "return a + b" in text, done.stdout[-1500:]


c.main()
