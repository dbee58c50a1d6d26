"""docs/recording.md says what there is."""

import inspect
import re
from pathlib import Path

import pytest

from llama_stack_provider_messages import pytest_plugin
from llama_stack_provider_messages.pytest_plugin import MODES

PAGE = (Path(__file__).parents[2] / "docs" / "recording.md").read_text(encoding="utf-8")
SOURCE = inspect.getsource(pytest_plugin)


def test_every_option_is_on_the_page():
    """Of the command line and of the ini file."""
    names = re.findall(r'add(?:option|ini)\(\s*"([\w-]+)"', SOURCE)
    assert len(names) == 7
    assert [name for name in names if f"`{name}" not in PAGE] == []


def test_every_fixture_is_on_the_page():
    """But the one behind the others."""
    names = set(re.findall(r"@pytest\.fixture.*\ndef (\w+)", SOURCE)) - {"tape_bench"}
    assert set(re.findall(r"^\| `(\w+)` \| (?:function|session) \|", PAGE, re.MULTILINE)) == names


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_on_the_page(mode):
    assert f"`{mode}`" in PAGE


def test_links_to_sections_lead_somewhere():
    titles = {
        title.lower().replace(",", "").replace(" ", "-") for title in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) == titles
