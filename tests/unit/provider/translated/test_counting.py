"""Counts of prompts: whom they ask, when they estimate, and whom they leave alone; over scripted servers."""

import asyncio
import json

import pytest

from llama_stack_provider_messages.translated import counting
from llama_stack_provider_messages.translated.counting import Count, TokenCounter, TokenizerUnavailable
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import estimate_tokens
from llama_stack_provider_messages.upstream import state

FIELDS = {"messages": [{"role": "user", "content": "Hi there"}], "max_tokens": 9}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
ESTIMATE = Count(estimate_tokens(FIELDS), exact=False)
COUNT, APPLY, TOKENIZE = "/v1/chat/completions/input_tokens", "/apply-template", "/tokenize"


class Server:
    """Answers by path; a route is a function of the body, a status to refuse with, or None for silence."""

    def __init__(self, **routes):
        self.routes = {f"/{name}": route for name, route in routes.items()}
        self.asked = []

    async def post(self, path, body):
        path = path.partition("?")[0]
        self.asked.append(path)
        json.dumps(body)
        await asyncio.sleep(0)
        route = self.routes.get(path, 404)
        if not callable(route):
            raise TokenizerUnavailable(route)
        return route(body)


def vllm_tokenize(body):
    """Count words as vLLM's route counts tokens: with its check of a request, and blind to fields it lacks."""
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
    assert server.asked == [TOKENIZE, TOKENIZE]


@pytest.mark.parametrize("generation_prompt", [True, False])
async def test_a_prefill_is_counted_where_the_server_takes_it(counter, generation_prompt):
    """The beginning of an answer cannot be followed by the beginning of another."""
    messages = [*FIELDS["messages"], {"role": "assistant", "content": "Hello, I"}]
    prefill = {"messages": messages, "continue_final_message": True, "add_generation_prompt": generation_prompt}
    assert (await counter.count(prefill, "vllm", "m", vllm().post)).exact is not generation_prompt


async def test_a_count_that_may_be_off_says_so(counter):
    count = await counter.count(FIELDS | {"reasoning_effort": "low"}, "vllm", "m", vllm().post)
    assert not count.exact
    assert count != ESTIMATE


@pytest.mark.parametrize(
    ("kind", "fields"),
    [(None, FIELDS), ("vllm", {"messages": [{"role": "user", "content": [IMAGE]}]})],
    ids=["no tokenizer", "an image"],
)
async def test_what_no_tokenizer_counts_is_estimated(counter, kind, fields):
    """Nobody is asked."""
    server = vllm()
    assert await counter.count(fields, kind, "m", server.post) == Count(estimate_tokens(fields), exact=False)
    assert server.asked == []


async def test_llama_cpp_is_asked_once(counter):
    server = llama_cpp()
    assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == Count(7, exact=True)
    assert server.asked == [COUNT]


async def test_an_older_llama_cpp_counts_in_two_steps(counter, clock):
    """That it lacks the route is remembered for a minute; the steps it has are asked all the while."""
    server = old_llama_cpp()
    for _ in range(2):
        assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == Count(4, exact=True)
    assert server.asked == [COUNT, APPLY, TOKENIZE, APPLY, TOKENIZE]
    clock.now += 60
    server.routes[COUNT] = lambda body: {"input_tokens": 5}
    assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == Count(5, exact=True)


@pytest.mark.parametrize("status", [404, 405, 501, None, 401, 429, 503])
async def test_a_tokenizer_that_fails_is_left_alone_for_a_minute(counter, clock, status, messages_logged):
    """Its users get estimates meanwhile, and the log one line."""
    server = vllm(status)
    for _ in range(3):
        assert await counter.count(FIELDS, "vllm", "m", server.post) == ESTIMATE
        clock.now += 29.5
    assert server.asked == [TOKENIZE]
    assert len(messages_logged) == 1
    server.routes[TOKENIZE] = vllm_tokenize
    assert (await counter.count(FIELDS, "vllm", "m", server.post)).exact


@pytest.mark.parametrize("failure", [None, 503])
async def test_a_server_that_does_not_answer_is_not_waited_for_twice(counter, failure):
    """Not even by the other way to count."""
    server = llama_cpp(failure)
    assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == ESTIMATE
    assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == ESTIMATE
    assert server.asked == [COUNT]


async def test_an_answer_nobody_understands_is_a_failure(counter):
    """What is behind the path is no tokenizer."""
    server = llama_cpp(lambda body: {"html": "welcome"})
    for _ in range(2):
        assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == ESTIMATE
    assert server.asked == [COUNT]


@pytest.mark.parametrize("status", [400, 413, 422, 500])
async def test_a_refused_conversation_does_not_silence_the_tokenizer(counter, status):
    """It is estimated, without another try; the next one is counted."""
    server = llama_cpp(status)
    assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == ESTIMATE
    server.routes[COUNT] = lambda body: {"input_tokens": 7}
    assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == Count(7, exact=True)
    assert server.asked == [COUNT, COUNT]


async def test_a_broken_second_step_is_a_failure_too(counter):
    server = old_llama_cpp()
    server.routes[TOKENIZE] = None
    for _ in range(2):
        assert await counter.count(FIELDS, "llama_cpp", "m", server.post) == ESTIMATE
    assert server.asked == [COUNT, APPLY, TOKENIZE]


async def test_other_models_and_backends_are_asked_still(counter):
    """A name may be that of different models on different backends."""
    down, up = vllm(None), vllm()
    await counter.count(FIELDS, "vllm", "m", down.post, upstream="a")
    assert (await counter.count(FIELDS, "vllm", "m", up.post, upstream="b")).exact
    assert (await counter.count(FIELDS, "vllm", "n", up.post, upstream="a")).exact
    assert await counter.count(FIELDS, "vllm", "m", up.post, upstream="a") == ESTIMATE


async def test_what_is_remembered_is_bounded(counter, monkeypatch):
    """A provider takes any model name; the oldest failure is forgotten."""
    monkeypatch.setattr(state, "MAX_KEYS", 2)
    server = vllm(None)
    for model in ("a", "b", "c", "b", "c", "a"):
        await counter.count(FIELDS, "vllm", model, server.post)
    assert len(server.asked) == 4


async def test_a_burst_is_counted_at_once(counter):
    """Claude Code sends up to 28 at a time; none waits for another."""
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


async def test_a_burst_on_a_silent_server_logs_one_line(counter, messages_logged):
    server = vllm(None)
    counts = await asyncio.gather(*(counter.count(FIELDS, "vllm", "m", server.post) for _ in range(28)))
    assert counts == [ESTIMATE] * 28
    assert [fields["because"] for fields in messages_logged] == ["the tokenizer gave no answer"]


async def test_the_usual_clock_is_one_that_runs_on():
    assert (await TokenCounter().count(FIELDS, "vllm", "m", vllm().post)).exact
