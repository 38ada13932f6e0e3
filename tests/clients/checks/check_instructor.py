import instructor
import openai
import pydantic

import check as c


class Person(pydantic.BaseModel, extra="forbid"):
    name: str = pydantic.Field(max_length=12)  # the demo pair would go on for ever
    age: int = pydantic.Field(ge=0, le=200)


def ask_in(mode):
    def ask():
        client = instructor.from_openai(openai.OpenAI(base_url=c.V1, api_key=c.KEY, max_retries=0), mode=mode)
        person = client.chat.completions.create(
            model=c.LARGE,
            messages=[{"role": "user", "content": c.PERSON_TEXT}],
            response_model=Person,
            max_retries=0,
            max_tokens=200,
            temperature=0,
        )
        assert not c.REAL or (person.name, person.age) == ("Tom", 25), person

    return ask


modes = [instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT, instructor.Mode.JSON_SCHEMA]
if c.REAL:  # nothing but the prompt says which names the object has
    modes.append(instructor.Mode.JSON)
for mode in modes:
    c.check(f"mode {mode.name}")(ask_in(mode))


@c.check("create_partial, as it streams")
def partial():
    client = instructor.from_openai(
        openai.OpenAI(base_url=c.V1, api_key=c.KEY, max_retries=0), mode=instructor.Mode.JSON_SCHEMA
    )
    people = list(
        client.chat.completions.create_partial(
            model=c.LARGE,
            messages=[{"role": "user", "content": c.PERSON_TEXT}],
            response_model=Person,
            max_retries=0,
            max_tokens=200,
            temperature=0,
        )
    )
    assert len(people) > 1 and (not c.REAL or people[-1].name == "Tom"), people


c.main()
