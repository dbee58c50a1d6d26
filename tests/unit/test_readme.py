"""The README documents what exists."""

import re
from pathlib import Path

import pytest

from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.remote.config import ModelEntry, RemoteMessagesConfig
from llama_stack_provider_messages.translation.messages_to_chat import PRESETS, Profile
from llama_stack_provider_messages.upstream.settings import NativeSettings

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.mark.parametrize("model", [MessagesConfig, NativeSettings, Profile, RemoteMessagesConfig, ModelEntry])
def test_every_setting_is_in_the_readme(model):
    """Settings of the provider, of the native lane and of backends."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    assert [name for name in names if f"`{name}`" not in README] == []


def test_every_preset_is_in_the_readme():
    """What ``like`` takes, and nothing else."""
    listed = re.search(r"Names for `like`: ([^.]*)\.", README)
    assert listed
    assert sorted(re.findall(r"\w+", listed[1])) == sorted(PRESETS)
