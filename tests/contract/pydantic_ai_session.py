"""Runs a session of pydantic-ai and prints its results as JSON. Usage: pydantic_ai_session.py BASE_URL."""

import asyncio
import json
import sys
from importlib.metadata import version

from pydantic_ai import Agent
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider


def get_weather(city: str, days: int) -> str:
    """Get the weather for a city."""
    return f"sunny for {days} days in {city}"


def get_time(city: str) -> str:
    """Get the time in a city."""
    return f"noon in {city}"


async def main(url):
    model = AnthropicModel("try-tools", provider=AnthropicProvider(base_url=url, api_key="none"))
    agent = Agent(model, tools=[get_weather, get_time])

    async def read(_context, events):  # with a handler the agent streams; run_stream() would end at the first text
        async for _event in events:
            pass

    run = await agent.run("What are the weather and the time in Oslo?", event_stream_handler=read)
    parts = [part for message in run.all_messages() for part in message.parts]
    report = {
        "version": version("pydantic-ai-slim"),
        "calls": [[part.tool_name, part.args_as_dict()] for part in parts if isinstance(part, ToolCallPart)],
        "text": run.output,
        "input_tokens": run.response.usage.input_tokens,
        "output_tokens": run.response.usage.output_tokens,
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
