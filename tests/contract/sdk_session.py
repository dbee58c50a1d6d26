"""What the official Python SDK sees of a stack, as one JSON object on stdout. Usage: sdk_session.py BASE_URL.

js/sdk.mjs is its twin. Runs in a process of its own, because two major versions of the SDK cannot share one.
"""

import json
import sys
from typing import Literal

import anthropic
from anthropic import beta_tool
from pydantic import BaseModel

TOOLS = [
    {
        "name": "get_weather",
        "description": "Get the weather for a city",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
    {
        "name": "get_time",
        "description": "Get the time in a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
]


class Stop(BaseModel):
    place: str
    kind: Literal["museum", "park"]


class Trip(BaseModel):
    city: str
    days: int
    stops: list[Stop]
    guided: bool | None


def asking(step, text="What are the weather and the time in Oslo?", **more):
    """Return the fields of a request; the model name says which step of the session it is."""
    return {"model": f"try-{step}", "max_tokens": 200, "messages": [{"role": "user", "content": text}], **more}


def result_of(call):
    return {"get_weather": "sunny for {days} days in {city}", "get_time": "noon in {city}"}[call.name].format(
        **call.input
    )


def tool_round_trip(client, turn):
    """Ask, answer every call, ask again; ``turn`` gets a message in one way or another."""
    asked = asking("x")["messages"]
    first = turn(asked)
    calls = [block for block in first.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": result_of(call)} for call in calls]
    second = turn([*asked, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}])
    return [first.to_dict(mode="json"), second.to_dict(mode="json")]


def created(client, messages):
    return client.messages.create(**asking("tools", tools=TOOLS) | {"messages": messages})


def streamed(client, messages, kinds):
    with client.messages.stream(**asking("tools-stream", tools=TOOLS) | {"messages": messages}) as stream:
        kinds.extend(event.type for event in stream)
        return stream.get_final_message()


def events(client, **fields):
    with client.messages.create(**fields, stream=True) as stream:
        return [event.to_dict(mode="json") for event in stream]


def parsed(client):
    message = client.messages.parse(**asking("parse", "Plan a trip"), output_format=Trip)
    return message.parsed_output.model_dump()


def parsed_stream(client):
    with client.messages.stream(**asking("parse-stream", "Plan a trip"), output_format=Trip) as stream:
        return stream.get_final_message().parsed_output.model_dump()


def runner(client, step, *, stream):
    """Let the SDK run the tools until the model is done."""
    ran = []

    @beta_tool
    def get_weather(city: str, days: int) -> str:
        """Get the weather for a city."""
        ran.append(["get_weather", city, days])
        return f"sunny for {days} days in {city}"

    @beta_tool
    def get_time(city: str) -> str:
        """Get the time in a city."""
        ran.append(["get_time", city])
        return f"noon in {city}"

    turns = client.beta.messages.tool_runner(**asking(step), tools=[get_weather, get_time], stream=stream)
    seen = [(turn.get_final_message() if stream else turn).to_dict(mode="json") for turn in turns]
    return {"ran": ran, "messages": seen}


def broken(client):
    try:
        events(client, **asking("x") | {"model": "up/error-chunk"})
    except anthropic.APIError as error:
        return {"class": type(error).__name__, "body": error.body}
    return None


def main(url):
    client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
    kinds = []
    report = {
        "version": anthropic.__version__,
        "has_threads": hasattr(client.beta.messages, "thread"),
        "create": client.messages.create(**asking("create", "Hello")).to_dict(mode="json"),
        "events": events(client, **asking("events", tools=TOOLS)),
        "events_over_pings": events(client, **asking("x") | {"model": "up/pausing"}),
        "tools": tool_round_trip(client, lambda messages: created(client, messages)),
        "tools_stream": tool_round_trip(client, lambda messages: streamed(client, messages, kinds)),
        "kinds": kinds,
        "parse": parsed(client),
        "parse_stream": parsed_stream(client),
        "runner": runner(client, "runner", stream=False),
        "runner_stream": runner(client, "runner-stream", stream=True),
        "broken": broken(client),
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
