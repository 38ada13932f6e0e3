import pydantic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

import check as c

chat = ChatOpenAI(model=c.LARGE, base_url=c.V1, api_key=c.KEY, temperature=0, max_tokens=200, max_retries=0)


class Person(pydantic.BaseModel):
    """A person."""

    name: str = pydantic.Field(max_length=12)  # the demo pair would go on for ever
    age: int = pydantic.Field(ge=0, le=200)


@tool
def get_weather(city: str) -> str:
    """The weather of a city"""
    return city


@c.check("invoke, stream")
def invoke():
    whole = chat.invoke(c.CITY_QUESTION).content
    c.said(whole)
    assert "".join(piece.content for piece in chat.stream(c.CITY_QUESTION)) == whole


@c.check("responses API")
def responses():
    c.said(str(chat.model_copy(update={"use_responses_api": True}).invoke(c.CITY_QUESTION).content))


@c.check("with_structured_output")
def structured():
    for method in ("json_schema", "function_calling"):
        person = chat.with_structured_output(Person, method=method).invoke(c.PERSON_TEXT)
        assert not c.REAL or (person.name, person.age) == ("Tom", 25), (method, person)


@c.check("bind_tools")
def tools():
    calls = chat.bind_tools([get_weather], tool_choice="any").invoke(c.WEATHER_QUESTION).tool_calls
    assert not c.REAL or (calls[0]["name"], calls[0]["args"]["city"]) == ("get_weather", c.CITY), calls


@c.check("completions, embeddings")
def others():
    model = OpenAI(model=c.LARGE, base_url=c.V1, api_key=c.KEY, temperature=0, max_tokens=4, max_retries=0)
    c.said(model.invoke("The capital of France is"))
    # Else it sends the tokens of OpenAI's own models.
    vectors = OpenAIEmbeddings(model=c.LARGE, base_url=c.V1, api_key=c.KEY, check_embedding_ctx_length=False)
    assert len(vectors.embed_documents(["one", "two"])) == 2


c.main()
