"""The token limits of models: where they come from, how long they are kept, and that no backend delays the list."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from llama_stack.providers.utils.inference.model_registry import RemoteInferenceProviderConfig

from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_provider_messages.routing import limits as module
from llama_stack_provider_messages.routing.limits import ModelLimits, TokenLimits
from llama_stack_provider_messages.stack import OpenAIMixin, Target

NOTHING = TokenLimits()


class Provider(OpenAIMixin):
    """A provider of the platform with an address."""

    def get_base_url(self):
        return "http://host/v1"


STARTED = []


class StoppedEngine(Provider):
    """An embedded engine that is not running; its upstream would start it."""

    def get_base_url(self):
        raise RuntimeError("The embedded engine is not running")

    async def messages_upstream(self, resource_id):
        STARTED.append(resource_id)


def target(kind="remote::vllm", name="m", provider=None, **metadata):
    provider = provider or Provider(config=RemoteInferenceProviderConfig(api_key="sk-1"))
    return Target(f"up/{name}", "up", kind, name, provider=provider, metadata=metadata)


class Response:
    """A response with a JSON body, or one of the given bytes."""

    def __init__(self, body, status=200):
        self.status_code = status
        self.headers = {}
        self.is_success = status == 200
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def aiter_bytes(self):
        yield self.body

    async def aclose(self):
        pass


class Client:
    """Responds by method and path; raises exceptions, and waits for events."""

    def __init__(self, answers):
        self.answers = answers
        self.requests = []

    async def send(self, _target, upstream, request):
        body = json.loads(request.data) if request.data else {}
        self.requests.append((request.method, request.path, body.get("model")))
        assert upstream.headers == {"authorization": "Bearer sk-1"}
        assert request.short
        answer = self.answers.get((request.method, request.path), Response({"detail": "Not Found"}, 404))
        answer = answer.pop(0) if isinstance(answer, list) else answer
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return Response({"data": [{"id": "m", "max_model_len": 4096}]})
        return answer if isinstance(answer, Response) else Response(answer)


LIST, PS, SHOW = ("GET", "/v1/models?limit=1000"), ("GET", "/api/ps"), ("POST", "/api/show")
PROPS = ("GET", "/props?model=org%2Fm&autoload=false")


async def limits_of(client, *targets, configured=None):
    found = await ModelLimits(client, configured or {}).of(targets)
    return [found[one.model_id] for one in targets]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ({"max_model_len": 4096}, TokenLimits(4096, 4096)),
        ({"max_input_tokens": 200_000, "max_tokens": 64_000}, TokenLimits(200_000, 64_000)),
        ({"context_length": 8192}, TokenLimits(8192)),
        ({"context_window": 8192, "max_completion_tokens": 1024}, TokenLimits(8192, 1024)),
        ({"max_context_length": 8192}, TokenLimits(8192)),
        ({"custom_metadata": {"context_length": 8192, "max_tokens": 512}}, TokenLimits(8192, 512)),
        ({"max_model_len": None, "max_tokens": 0}, NOTHING),
        ({"max_model_len": "4096", "context_length": True, "max_tokens": -1}, NOTHING),
        ({"custom_metadata": [1]}, NOTHING),
        ({}, NOTHING),
    ],
)
async def test_the_list_of_a_backend_states_limits(listed, expected):
    """Under the names of vLLM, the Messages API and other services; anything but a positive number is unknown."""
    client = Client({LIST: {"data": [{"id": "other", "max_model_len": 1}, {"id": "m", **listed}]}})
    assert await limits_of(client, target()) == [expected]


@pytest.mark.parametrize(
    "answer",
    [
        Response(b"<html>"),
        Response(b'{"data": [{"id": "m", "max_model_len": 4096}]}' + b" " * 5_000_000),
        Response({"error": "x"}, 401),
        [1, None, {"id": 3}],
        {"data": {"id": "m"}},
        {"data": [["m"], "m"]},
        None,
        BadGatewayError("down"),
        RuntimeError("a bug of a provider"),
    ],
)
async def test_a_backend_that_states_nothing_leaves_limits_unknown(answer):
    """Whatever it responds with; the list does not fail."""
    assert await limits_of(Client({LIST: answer}), target()) == [NOTHING]


@pytest.mark.parametrize("kind", ["remote::llama-cpp-server", "inline::llama-cpp"])
async def test_llama_cpp_states_the_context_of_a_slot(kind):
    """A router of several models is told not to load the model of the request."""
    client = Client({PROPS: {"default_generation_settings": {"n_ctx": 65536}, "total_slots": 2}})
    assert await limits_of(client, target(kind, "org/m")) == [TokenLimits(65536, 65536)]


async def test_an_engine_that_is_not_running_is_not_started():
    """Its limits are unknown until it runs."""
    engine = StoppedEngine(config=RemoteInferenceProviderConfig())
    client = Client({})
    assert await limits_of(client, target("inline::llama-cpp", provider=engine)) == [NOTHING]
    assert client.requests == STARTED == []


async def test_ollama_states_the_window_of_a_loaded_model_else_its_parameter():
    """The length for which a model was trained is not used: Ollama's own default is often much smaller."""
    shown = [
        {
            "parameters": "stop  <end>\nnum_ctx           32768\n",
            "model_info": {"q.context_length": 131072},
        },
        {"parameters": "temperature 1", "model_info": {"q.context_length": 131072}},
        Response({"error": "model not found"}, 404),
    ]
    loaded = {"models": [{"name": "a:latest", "context_length": 4096}, {"name": "b:7b", "context_length": 8192}]}
    client = Client({PS: loaded, SHOW: shown})
    found = await limits_of(client, *(target("remote::ollama", name) for name in ("a", "b:7b", "c", "d", "e")))
    assert found == [TokenLimits(4096, 4096), TokenLimits(8192, 8192), TokenLimits(32768, 32768), NOTHING, NOTHING]
    assert client.requests == [(*PS, None), *((*SHOW, name) for name in "cde")]


