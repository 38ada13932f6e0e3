import asyncio

import pydantic
from agents import (
    Agent,
    AsyncOpenAI,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)

import check as c

set_tracing_disabled(True)  # it would go to OpenAI
SETTINGS = ModelSettings(temperature=0, max_tokens=200)
WAYS = {"responses": OpenAIResponsesModel, "chat completions": OpenAIChatCompletionsModel}


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=12)  # the demo pair would go on for ever
    age: int = pydantic.Field(ge=0, le=200)


def by(way):
    def assistant(**more):
        client = AsyncOpenAI(base_url=c.V1, api_key=c.KEY, max_retries=0)  # belongs to one event loop
        return Agent(name="Assistant", model=way(model=c.LARGE, openai_client=client), model_settings=SETTINGS, **more)

    def run():
        agent = assistant(instructions="Be brief.")
        c.said(asyncio.run(Runner.run(agent, c.CITY_QUESTION)).final_output)

    def stream():
        async def told():
            agent = assistant()
            result = Runner.run_streamed(agent, c.CITY_QUESTION)
            return "".join(
                [
                    e.data.delta
                    async for e in result.stream_events()
                    if e.type == "raw_response_event" and e.data.type == "response.output_text.delta"
                ]
            )

        c.said(asyncio.run(told()))

    def tools():
        cities = []

        @function_tool
        def get_weather(city: str) -> str:
            """The weather of a city"""
            cities.append(city)
            return "21 degrees and sunny"

        agent = assistant(tools=[get_weather])
        answer = asyncio.run(Runner.run(agent, c.WEATHER_QUESTION)).final_output
        c.called(cities, answer)

    def typed():
        agent = assistant(output_type=Person)
        person = asyncio.run(Runner.run(agent, c.PERSON_TEXT)).final_output
        assert not c.REAL or (person.name, person.age) == ("Tom", 25), person

    return {"run": run, "run_streamed": stream, "a tool that may be called": tools, "output_type": typed}


for way_name, way in WAYS.items():
    for name, function in by(way).items():
        c.check(f"{way_name}: {name}")(function)
c.main()
