"""Translates a chat request with these messages and fields."""

import pytest

from llama_stack_provider_messages.translation.chat_to_messages import TranslationOptions, translate_request


@pytest.fixture
def translate():
    def run(*messages, options=None, **fields):
        chat = {"model": "m", "messages": list(messages) or [{"role": "user", "content": "hi"}], **fields}
        return translate_request(chat, options or TranslationOptions("upstream"))

    return run
