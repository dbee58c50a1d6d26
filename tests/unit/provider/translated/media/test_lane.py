"""Media on their way through the provider."""

import pytest
from pydantic import ValidationError

from llama_stack_api_messages import Call, RequestBody
from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.impl import MessagesImpl
from llama_stack_provider_messages.stack import Target
from support.pdfs import encoded, pdf_with
from support.replies import answer


class Platform:
    """Takes whatever is asked; never answers."""

    def is_served(self, _name):
        return True

    async def locate(self, model_id):
        return Target(model_id, "p", "remote::vllm", "m")

    async def chat(self, _target, fields):
        self.fields = fields
        raise InvalidRequestError("asked")


def request(source):
    block = {"type": "document", "source": source}
    body = {"model": "p/m", "max_tokens": 1, "messages": [{"role": "user", "content": [block]}]}
    return RequestBody.of(CreateMessageRequest.model_validate(body))


async def test_a_pdf_is_read_before_the_backend_is_asked():
    """And what read it is released at the end."""
    platform = Platform()
    impl = MessagesImpl(MessagesConfig(), platform)
    source = {"type": "base64", "media_type": "application/pdf", "data": encoded(pdf_with("Hello"))}
    with pytest.raises(InvalidRequestError, match="asked"):
        await answer(impl, request(source), Call("req_1"))
    assert platform.fields["messages"][0]["content"] == "<document>\n[page 1]\nHello\n</document>"
    await impl.shutdown()


async def test_the_policy_about_addresses_is_that_of_the_configuration():
    impl = MessagesImpl(MessagesConfig(media_urls="reject"), Platform())
    with pytest.raises(InvalidRequestError, match="does not accept URLs"):
        await answer(impl, request({"type": "url", "url": "https://a"}), Call("req_1"))
    await impl.shutdown()


@pytest.mark.parametrize("field", [{"media_urls": "x"}, {"media_max_bytes": 0}, {"media_timeout_seconds": 0}])
def test_nonsense_in_the_configuration_is_refused(field):
    with pytest.raises(ValidationError):
        MessagesConfig(**field)
