import json
import os
import pathlib
import subprocess
import sys
import tempfile

import check as c

folder = pathlib.Path(tempfile.mkdtemp(prefix="a-io-llm-"))
(folder / "extra-openai-models.yaml").write_text(
    f"- model_id: a-io\n  model_name: {c.LARGE}\n  api_base: {c.V1}\n  supports_schema: true\n  supports_tools: true\n"
    f"- model_id: a-io-text\n  model_name: {c.LARGE}\n  api_base: {c.V1}\n  completion: true\n"
)


def llm(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "llm", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "LLM_USER_PATH": str(folder), "OPENAI_API_KEY": c.KEY},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@c.check("prompt, stream and whole")
def prompt():
    for more in ([], ["--no-stream"]):
        c.said(llm("-m", "a-io", "-o", "temperature", "0", "-o", "max_tokens", "16", *more, c.CITY_QUESTION))


@c.check("a conversation goes on")
def goes_on():
    llm("-m", "a-io", "-o", "max_tokens", "16", "-o", "temperature", "0", "My name is Zelda.")
    c.said(llm("-c", "-o", "max_tokens", "20", "-o", "temperature", "0", "What is my name?"), "Zelda")


@c.check("schema")
def schema():
    person = (
        json.loads(
            llm(
                "-m",
                "a-io",
                "-o",
                "temperature",
                "0",
                "-o",
                "max_tokens",
                "300",
                "--schema",
                "name, age int",
                c.PERSON_TEXT,
            )
        )
        if c.REAL
        else None
    )
    assert not c.REAL or (person["name"], person["age"]) == ("Tom", 25), person


@c.check("tools")
def tools():
    function = "def get_weather(city: str) -> str:\n    'The weather of a city'\n    return '21 degrees'\n"
    said = llm(
        "-m",
        "a-io",
        "-o",
        "temperature",
        "0",
        "-o",
        "max_tokens",
        "100",
        "--functions",
        function,
        "--td",
        c.WEATHER_QUESTION,
    )
    assert said, "nothing was said"  # whether it calls is the model's


@c.check("completions")
def completions():
    c.said(llm("-m", "a-io-text", "-o", "temperature", "0", "-o", "max_tokens", "4", "The capital of France is"))


c.main()
