import asyncio

import pydantic
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

import check as c

openai_like = OpenAIProvider(base_url=c.V1, api_key=c.KEY)
chat = OpenAIChatModel(c.LARGE, provider=openai_like)
SETTINGS = {"temperature": 0.0, "max_tokens": 200}


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=12)  # the demo pair would go on for ever
    age: int = pydantic.Field(ge=0, le=200)


@c.check("run by chat, responses, Anthropic's messages")
def run():
    anthropic = AnthropicModel(c.LARGE, provider=AnthropicProvider(base_url=c.URL, api_key=c.KEY))
    for model in (chat, OpenAIResponsesModel(c.LARGE, provider=openai_like), anthropic):
        c.said(Agent(model, model_settings=SETTINGS).run_sync(c.CITY_QUESTION).output)


@c.check("run_stream")
def stream():
    async def told():
        async with Agent(chat, model_settings=SETTINGS).run_stream(c.CITY_QUESTION) as result:
            return "".join([piece async for piece in result.stream_text(delta=True)])

    c.said(asyncio.run(told()))


@c.check("output_type")
def typed():
    person = Agent(chat, output_type=Person, model_settings=SETTINGS).run_sync(c.PERSON_TEXT).output
    assert not c.REAL or (person.name, person.age) == ("Tom", 25), person


@c.check("a tool that may be called")
def tools():
    agent = Agent(chat, model_settings=SETTINGS)
    cities = []

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """The weather of a city"""
        cities.append(city)
        return "21 degrees and sunny"

    answer = agent.run_sync(c.WEATHER_QUESTION).output
    c.called(cities, answer)


c.main()
