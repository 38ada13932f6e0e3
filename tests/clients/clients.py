#!/usr/bin/env python3
"""clients.py URL: what the clients people use say to a running server, one line a check.

Each client is the package as it is published. Exit status: 0 when every check passes.
"""
import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is fetched

MODEL = "auto"
QUESTION = "What is the capital of France?"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def openai_client(url):
    import openai

    return openai.OpenAI(base_url=url + "/v1", api_key="unused", max_retries=0)


def check_openai_chat(url):
    reply = openai_client(url).chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}], max_tokens=8, n=2)
    assert len(reply.choices) == 2 and reply.choices[0].message.content, reply


def check_openai_chat_stream(url):
    ask = dict(model=MODEL, messages=[{"role": "user", "content": QUESTION}], max_tokens=8, temperature=0)
    client = openai_client(url)
    whole = client.chat.completions.create(**ask).choices[0].message.content
    pieces = [c.choices[0].delta.content or "" for c in client.chat.completions.create(stream=True, **ask)]
    assert "".join(pieces) == whole, (pieces, whole)


def check_openai_completions(url):
    reply = openai_client(url).completions.create(model=MODEL, prompt=["one", "two"], max_tokens=3, echo=True)
    assert [c.text[:3] for c in reply.choices] == ["one", "two"], reply


def check_openai_responses(url):
    client = openai_client(url)
    first = client.responses.create(model=MODEL, input=QUESTION, max_output_tokens=8)
    again = client.responses.create(model=MODEL, input="And?", previous_response_id=first.id, max_output_tokens=8)
    assert again.output_text and again.usage.input_tokens > first.usage.input_tokens, again


def check_openai_responses_stream(url):
    stream = openai_client(url).responses.create(model=MODEL, input=QUESTION, stream=True, temperature=0)
    events = list(stream)
    done = events[-1].response
    assert events[-1].type == "response.completed", events[-1].type
    told = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert told == done.output_text, (told, done.output_text)


def check_openai_tools(url):
    reply = openai_client(url).chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}], tools=[TOOL], max_tokens=40)
    assert reply.choices[0].finish_reason in ("stop", "length", "tool_calls"), reply


def check_openai_forced_tool(url):
    reply = openai_client(url).chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}], tools=[TOOL], tool_choice="required",
        max_tokens=200, temperature=0)
    call = reply.choices[0].message.tool_calls[0].function
    assert call.name == "get_weather", reply
    assert reply.choices[0].finish_reason == "length" or "city" in json.loads(call.arguments), reply


def check_openai_logprobs(url):
    reply = openai_client(url).chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}], max_tokens=4, logprobs=True, top_logprobs=3)
    assert all(len(t.top_logprobs) == 3 for t in reply.choices[0].logprobs.content), reply


def check_openai_embeddings(url):
    reply = openai_client(url).embeddings.create(model=MODEL, input=["one", "two"])
    assert len(reply.data) == 2 and abs(sum(x * x for x in reply.data[0].embedding) - 1) < 1e-4, reply.usage


def check_openai_models(url):
    assert "auto" in [m.id for m in openai_client(url).models.list()]


def check_anthropic(url):
    import anthropic

    client = anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0)
    ask = dict(model=MODEL, max_tokens=8, messages=[{"role": "user", "content": QUESTION}],
               extra_body={"temperature": 0})
    whole = client.messages.create(**ask)
    with client.messages.stream(**ask) as stream:
        told = "".join(stream.text_stream)
    assert told == whole.content[0].text, (told, whole)
    assert client.messages.count_tokens(model=MODEL, messages=ask["messages"]).input_tokens > 0


def check_ollama(url):
    import ollama

    client = ollama.Client(host=url)
    ask = dict(model=MODEL, messages=[{"role": "user", "content": QUESTION}],
               options={"temperature": 0, "num_predict": 8})
    whole = client.chat(**ask).message.content
    told = "".join(part.message.content for part in client.chat(stream=True, **ask))
    assert told == whole and whole, (told, whole)
    assert client.generate(model=MODEL, prompt="Hello", options={"num_predict": 3}).response
    assert "auto" in [m.model for m in client.list().models]
    assert "completion" in client.show(MODEL).capabilities


def check_litellm(url):
    import litellm

    ask = dict(messages=[{"role": "user", "content": QUESTION}], max_tokens=8)
    openai_way = litellm.completion(model="openai/auto", api_base=url + "/v1", api_key="unused", **ask)
    anthropic_way = litellm.completion(model="anthropic/auto", api_base=url, api_key="unused", **ask)
    ollama_way = litellm.completion(model="ollama_chat/auto", api_base=url, **ask)
    for reply in (openai_way, anthropic_way, ollama_way):
        assert reply.choices[0].message.content, reply


CHECKS = {
    "openai: models": check_openai_models,
    "openai: chat, n": check_openai_chat,
    "openai: chat, stream": check_openai_chat_stream,
    "openai: tools": check_openai_tools,
    "openai: tools, required": check_openai_forced_tool,
    "openai: logprobs": check_openai_logprobs,
    "openai: embeddings": check_openai_embeddings,
    "openai: completions": check_openai_completions,
    "openai: responses": check_openai_responses,
    "openai: responses, stream": check_openai_responses_stream,
    "anthropic: messages, stream, count_tokens": check_anthropic,
    "ollama: chat, generate, list, show": check_ollama,
    "litellm: openai, anthropic, ollama": check_litellm,
}


def main():
    url, failed = sys.argv[1].rstrip("/"), 0
    for name, check in CHECKS.items():
        try:
            check(url)
            print(f"ok      {name}")
        except Exception as error:  # whatever a client throws is what is wrong
            failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {str(error)[:300]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
