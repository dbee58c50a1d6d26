"""A provider over a scripted transport."""

import httpx
import pytest
from llama_stack_api.inference import OpenAIChatCompletionRequestWithExtraBody

from llama_stack_provider_messages.remote import client as remote_client
from llama_stack_provider_messages.remote.config import RemoteMessagesConfig
from llama_stack_provider_messages.remote.impl import MessagesInference
from llama_stack_provider_messages.remote.provider import get_provider_spec
from llama_stack_provider_messages.upstream import client as upstream_client


class Upstream:
    """Sends the responses it is given, in order; the last one is for all further requests."""

    def __init__(self):
        self.answers = []
        self.requests = []

    def answer(self, status=200, body=b"{}", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append(lambda: httpx.Response(status, content=body, headers=named))

    def fail(self, error):
        def failing():
            raise error

        self.answers.append(failing)

    def stream(self, *parts):
        async def body():
            for part in parts:
                if isinstance(part, Exception):
                    raise part
                yield part

        head = {"content-type": "text/event-stream"}
        self.answers.append(lambda: httpx.Response(200, content=body(), headers=head))

    def __call__(self, request):
        self.requests.append(request)
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])()


@pytest.fixture
def upstream(monkeypatch):
    made = Upstream()

    def new_client(_network, connect_seconds, silence_seconds):
        timeout = httpx.Timeout(silence_seconds, connect=connect_seconds)
        return httpx.AsyncClient(transport=httpx.MockTransport(made), timeout=timeout)

    monkeypatch.setattr(upstream_client, "new_client", new_client)
    monkeypatch.setattr(remote_client, "new_client", new_client)
    return made


@pytest.fixture
async def provider(upstream):
    """Makes providers, and closes them."""
    made = []

    async def make(**config):
        one = MessagesInference(config=RemoteMessagesConfig(**{"base_url": "http://host/prefix", **config}))
        one.__provider_id__, one.__provider_spec__ = "up", get_provider_spec()
        await one.initialize()
        made.append(one)
        return one

    yield make
    for one in made:
        await one.shutdown()


@pytest.fixture
def chat_request():
    """Makes chat completions requests as the platform does."""

    def request(**fields):
        least = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        return OpenAIChatCompletionRequestWithExtraBody(**least | fields)

    return request
