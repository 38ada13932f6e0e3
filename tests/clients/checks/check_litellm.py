import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is fetched
import litellm  # noqa: E402

import check as c  # noqa: E402

ASK = dict(messages=c.MESSAGES, max_tokens=16, temperature=0)
WAYS = {
    "openai": dict(model="openai/auto", api_base=c.V1, api_key=c.KEY),
    "anthropic": dict(model="anthropic/auto", api_base=c.URL, api_key=c.KEY),
    "ollama": dict(model="ollama_chat/auto", api_base=c.URL),
}


def ask_by(way):
    def ask():
        c.said(litellm.completion(**WAYS[way], **ASK).choices[0].message.content)
        pieces = litellm.completion(**WAYS[way], **ASK, stream=True)
        c.said("".join(p.choices[0].delta.content or "" for p in pieces))

    return ask


for way in WAYS:
    c.check(f"chat, stream, by {way}'s API")(ask_by(way))


@c.check("text_completion, embedding, responses")
def others():
    known = dict(model="openai/auto", api_base=c.V1, api_key=c.KEY)
    assert (
        litellm.text_completion(**{**known, "model": "text-completion-openai/auto"}, prompt="one", max_tokens=3)
        .choices[0]
        .text
    )
    assert len(litellm.embedding(**known, input=["one"]).data[0]["embedding"]) > 0
    assert litellm.responses(**known, input=c.CITY_QUESTION, max_output_tokens=16).output


c.main()
