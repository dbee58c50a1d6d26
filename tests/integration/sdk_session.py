"""Runs a session of the official SDK and prints its results as JSON. Usage: sdk_session.py BASE_URL STRICT_URL.

The stack at STRICT_URL has no default model. The session runs in a separate process, because two major versions of the
SDK are tested, and one process cannot import both.
"""

import json
import sys

import anthropic

WEATHER = {
    "name": "get_weather",
    "description": "Get the current weather for a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
NO_THINKING = {"type": "disabled"}


def user(text):
    return {"role": "user", "content": text}


def create(client, text, **more):
    return client.messages.create(model="claude-sonnet-4-5", max_tokens=200, messages=[user(text)], **more)


def stream_message(client):
    with client.messages.stream(
        model="any-name", max_tokens=200, messages=[user("Count to 10")], thinking=NO_THINKING
    ) as stream:
        kinds = [event.type for event in stream]
        return kinds, stream.get_final_message().to_dict()


def tool_round_trip(client):
    question = [user("What is the weather in Paris?")]
    first = client.messages.create(model="m", max_tokens=200, messages=question, tools=[WEATHER], thinking=NO_THINKING)
    calls = [block for block in first.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees, sunny"} for call in calls]
    turns = [*question, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = client.messages.create(model="m", max_tokens=200, messages=turns, tools=[WEATHER], thinking=NO_THINKING)
    return first.to_dict(), second.to_dict()


def error_of(call):
    try:
        call()
    except anthropic.APIStatusError as error:
        return {
            "class": type(error).__name__,
            "status": error.status_code,
            "request_id": error.request_id,
            "body": error.body,
        }
    return None


def main(url, strict_url):
    client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
    strict = anthropic.Anthropic(base_url=strict_url, api_key="none", max_retries=0)
    kinds, final = stream_message(client)
    first, second = tool_round_trip(client)
    report = {
        "version": anthropic.__version__,
        "create": create(client, "Hello", thinking=NO_THINKING).to_dict(),
        "kinds": kinds,
        "streamed": final,
        "tool_first": first,
        "tool_second": second,
        "thinking": create(client, "Hello", thinking={"type": "adaptive"}).to_dict(),
        "wrong_model": error_of(lambda: strict.messages.create(model="gone/x", max_tokens=5, messages=[user("x")])),
        "bad_body": error_of(lambda: client.messages.create(model="m", max_tokens=-1, messages=[user("x")])),
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
