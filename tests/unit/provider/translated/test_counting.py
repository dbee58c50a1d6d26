"""Token counts of prompts: requests to scripted tokenizers, estimates, and cooldowns."""

import asyncio
import json

import pytest

from llama_stack_provider_messages.translated import counting
from llama_stack_provider_messages.translated.counting import Count, TokenCounter, TokenizerUnavailable
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import estimate_tokens

FIELDS = {"messages": [{"role": "user", "content": "Hi there"}], "max_tokens": 9}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
ESTIMATE = Count(estimate_tokens(FIELDS), exact=False)
COUNT, APPLY, TOKENIZE = "/v1/chat/completions/input_tokens", "/apply-template", "/tokenize"


class Server:
    """Answers by path; a route is a function of the body, an error status, or None for no response."""

    def __init__(self, **routes):
        self.routes = {f"/{name}": route for name, route in routes.items()}
        self.paths = []

    async def post(self, path, body):
        path = path.partition("?")[0]
        self.paths.append(path)
        json.dumps(body)
        await asyncio.sleep(0)
        route = self.routes.get(path, 404)
        if not callable(route):
            raise TokenizerUnavailable(route)
        return route(body)


def vllm_tokenize(body):
    """Count words as vLLM's route counts tokens: it validates the request and ignores unknown fields."""
    if body.get("continue_final_message") and body.get("add_generation_prompt", True):
        raise TokenizerUnavailable(400)
    tokens = [len(word) for word in json.dumps([body["messages"], body.get("tools") or []]).split()]
    return {"count": len(tokens), "max_model_len": 32768, "tokens": tokens, "token_strs": None}


def llama_tokenize(body):
    return {"tokens": [0] * body["add_special"] + body["content"].split()}


def vllm(route=vllm_tokenize):
    return Server(tokenize=route)


def old_llama_cpp(apply=lambda body: {"prompt": "a b c"}):
    return Server(**{"apply-template": apply, "tokenize": llama_tokenize})


def llama_cpp(route=lambda body: {"input_tokens": 7}):
    server = old_llama_cpp()
    server.routes[COUNT] = route
    return server


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counter(clock):
    return TokenCounter(clock)


@pytest.fixture
def messages_logged(monkeypatch):
    seen = []
    monkeypatch.setattr(counting.logger, "info", lambda *args, **fields: seen.append(fields))
    return seen


async def test_the_tokenizer_of_the_backend_counts(counter):
    """Tools are part of the prompt."""
    server = vllm()
    alone = await counter.count(FIELDS, "vllm", "m", server.post)
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    with_tools = await counter.count(FIELDS | {"tools": [tool]}, "vllm", "m", server.post)
    assert alone.exact
    assert with_tools.exact
    assert with_tools.tokens > alone.tokens
    assert server.paths == [TOKENIZE, TOKENIZE]


@pytest.mark.parametrize("generation_prompt", [True, False])
async def test_a_prefill_is_counted_if_the_server_accepts_it(counter, generation_prompt):
    """A continued message and a generation prompt exclude each other in vLLM."""
    messages = [*FIELDS["messages"], {"role": "assistant", "content": "Hello, I"}]
    prefill = {"messages": messages, "continue_final_message": True, "add_generation_prompt": generation_prompt}
    assert (await counter.count(prefill, "vllm", "m", vllm().post)).exact is not generation_prompt


async def test_a_count_that_may_be_inexact_is_marked(counter):
    count = await counter.count(FIELDS | {"reasoning_effort": "low"}, "vllm", "m", vllm().post)
    assert not count.exact
    assert count != ESTIMATE


@pytest.mark.parametrize(
    ("kind", "fields"),
    [(None, FIELDS), ("vllm", {"messages": [{"role": "user", "content": [IMAGE]}]})],
    ids=["no tokenizer", "an image"],
)
async def test_a_prompt_that_no_tokenizer_counts_is_estimated(counter, kind, fields):
    """No request is sent."""
    server = vllm()
    assert await counter.count(fields, kind, "m", server.post) == Count(estimate_tokens(fields), exact=False)
    assert server.paths == []


async def test_llama_cpp_gets_one_request(counter):
    server = llama_cpp()
    assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == Count(7, exact=True)
    assert server.paths == [COUNT]


