"""docs/limits.md has the limits that the code has."""

import re

import pytest

from llama_stack_api_messages import ServeSettings, json_members, limits
from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.native.request import MAX_EDITED
from llama_stack_provider_messages.stack import llama_stack
from llama_stack_provider_messages.translated.media import loader, pdf_child, pdf_texts
from llama_stack_provider_messages.translation.messages_to_chat import thinking_signature
from llama_stack_provider_messages.upstream.client import MAX_RESPONSE_BYTES
from support.pages import ROOT

PAGE = (ROOT / "docs" / "limits.md").read_text()
ROWS = [re.split(r"\s*\|\s*", line.strip("| \n")) for line in PAGE.splitlines() if line.startswith("| ")]
DEFAULTS = MessagesConfig()


@pytest.mark.parametrize(
    ("value", "of"),
    [
        (f"{DEFAULTS.max_request_bytes >> 20} MiB", "the body"),
        (f"{DEFAULTS.request_silence_seconds:g} seconds", "without a byte"),
        (f"{DEFAULTS.max_messages:,}", "messages"),
        (f"{DEFAULTS.max_content_blocks:,}", "content blocks"),
        (f"{DEFAULTS.max_tools:,}", "tools"),
        (f"{limits.MAX_EDITS}", "edits"),
        (f"{limits.MAX_VALUES:,}", "values"),
        (f"{limits.MAX_UNKNOWN_FIELDS_PER_OBJECT:,}", "unknown fields of one object"),
        (f"{limits.MAX_UNKNOWN_FIELDS_PER_REQUEST:,}", "unknown fields of the request"),
        (f"{json_members.MAX_MEMBERS:,}", "fields at the top level"),
        (f"{json_members.MAX_NAME_BYTES:,} bytes", "the name of a field"),
        (f"{thinking_signature.MAX_INFLATED_BYTES >> 20} MiB", "thinking in the signatures"),
        (
            f"{thinking_signature.MAX_SIGNED_BYTES >> 20} MiB, or {thinking_signature.MAX_RATIO} times its size",
            "thinking in one signature",
        ),
        (f"{llama_stack.MAX_SDK_TOOLS:,}", "tools of a request that goes through the platform's SDK"),
        (f"{llama_stack.MAX_SDK_MESSAGES:,}", "messages, tool calls, images and files"),
        (f"{pdf_child.MAX_PAGES} pages, {pdf_child.MAX_CHARACTERS:,} characters", "the text of one PDF"),
        (f"{pdf_child.MAX_MEMORY_BYTES >> 30} GiB", "memory"),
        (f"{pdf_texts.MAX_CHILDREN}", "PDFs that are read at a time"),
        (f"{loader.MAX_URLS}", "different URLs"),
        (f"{loader.MAX_PDFS}", "different PDFs"),
        (f"{DEFAULTS.media_max_bytes >> 20} MiB", "all downloads"),
        (f"{DEFAULTS.media_timeout_seconds:g} seconds", "all downloads"),
        (f"{MAX_EDITED:,}", "messages and blocks from which"),
        (f"{MAX_RESPONSE_BYTES >> 20} MiB", "a whole response"),
    ],
)
def test_each_limit_has_its_value_on_the_page(value, of):
    """In the row that begins with it."""
    assert [row for row in ROWS if row[0] == value and row[1].startswith(of)], f"no row: {value} | {of}"


def test_the_defaults_of_the_routes_are_those_of_the_configuration():
    """A stack without settings, and a router without an implementation, have the same limits."""
    assert DEFAULTS.serve_settings() == ServeSettings()


@pytest.mark.parametrize("name", re.findall(r"\| `(\w+)` \| \d", PAGE))
def test_each_setting_on_the_page_exists(name):
    assert name in MessagesConfig.model_fields
