import anthropic

import check as c

client = anthropic.Anthropic(base_url=c.URL, api_key=c.KEY, max_retries=0, timeout=300)
ASK = dict(model=c.MODEL, max_tokens=16, messages=c.MESSAGES, extra_body={"temperature": 0})
TOOL = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@c.check("messages, stream")
def messages():
    whole = client.messages.create(**ASK)
    c.said(whole.content[0].text)
    with client.messages.stream(**ASK) as stream:
        told = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert told == whole.content[0].text, (told, whole)
    assert final.usage.output_tokens == whole.usage.output_tokens, final


@c.check("system, count_tokens")
def count():
    counted = client.messages.count_tokens(model=c.MODEL, messages=c.MESSAGES, system="Be brief.")
    reply = client.messages.create(**ASK, system="Be brief.")
    read = reply.usage.input_tokens + reply.usage.cache_read_input_tokens
    assert counted.input_tokens == read, (counted, reply.usage)


@c.check("tools, their results")
def tools():
    question = {"role": "user", "content": c.WEATHER_QUESTION}
    asked = dict(model=c.MODEL, max_tokens=200, tools=[TOOL], extra_body={"temperature": 0})
    reply = client.messages.create(messages=[question], tool_choice={"type": "any"}, **asked)
    call = next(b for b in reply.content if b.type == "tool_use")
    assert call.name == "get_weather" and (not c.REAL or c.CITY in call.input["city"]), reply
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}
    answer = client.messages.create(
        messages=[question, {"role": "assistant", "content": reply.content}, {"role": "user", "content": [result]}],
        tool_choice={"type": "none"},
        **asked,
    )
    assert "".join(b.text for b in answer.content if b.type == "text")


@c.check("models")
def models():
    assert "auto" in [m.id for m in client.models.list()]


c.main()
