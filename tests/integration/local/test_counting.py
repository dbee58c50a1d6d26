"""Token counts of the embedded engine equal the usage that it reports."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from llama_stack_api.inference import OpenAIChatCompletionRequestWithExtraBody, OpenAIUserMessageParam

from llama_stack_provider_messages.translated.counting import TokenCounter, TokenizerUnavailable
from llama_stack_provider_messages.translation.messages_to_chat import PRESETS, TranslationContext, translate_request
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import COUNTING_METHODS
from support.streams import request

pytestmark = pytest.mark.integration

PLACEHOLDER_MESSAGES = [OpenAIUserMessageParam(role="user", content="-")]
TOOL = {"name": "get_weather", "description": "Get it \u2603 <|im_end|>", "input_schema": {"type": "object"}}
READ_TOOL = {"name": "read", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
USER = {"role": "user", "content": "Hello there <|im_end|> \U0001f600"}
ANSWER = {"role": "assistant", "content": "Hello, I"}
CALLS = {
    "role": "assistant",
    "content": [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "a", "name": "get_weather", "input": {"city": "Paris"}},
        {"type": "tool_use", "id": "b", "name": "read", "input": {}},
    ],
}
RESULTS = {
    "role": "user",
    "content": [
        {"type": "tool_result", "tool_use_id": "a", "content": "18 C"},
        {"type": "tool_result", "tool_use_id": "b", "is_error": True, "content": [{"type": "text", "text": "no"}]},
        {"type": "text", "text": "And?"},
    ],
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
TOOLS = {"tools": [TOOL, READ_TOOL]}
CASES = {
    "plain": {},
    "system": {"system": "You are terse."},
    "turns": {"messages": [USER, {"role": "assistant", "content": "Hi."}, USER]},
    "later instructions": {"messages": [USER, ANSWER, {"role": "system", "content": "Be kind."}, USER]},
    "tools": TOOLS,
    "tools none": TOOLS | {"tool_choice": {"type": "none"}},
    "tools any": TOOLS | {"tool_choice": {"type": "any"}},
    "one tool": TOOLS | {"tool_choice": {"type": "tool", "name": "read"}},
    "results": TOOLS | {"messages": [USER, CALLS, RESULTS], "system": "You are terse."},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    "no thinking": {"thinking": {"type": "disabled"}},
    "effort": {"output_config": {"effort": "low"}},
    "format": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "prefill": {"messages": [USER, ANSWER]},
    "prefill with tools": TOOLS | {"messages": [USER, ANSWER]},
    "long": {"messages": [{"role": "user", "content": "The quick brown fox, 1234. " * 300}, ANSWER, USER]},
}


@pytest.fixture
async def client(provider) -> AsyncIterator[httpx.AsyncClient]:
    address = await provider.engine.address()
    headers = {"authorization": f"Bearer {provider.client.api_key}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60, trust_env=False) as made:
        yield made


@pytest.fixture
def post(client):
    async def post(path, body):
        reply = await client.post(path, json=body)
        if not reply.is_success:
            raise TokenizerUnavailable(reply.status_code)
        return reply.json()

    return post


@pytest.fixture(params=["one step", "two steps"])
def counting_method(request, monkeypatch):
    """Both ways to count: the engine's one request, and the two requests that older servers need."""
    if request.param == "two steps":
        monkeypatch.setitem(COUNTING_METHODS, "llama_cpp", COUNTING_METHODS["llama_cpp"][1:])


async def prompt_tokens_of(provider, fields):
    rest = {name: value for name, value in fields.items() if name != "messages"} | {"max_tokens": 1}
    params = OpenAIChatCompletionRequestWithExtraBody(model="tiny", messages=PLACEHOLDER_MESSAGES, **rest)
    params.messages = fields["messages"]
    return (await provider.openai_chat_completion(params)).usage.prompt_tokens


@pytest.mark.parametrize("case", CASES)
async def test_a_count_equals_the_usage(provider, post, counting_method, case):
    """Also if a part of the prompt is in the cache, as it is for the second request."""
    fields = translate_request(
        request(**{"messages": [USER], **CASES[case]}), TranslationContext(PRESETS["llama_cpp"])
    ).fields
    count = await TokenCounter().count(fields, "llama_cpp", "tiny", post)
    assert count.exact
    assert [await prompt_tokens_of(provider, fields) for _ in range(2)] == [count.tokens] * 2


async def test_a_burst_of_counts_is_exact(post, counting_method):
    """Claude Code counts all parts of its context at once."""
    counter = TokenCounter()
    tools = [{"type": "function", "function": {"name": f"f{i}", "description": "d " * 400}} for i in range(28)]
    requests = [{"messages": [{"role": "user", "content": "foo"}], "tools": [tool]} for tool in tools]
    counts = await asyncio.gather(*(counter.count(fields, "llama_cpp", "tiny", post) for fields in requests))
    assert all(count.exact and count.tokens > 400 for count in counts)