async def test_limits_that_were_learned_before_a_failure_are_kept():
    """Ollama gets one request for each model."""
    client = Client({PS: {"models": []}, SHOW: [{"parameters": "num_ctx 8192"}, BadGatewayError("down")]})
    found = await limits_of(client, *(target("remote::ollama", name) for name in "ab"))
    assert found == [TokenLimits(8192, 8192), NOTHING]


async def test_the_configuration_and_the_list_of_the_platform_come_before_the_backend():
    """The operator's most specific entry first; a backend is not queried if nothing is missing."""
    client = Client({LIST: {"data": [{"id": name, "max_model_len": 4096} for name in "abc"]}})
    configured = {
        "remote::vllm": {"max_output_tokens": 1},
        "up": {"max_output_tokens": 1024},
        "up/c": {"context_window": 2},
    }
    both = target(name="a", context_length=8192, max_tokens=512)
    assert await limits_of(client, both) == [TokenLimits(8192, 512)]
    assert client.requests == []
    found = await limits_of(client, both, target(name="b"), target(name="c"), configured=configured)
    assert found == [TokenLimits(8192, 1024), TokenLimits(4096, 1024), TokenLimits(2, 1024)]


@pytest.mark.parametrize("kind", ["inline::sentence-transformers", ""])
async def test_a_provider_without_an_http_backend_is_not_queried(kind):
    """Its limits are unknown."""
    client = Client({})
    assert await limits_of(client, target(kind)) == [NOTHING]
    assert client.requests == []


@pytest.mark.parametrize(("answer", "lifetime"), [({"data": [{"id": "m", "max_model_len": 4096}]}, 300), ({}, 30)])
async def test_an_answer_is_kept_for_a_while(answer, lifetime):
    """Minutes if there is a limit, half a minute if not."""
    now = [100.0]
    client = Client({LIST: answer})
    limits = ModelLimits(client, {}, lambda: now[0])
    first = await limits.of([target()])
    now[0] += lifetime - 1
    assert await limits.of([target()]) == first
    assert len(client.requests) == 1
    now[0] += 1
    assert await limits.of([target()]) == first
    assert len(client.requests) == 2


async def test_a_silent_backend_does_not_delay_the_list_and_responds_later():
    """All lists share one request; what it brings is in the next list."""
    answer = asyncio.Event()
    client = Client({LIST: answer})
    limits = ModelLimits(client, {}, wait_seconds=0.01)
    async with asyncio.timeout(60):
        assert await limits.of([target()]) == {"up/m": NOTHING}
        assert await limits.of([target()]) == {"up/m": NOTHING}
        answer.set()
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))
        assert await limits.of([target()]) == {"up/m": TokenLimits(4096, 4096)}
    assert len(client.requests) == 1


async def test_the_query_of_a_silent_backend_times_out(monkeypatch):
    """It counts as one that states nothing."""
    lines = []
    monkeypatch.setattr(module, "logger", SimpleNamespace(info=lambda text, **values: lines.append(values["reason"])))
    limits = ModelLimits(Client({LIST: asyncio.Event()}), {}, wait_seconds=60, query_seconds=0.01)
    async with asyncio.timeout(60):
        assert await limits.of([target()]) == {"up/m": NOTHING}
    assert lines == ["TimeoutError"]


async def test_closing_cancels_the_running_requests():
    """Also one that no list waits for."""
    client = Client({LIST: asyncio.Event()})
    limits = ModelLimits(client, {}, wait_seconds=0.01)
    await limits.of([target()])
    async with asyncio.timeout(60):
        await limits.close()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_without_models_there_are_no_limits():
    """An empty page."""
    assert await ModelLimits(Client({}), {}).of([]) == {}
