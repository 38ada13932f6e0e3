"""What a soak asks, by every API, and how what comes is read.

A whole reply is read as a stream of one piece, so that both give the same `Said`, which is all that is compared:
texts, calls, ends and log-probabilities, none of the times and names that differ from one run to the next.
"""

import collections
import json

VOLATILE = {"id", "created", "a_io", "timings", "system_fingerprint", "prompt_tokens_details"}
PROMPTS = [
    "Write a Python function add_numbers(a, b) that returns the sum of a and b.",
    "Who wrote Faust, and when?",
    "Tom has 5 apples and buys 7 more. He gives 3 to Ann. How many apples does Tom have?",
    "What is the capital of France?",
    "Write a function that reverses a list.",
    "A train travels 60 km in 2 hours. How far does it travel in 5 hours?",
    "Tell me about the sea.",
    "用 Python 写一个函数，返回两个数的和。",
]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "legs": {"type": "integer", "minimum": 0}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}
PLACE = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}


class Said:
    """What a reply said so far."""

    def __init__(self):
        self.texts = collections.defaultdict(str)
        self.calls = collections.defaultdict(lambda: ["", ""])
        self.ends, self.more, self.stored = {}, [], None  # stored: a response's name, while it is remembered

    def value(self):
        calls = {f"{key}": [name, _sorted(arguments)] for key, (name, arguments) in self.calls.items()}
        texts = {f"{key}": text for key, text in self.texts.items() if text}
        return {"texts": texts, "calls": calls, "ends": self.ends, "more": self.more}

    def begins(self, value):
        """Whether what came is a beginning of that."""
        return all(value["texts"].get(f"{key}", "").startswith(text) for key, text in self.texts.items())


def _sorted(arguments):
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except ValueError:
        return arguments


def _without_times(value):
    if isinstance(value, dict):
        return {key: _without_times(one) for key, one in value.items() if key not in VOLATILE}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


def read_chat(said, piece):
    for choice in piece["choices"]:
        part, at = choice.get("delta") or choice.get("message") or {}, choice["index"]
        said.texts[at] += part.get("content") or ""
        for i, call in enumerate(part.get("tool_calls") or ()):
            one = said.calls[at, call.get("index", i)]
            one[0] += call["function"].get("name") or ""
            one[1] += call["function"].get("arguments") or ""
        if choice.get("finish_reason"):
            said.ends[f"{at}"] = choice["finish_reason"]
        said.more += (choice.get("logprobs") or {}).get("content") or []


def read_completion(said, piece):
    for choice in piece["choices"]:
        said.texts[choice["index"]] += choice["text"]
        if choice.get("finish_reason"):
            said.ends[f"{choice['index']}"] = choice["finish_reason"]
        if choice.get("logprobs"):
            said.more.append(choice["logprobs"])


def read_response(said, piece):
    kind = piece.get("type", "")
    if kind == "response.output_text.delta":
        said.texts[0] += piece["delta"]
    elif kind == "response.function_call_arguments.delta":
        said.calls[0, 0][1] += piece["delta"]
    elif kind == "response.output_item.added" and piece["item"]["type"] == "function_call":
        said.calls[0, 0][0] = piece["item"]["name"]
    whole = piece.get("response", piece)
    if kind in ("response.completed", "response.incomplete"):
        said.ends["0"] = whole["status"]
    elif not kind:
        said.stored = whole["id"] if whole["store"] else None
        for item in whole["output"]:
            if item["type"] == "function_call":
                said.calls[0, 0][:] = [item["name"], item["arguments"]]
            else:
                said.texts[0] += "".join(part.get("text", "") for part in item.get("content", ()))
        said.ends["0"] = whole["status"]


def read_message(said, piece):
    kind, at = piece["type"], piece.get("index", 0)
    for i, block in enumerate(piece.get("content", ())):
        if block["type"] == "text":
            said.texts[i] += block["text"]
        elif block["type"] == "tool_use":
            said.calls[i][:] = [block["name"], json.dumps(block["input"])]
    if kind == "message":
        said.ends["0"] = piece["stop_reason"]
    elif kind == "content_block_start" and piece["content_block"]["type"] == "tool_use":
        said.calls[at][0] = piece["content_block"]["name"]
    elif kind == "content_block_delta":
        said.texts[at] += piece["delta"].get("text", "")
        if "partial_json" in piece["delta"]:
            said.calls[at][1] += piece["delta"]["partial_json"]
    elif kind == "message_delta":
        said.ends["0"] = piece["delta"]["stop_reason"]


