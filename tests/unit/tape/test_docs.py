"""docs/tapes.md matches the code."""

import ast
import re
from pathlib import Path

import pytest

from messages_tape import AMBIENT, Mode, Rules, load
from messages_tape.format.model import End

PAGE = (Path(__file__).parents[3] / "docs" / "tapes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_programs_on_the_page_are_valid(block):
    """Their imports are complete, except for the `session` of the block before."""
    names = {node.id for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Name)}
    compile(block, "docs/tapes.md", "exec")
    assert ("Path" not in names) or "from pathlib import Path" in block


def test_the_tape_on_the_page_is_valid():
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (exchange,) = load(text).exchanges
    assert exchange.response.chunks[1].data + exchange.response.chunks[2].data == b'data: {"a":"\xc3\xa4"}\n\n'
    assert exchange.request.body.value["system"] == "You are a tape.\nBe short."


@pytest.mark.parametrize(
    "name", [*Mode, *End.model_fields["how"].annotation.__args__, *Rules().request_headers, *Rules().user_fields]
)
def test_modes_ends_and_rules_are_named(name):
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", Rules().response_headers)
def test_response_headers_are_named(name):
    assert f"`{name}`" in PAGE or "ratelimit" in name


@pytest.mark.parametrize("pattern", AMBIENT)
def test_ambient_calls_are_named(pattern):
    assert f"`{pattern.removeprefix('GET ').removesuffix('/*')}`" in PAGE


def test_links_to_sections_are_valid():
    titles = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) == titles
