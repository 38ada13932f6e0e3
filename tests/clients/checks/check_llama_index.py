import pydantic
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

import check as c

KNOWN = dict(
    model=c.LARGE,
    api_base=c.V1,
    api_key=c.KEY,
    temperature=0,
    max_tokens=100,
    max_retries=0,
    timeout=300,
    context_window=4096,
)
chat = OpenAILike(is_chat_model=True, is_function_calling_model=True, **KNOWN)
QUESTION = [ChatMessage(role="user", content=c.CITY_QUESTION)]


class Person(pydantic.BaseModel):
    """A person."""

    name: str = pydantic.Field(max_length=12)  # the demo pair would go on for ever
    age: int = pydantic.Field(ge=0, le=200)


@c.check("chat, stream_chat")
def chats():
    whole = chat.chat(QUESTION).message.content
    c.said(whole)
    assert "".join(piece.delta or "" for piece in chat.stream_chat(QUESTION)) == whole


@c.check("complete, stream_complete")
def completes():
    model = OpenAILike(is_chat_model=False, **{**KNOWN, "max_tokens": 4})
    whole = model.complete("The capital of France is").text
    c.said(whole)
    assert "".join(piece.delta or "" for piece in model.stream_complete("The capital of France is")) == whole


@c.check("chat_with_tools")
def tools():
    def get_weather(city: str) -> str:
        """The weather of a city"""
        return city

    reply = chat.chat_with_tools(
        [FunctionTool.from_defaults(get_weather)], user_msg=c.WEATHER_QUESTION, tool_required=True
    )
    calls = chat.get_tool_calls_from_response(reply, error_on_no_tool_call=c.REAL)
    assert not c.REAL or (calls[0].tool_name, calls[0].tool_kwargs["city"]) == ("get_weather", c.CITY), calls


@c.check("structured_predict")
def structured():
    person = chat.structured_predict(Person, PromptTemplate(c.PERSON_TEXT))
    assert not c.REAL or (person.name, person.age) == ("Tom", 25), person


c.main()
