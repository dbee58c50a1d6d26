"""Runs a session of the official Python SDK and prints its results as JSON. Usage: sdk_session.py BASE_URL.

js/sdk.mjs does the same. The session runs in a separate process, because one process cannot import two major versions
of the SDK.
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


def request_fields(step, text="What are the weather and the time in Oslo?", **more):
    """Return the fields of a request; the model name is the step of the session."""
    return {"model": f"try-{step}", "max_tokens": 200, "messages": [{"role": "user", "content": text}], **more}


def result_of(call):
    return {"get_weather": "sunny for {days} days in {city}", "get_time": "noon in {city}"}[call.name].format(
        **call.input
    )


def tool_round_trip(send):
    """Send a question, then the results of its tool calls; ``send`` returns the message for a list of messages."""
    question = request_fields("x")["messages"]
    first = send(question)
    calls = [block for block in first.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": result_of(call)} for call in calls]
    second = send([*question, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}])
    return [first.to_dict(mode="json"), second.to_dict(mode="json")]


def create_message(client, messages):
    return client.messages.create(**request_fields("tools", tools=TOOLS) | {"messages": messages})


def stream_message(client, messages, kinds):
    with client.messages.stream(**request_fields("tools-stream", tools=TOOLS) | {"messages": messages}) as stream:
        kinds.extend(event.type for event in stream)
        return stream.get_final_message()


def events(client, **fields):
    with client.messages.create(**fields, stream=True) as stream:
        return [event.to_dict(mode="json") for event in stream]


def parse_message(client):
    message = client.messages.parse(**request_fields("parse", "Plan a trip"), output_format=Trip)
    return message.parsed_output.model_dump()


def parse_stream(client):
    with client.messages.stream(**request_fields("parse-stream", "Plan a trip"), output_format=Trip) as stream:
        return stream.get_final_message().parsed_output.model_dump()


def run_tools(client, step, *, stream):
    """Let the SDK run the tools until the model calls none."""
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

    turns = client.beta.messages.tool_runner(**request_fields(step), tools=[get_weather, get_time], stream=stream)
    messages = [(turn.get_final_message() if stream else turn).to_dict(mode="json") for turn in turns]
    return {"ran": ran, "messages": messages}


def stream_error(client):
    try:
        events(client, **request_fields("x") | {"model": "up/error-chunk"})
    except anthropic.APIError as error:
        return {"class": type(error).__name__, "body": error.body}
    return None


def main(url):
    client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
    kinds = []
    report = {
        "version": anthropic.__version__,
        "has_threads": hasattr(client.beta.messages, "thread"),
        "create": client.messages.create(**request_fields("create", "Hello")).to_dict(mode="json"),
        "events": events(client, **request_fields("events", tools=TOOLS)),
        "events_over_pings": events(client, **request_fields("x") | {"model": "up/pausing"}),
        "tools": tool_round_trip(lambda messages: create_message(client, messages)),
        "tools_stream": tool_round_trip(lambda messages: stream_message(client, messages, kinds)),
        "kinds": kinds,
        "parse": parse_message(client),
        "parse_stream": parse_stream(client),
        "runner": run_tools(client, "runner", stream=False),
        "runner_stream": run_tools(client, "runner-stream", stream=True),
        "broken": stream_error(client),
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
