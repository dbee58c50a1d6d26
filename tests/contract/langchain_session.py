"""Runs a session of LangChain and prints its results as JSON. Usage: langchain_session.py BASE_URL."""

import json
import sys
from importlib.metadata import version

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool


@tool
def get_weather(city: str, days: int) -> str:
    """Get the weather for a city."""
    return f"sunny for {days} days in {city}"


@tool
def get_time(city: str) -> str:
    """Get the time in a city."""
    return f"noon in {city}"


def joined_stream(model, messages):
    first, *others = model.stream(messages)
    for chunk in others:
        first += chunk
    return first


def main(url):
    tools = {"get_weather": get_weather, "get_time": get_time}
    model = ChatAnthropic(model="try-tools", base_url=url, api_key="none", max_retries=0, max_tokens=200)
    model = model.bind_tools(list(tools.values()))
    question = [HumanMessage("What are the weather and the time in Oslo?")]
    first = joined_stream(model, question)
    results = [
        ToolMessage(tools[call["name"]].invoke(call["args"]), tool_call_id=call["id"]) for call in first.tool_calls
    ]
    second = joined_stream(model, [*question, first, *results])
    report = {
        "version": version("langchain-anthropic"),
        "calls": [[call["name"], call["args"]] for call in first.tool_calls],
        "text": second.text,
        "input_tokens": second.usage_metadata["input_tokens"],
        "output_tokens": second.usage_metadata["output_tokens"],
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
