"""docs/recording.md shows commands that there are."""

import re
import shlex
from pathlib import Path

import pytest

from llama_stack_provider_messages.tape.cli import parser

PAGE = (Path(__file__).parents[4] / "docs" / "recording.md").read_text(encoding="utf-8")
SHOWN = [
    shlex.split(line)[1:]
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", "").split("\nmessages-tape")
    for line in [line if line.startswith("messages-tape") else f"messages-tape{line}"]
]


@pytest.mark.parametrize("words", SHOWN, ids=" ".join)
def test_a_command_that_is_shown_can_be_read(words):
    assert parser().parse_args(words[: words.index("--")] if "--" in words else words).name in words


def test_every_command_is_shown():
    named = set(re.findall(r"^\| `(\w+) ", PAGE, re.MULTILINE))
    assert named == {"record", "replay", "show", "check", "prune"}


def test_every_option_is_named():
    for command in parser()._subparsers._group_actions[0].choices.values():
        for option in command._option_string_actions:
            assert option in ("-h", "--help") or option in PAGE
