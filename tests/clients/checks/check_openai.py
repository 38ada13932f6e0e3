import json

import openai
import pydantic

import check as c

client = openai.OpenAI(base_url=c.V1, api_key=c.KEY, max_retries=0, timeout=300)
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=12)  # the demo pair would go on for ever
    age: int = pydantic.Field(ge=0, le=200)


def ask(**more):
    return client.chat.completions.create(
        model=c.MODEL, messages=c.MESSAGES, **{"max_tokens": 16, "temperature": 0, **more}
    )


@c.check("models")
def models():
    assert "auto" in [m.id for m in client.models.list()]


@c.check("chat, n")
def chat():
    reply = ask(n=2)
    assert len(reply.choices) == 2, reply
    for choice in reply.choices:
        c.said(choice.message.content)


@c.check("chat, stream, usage")
def chat_stream():
    whole = ask()
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    told = "".join(d.choices[0].delta.content or "" for d in chunks if d.choices)
    assert told == whole.choices[0].message.content, (told, whole)
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens, chunks[-1]


@c.check("tools, their results, required, stream")
def tools():
    question = {"role": "user", "content": c.WEATHER_QUESTION}
    asked = dict(
        model=c.MODEL, messages=[question], tools=[TOOL], tool_choice="required", max_tokens=200, temperature=0
    )
    choice = client.chat.completions.create(**asked).choices[0]
    call = choice.message.tool_calls[0]
    assert call.function.name == "get_weather", choice
    arguments = json.loads(call.function.arguments) if choice.finish_reason == "tool_calls" else {}
    assert not c.REAL or c.CITY in arguments["city"], choice
    told = [d.choices[0].delta for d in client.chat.completions.create(stream=True, **asked)]
    pieces = [t.function.arguments or "" for d in told for t in d.tool_calls or []]
    assert "".join(pieces) == call.function.arguments, pieces
    result = {"role": "tool", "tool_call_id": call.id, "content": "It is 21 degrees and sunny in Paris."}
    answer = client.chat.completions.create(
        model=c.MODEL,
        messages=[question, choice.message, result],
        tools=[TOOL],
        tool_choice="none",
        max_tokens=40,
        temperature=0,
    )
    assert answer.choices[0].message.content


@c.check("logprobs")
def logprobs():
    told = ask(logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert all(len(t.top_logprobs) == 3 for t in told), told


@c.check("chat .parse()")
def parse():
    reply = client.chat.completions.parse(
        model=c.LARGE,
        messages=[{"role": "user", "content": c.PERSON_TEXT}],
        response_format=Person,
        max_tokens=300,
        temperature=0,
    )
    person = reply.choices[0].message.parsed
    assert not c.REAL or (person.name, person.age) == ("Tom", 25), person


@c.check("completions, echo, several prompts, stream")
def completions():
    reply = client.completions.create(model=c.MODEL, prompt=["one", "two"], max_tokens=3, echo=True)
    assert [d.text[:3] for d in reply.choices] == ["one", "two"], reply
    asked = dict(model=c.LARGE, prompt="The capital of France is", max_tokens=4, temperature=0)
    whole = client.completions.create(**asked).choices[0].text
    c.said(whole)
    assert "".join(d.choices[0].text for d in client.completions.create(stream=True, **asked)) == whole


@c.check("embeddings")
def embeddings():
    reply = client.embeddings.create(model=c.MODEL, input=["one", "two"], dimensions=32)
    assert [len(d.embedding) for d in reply.data] == [32, 32], reply.usage
    assert abs(sum(x * x for x in reply.data[0].embedding) - 1) < 1e-4


@c.check("responses, previous, retrieve, delete")
def responses():
    first = client.responses.create(model=c.MODEL, input=c.CITY_QUESTION, max_output_tokens=16, temperature=0)
    c.said(first.output_text)
    again = client.responses.create(
        model=c.MODEL, input="And of Italy?", previous_response_id=first.id, max_output_tokens=16
    )
    assert again.output_text and again.usage.input_tokens > first.usage.input_tokens, again
    assert client.responses.retrieve(first.id).id == first.id
    client.responses.delete(first.id)


@c.check("responses, stream")
def responses_stream():
    events = list(
        client.responses.create(model=c.MODEL, input=c.CITY_QUESTION, stream=True, temperature=0, max_output_tokens=16)
    )
    done = events[-1].response
    assert events[-1].type in ("response.completed", "response.incomplete"), events[-1].type
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == done.output_text


@c.check("responses .parse()")
def responses_parse():
    reply = client.responses.parse(
        model=c.LARGE, input=c.PERSON_TEXT, text_format=Person, max_output_tokens=300, temperature=0
    )
    person = reply.output_parsed
    assert not c.REAL or (person.name, person.age) == ("Tom", 25), person


@c.check("responses, tools")
def responses_tools():
    tool = {"type": "function", **TOOL["function"]}
    reply = client.responses.create(
        model=c.MODEL,
        input=c.WEATHER_QUESTION,
        tools=[tool],
        tool_choice="required",
        max_output_tokens=200,
        temperature=0,
    )
    assert [i.name for i in reply.output if i.type == "function_call"][:1] == ["get_weather"], reply.output


c.main()
