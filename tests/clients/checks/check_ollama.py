import ollama

import check as c

client = ollama.Client(host=c.URL)


@c.check("chat, stream")
def chat():
    ask = dict(model=c.MODEL, messages=c.MESSAGES, options={"temperature": 0, "num_predict": 16})
    whole = client.chat(**ask).message.content
    c.said(whole)
    assert "".join(part.message.content for part in client.chat(stream=True, **ask)) == whole


@c.check("generate")
def generate():
    c.said(
        client.generate(model=c.MODEL, prompt=c.CITY_QUESTION, options={"num_predict": 16, "temperature": 0}).response
    )


@c.check("tools")
def tools():
    def get_weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: its name
        """
        return city

    reply = client.chat(
        model=c.MODEL,
        messages=[{"role": "user", "content": c.WEATHER_QUESTION}],
        tools=[get_weather],
        options={"temperature": 0, "num_predict": 100},
    )
    calls = reply.message.tool_calls
    assert not c.REAL or (calls and calls[0].function.arguments["city"] == c.CITY), reply


@c.check("list, show")
def listing():
    assert "auto" in [m.model for m in client.list().models]
    assert "completion" in client.show(c.MODEL).capabilities


c.main()