def read_ollama(said, piece):
    said.texts[0] += piece["message"]["content"]
    if piece["done"]:
        said.ends["0"] = piece["done_reason"]


def read_llama(said, piece):
    said.texts[0] += piece["content"]
    if piece.get("stop"):
        said.ends["0"] = piece["stop_type"]


def read_exact(said, piece):
    said.more.append(_without_times(piece))


Question = collections.namedtuple("Question", "kind path body read streams")


def _chats():
    for i, prompt in enumerate(PROMPTS):
        messages = [{"role": "user", "content": prompt}]
        turns = [*messages, {"role": "assistant", "content": "Well."}, {"role": "user", "content": "Go on."}]
        sampled = {"temperature": 0.8, "top_p": 0.9, "seed": 100 + i, "frequency_penalty": 0.3}
        for model in ("auto", "small", "large"):
            yield "chat", {"model": model, "messages": messages, "temperature": 0}
            yield "chat sampled", {"model": model, "messages": turns, **sampled}
        yield "chat logprobs", {"model": "small", "messages": messages, "logprobs": True, "top_logprobs": 3, "seed": i}
        if i % 2 == 0:
            yield "chat n=2", {"model": "small", "messages": messages, "n": 2, **sampled}
            yield "chat stop", {"model": "small", "messages": messages, "temperature": 0, "stop": [" the", "\n"]}


def _forms():
    system = {"role": "system", "content": "Answer in JSON: name and legs."}
    form = {"type": "json_schema", "json_schema": {"name": "animal", "schema": SCHEMA, "strict": True}}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": PLACE, "strict": True}}]
    for i, what in enumerate(("a dog", "a spider", "a snake", "Paris")):
        messages = [system, {"role": "user", "content": f"Tell me of {what}."}]
        for model in ("small", "large"):
            yield "chat schema", {"model": model, "messages": messages, "response_format": form, "seed": i}
        asked = {"model": "small", "messages": messages[1:], "tools": tools, "seed": i}
        yield "chat call", {**asked, "tool_choice": "required", "max_tokens": 60}
        yield "chat tools", asked


def _others():
    for i, prompt in enumerate(PROMPTS):
        messages, model = [{"role": "user", "content": prompt}], ("small", "large", "auto")[i % 3]
        greedy = {"model": model, "temperature": 0}
        yield "completion", "/v1/completions", {**greedy, "prompt": prompt}, read_completion, True
        response = {**greedy, "input": prompt}
        yield "response", "/v1/responses", {**response, "store": False}, read_response, True
        yield "response stored", "/v1/responses", response, read_response, False
        yield "message", "/v1/messages", {**greedy, "messages": messages}, read_message, True
        options = {"temperature": 0, "num_predict": 24}
        yield "ollama", "/api/chat", {"model": model, "messages": messages, "options": options}, read_ollama, True
        small = {"model": "small", "temperature": 0}
        yield "llama", "/completion", {**small, "prompt": prompt, "n_predict": 24}, read_llama, True
        yield "scores", "/v1/completions", {**small, "prompt": prompt, "logprobs": 2}, read_completion, False
        yield "embedding", "/v1/embeddings", {"model": "small", "input": [prompt, "the sea"]}, read_exact, False
        score = {"model": "small", "prompt": prompt, "completion": " Yes."}
        yield "score", "/v1/score", score, read_exact, False
        yield "tokenize", "/tokenize", {"model": "small", "content": prompt}, read_exact, False


LIMITS = {"/v1/completions": "max_tokens", "/v1/responses": "max_output_tokens", "/v1/messages": "max_tokens"}


def questions():
    """All of them; the same in every run."""
    made = [Question(kind, "/v1/chat/completions", body, read_chat, True) for kind, body in [*_chats(), *_forms()]]
    made += [Question(*one) for one in _others()]
    for i, one in enumerate(made):
        limit = "max_tokens" if one.path == "/v1/chat/completions" else LIMITS.get(one.path)
        if limit:
            one.body.setdefault(limit, 8 + 5 * (i % 6))
    return made


LOOKS = ("/metrics", "/health", "/ready", "/v1/models", "/v1/decisions", "/v1/policy", "/slots", "/props", "/")
REFUSED = [
    ("/v1/chat/completions", b'{"messages": [', 400),
    ("/v1/chat/completions", b'{"messages": [{"role": "user", "content": "x"}], "temperature": -1}', 400),
    ("/v1/chat/completions", b'{"model": "nobody", "messages": [{"role": "user", "content": "x"}]}', 404),
    ("/v1/nowhere", b"{}", 404),
    ("/v1/responses", b'{"input": "x", "previous_response_id": "resp_none"}', 404),
]