async def test_an_older_llama_cpp_counts_in_two_steps(counter, clock):
    """The missing route is not called again for a minute; the two steps are."""
    server = old_llama_cpp()
    for _ in range(2):
        assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == Count(4, exact=True)
    assert server.paths == [COUNT, APPLY, TOKENIZE, APPLY, TOKENIZE]
    clock.now += 60
    server.routes[COUNT] = lambda body: {"input_tokens": 5}
    assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == Count(5, exact=True)


@pytest.mark.parametrize("status", [404, 405, 501, None, 401, 429, 503])
async def test_a_tokenizer_that_failed_is_not_called_for_a_minute(counter, clock, status, messages_logged):
    """Counts are estimates meanwhile, and the log gets one line."""
    server = vllm(status)
    for _ in range(3):
        assert await counter.count(FIELDS, "vllm", "m", server.post) == ESTIMATE
        clock.now += 29.5
    assert server.paths == [TOKENIZE]
    assert len(messages_logged) == 1
    server.routes[TOKENIZE] = vllm_tokenize
    assert (await counter.count(FIELDS, "vllm", "m", server.post)).exact


@pytest.mark.parametrize("failure", [None, 503])
async def test_a_server_without_a_response_is_called_once(counter, failure):
    """The other way to count is not tried either."""
    server = llama_cpp(failure)
    assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == ESTIMATE
    assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == ESTIMATE
    assert server.paths == [COUNT]


async def test_an_unexpected_response_is_a_failure(counter):
    """The path belongs to something else."""
    server = llama_cpp(lambda body: {"html": "welcome"})
    for _ in range(2):
        assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == ESTIMATE
    assert server.paths == [COUNT]


@pytest.mark.parametrize("status", [400, 413, 422, 500])
async def test_a_rejected_conversation_does_not_start_a_cooldown(counter, status):
    """It is estimated without a retry; the next one is counted."""
    server = llama_cpp(status)
    assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == ESTIMATE
    server.routes[COUNT] = lambda body: {"input_tokens": 7}
    assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == Count(7, exact=True)
    assert server.paths == [COUNT, COUNT]


async def test_a_failed_second_step_is_a_failure(counter):
    server = old_llama_cpp()
    server.routes[TOKENIZE] = None
    for _ in range(2):
        assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == ESTIMATE
    assert server.paths == [COUNT, APPLY, TOKENIZE]


async def test_a_cooldown_is_for_one_model_of_one_backend(counter):
    """Different backends may have models of the same name."""
    down, up = vllm(None), vllm()
    await counter.count(FIELDS, "vllm", "m", down.post, upstream="a")
    assert (await counter.count(FIELDS, "vllm", "m", up.post, upstream="b")).exact
    assert (await counter.count(FIELDS, "vllm", "n", up.post, upstream="a")).exact
    assert await counter.count(FIELDS, "vllm", "m", up.post, upstream="a") == ESTIMATE


async def test_the_number_of_cooldowns_is_limited(counter):
    """A provider accepts any model name; above 1,000 models the oldest cooldown is removed."""
    server = vllm(None)
    models = [str(number) for number in range(1_001)]
    for model in [*models, models[-1], models[1], models[0]]:
        await counter.count(FIELDS, "vllm", model, server.post)
    assert len(server.paths) == 1_002


async def test_a_burst_is_counted_concurrently(counter):
    """Claude Code sends up to 28 counts at a time; none waits for another."""
    server, gate = vllm(), asyncio.Event()

    async def slow(path, body):
        waiting.append(path)
        if len(waiting) == 28:
            gate.set()
        await gate.wait()
        return await server.post(path, body)

    waiting = []
    counts = await asyncio.gather(*(counter.count(FIELDS, "vllm", "m", slow) for _ in range(28)))
    assert all(count.exact for count in counts)


async def test_a_burst_to_a_server_without_a_response_logs_one_line(counter, messages_logged):
    server = vllm(None)
    counts = await asyncio.gather(*(counter.count(FIELDS, "vllm", "m", server.post) for _ in range(28)))
    assert counts == [ESTIMATE] * 28
    assert [fields["because"] for fields in messages_logged] == ["the tokenizer gave no answer"]


async def test_the_default_clock_works():
    assert (await TokenCounter().count(FIELDS, "vllm", "m", vllm().post)).exact
