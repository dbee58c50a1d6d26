"""README.md and docs/ have every setting, and links that resolve."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from llama_stack_provider_messages import headers
from llama_stack_provider_messages.cli.launch import REMOVED, Limits, claude_variables, window_variables
from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.local.config import LlamaCppConfig
from llama_stack_provider_messages.remote.config import ModelEntry, RemoteMessagesConfig
from llama_stack_provider_messages.routing.catalog import NameRule
from llama_stack_provider_messages.translation.messages_to_chat import PRESETS, Profile
from llama_stack_provider_messages.upstream.settings import NativeSettings
from support.pages import PAGES, ROOT, blocks

MAX_README_LINES = 150
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


@pytest.mark.parametrize("page", ["native-lane", "backends"])
def test_the_settings_that_a_page_shows_are_valid(page):
    """A block that is a part of the provider's configuration."""
    shown = [block for block in blocks("yaml") if block.page == f"docs/{page}.md"]
    assert shown
    for block in shown:
        MessagesConfig.model_validate(yaml.safe_load(block.text))


def test_every_rule_of_model_names_is_in_the_table_in_its_order():
    """The reasons in the header ``x-messages-model``."""
    table = (
        (DOCS / "configuration.md").read_text().split("| reason | the name is |\n| --- | --- |\n")[1].split("\n\n")[0]
    )
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == get_args(NameRule.__value__)


def test_every_header_of_our_own_is_on_the_page_of_operations():
    """Response headers that only this project sends."""
    text = (DOCS / "operations.md").read_text()
    for header in (headers.MODEL_HEADER, headers.LANE_HEADER, headers.COUNT_HEADER, headers.DROPPED_HEADER):
        assert f"| `{header}` |" in text


def test_every_variable_of_launch_is_on_the_page_of_claude_code():
    """Those that are set, and those that are removed."""
    text = (DOCS / "claude-code.md").read_text().replace("`_", "`CLAUDE_CODE_USE_")
    names = [*claude_variables("http://x", "m", Limits(16_384, 2_048)), *REMOVED]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_table_of_windows_has_the_values_of_launch():
    """For each window of the table, if the output limit of the model is not smaller."""
    rows = re.findall(r"^\| ([\d,]+) \|(.*)\|$", (DOCS / "claude-code.md").read_text(), re.MULTILINE)
    assert len(rows) == 4
    for window, values in rows:
        shown = [value.strip().replace(",", "") for value in values.split("|")]
        sent = [value for value in shown[:4] if value != "default"]
        wanted = window_variables(Limits(int(window.replace(",", "")), 1_000_000))
        names = ["CLAUDE_CODE_MAX_OUTPUT_TOKENS", "CLAUDE_CODE_MAX_CONTEXT_TOKENS"]
        names += ["BASH_MAX_OUTPUT_LENGTH", "CLAUDE_CODE_FILE_READ_MAX_OUTPUT_TOKENS"]
        assert [wanted[name] for name in names if name in wanted] == sent


def test_the_readme_is_short():
    """Details are on the pages in docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) < MAX_README_LINES


def prose(page):
    """Return the text of a page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page):
    """To files, and to headings in them; pages in docs/ link to each other only, because they are a site, too."""
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert page.name == "README.md" or linked.is_relative_to(DOCS), f"{target} is outside of docs/"
        assert not anchor or anchor in anchors(linked), target


def test_every_page_is_linked_from_the_readme_and_the_index():
    """Except the index itself, which is the start of the site."""
    names = {page.name for page in PAGES} - {"README.md", "index.md"}
    assert set(re.findall(r"\(docs/([\w-]+\.md)\)", (ROOT / "README.md").read_text())) == names
    assert set(re.findall(r"\(([\w-]+\.md)\)", (DOCS / "index.md").read_text())) == names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_is_in_fenced_blocks_with_a_language(page):
    """So that the tests find every command; a block that is indented, or has no language, is not found."""
    text = page.read_text()
    fences = re.findall(r"^```(\w*)$", text, re.MULTILINE)
    assert all(fences[::2]), "a fence without a language"
    assert set(fences[1::2]) <= {""}
    assert set(fences[::2]) <= {"bash", "python", "javascript", "yaml", "ini", "text"}
    assert not re.search(r"\n\n    \S", prose(page))
