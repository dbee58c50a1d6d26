"""The pages have every setting and every preset."""

import re
from pathlib import Path

import pytest

from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.local.config import LlamaCppConfig
from llama_stack_provider_messages.remote.config import ModelEntry, RemoteMessagesConfig
from llama_stack_provider_messages.translation.messages_to_chat import PRESETS, Profile
from llama_stack_provider_messages.upstream.settings import NativeSettings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "model"),
    [
        ("configuration", MessagesConfig),
        ("configuration", LlamaCppConfig),
        ("native-lane", NativeSettings),
        ("backends", Profile),
        ("openai-clients", RemoteMessagesConfig),
        ("openai-clients", ModelEntry),
    ],
)
def test_every_setting_is_on_its_page(page, model):
    """Settings of the provider, of the engine, of the native lane, of backends and of remote::messages."""
    text = (DOCS / f"{page}.md").read_text()
    names = [field.alias or name for name, field in model.model_fields.items()]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_preset_is_on_the_page_of_backends():
    """What ``like`` takes, and nothing else."""
    listed = re.search(r"Names for `like`: ([^.]*)\.", (DOCS / "backends.md").read_text())
    assert listed
    assert sorted(re.findall(r"\w+", listed[1])) == sorted(PRESETS)
