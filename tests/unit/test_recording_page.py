"""docs/recording.md documents every command, option, fixture and mode."""

import inspect
import re
import shlex
from pathlib import Path

import pytest

from messages_tape.cli.main import parser
from messages_tape.testing import plugin as pytest_plugin
from messages_tape.testing import plugin_state as pytest_state
from messages_tape.testing.plugin_state import MODES

PAGE = (Path(__file__).parents[2] / "docs" / "recording.md").read_text(encoding="utf-8")
SOURCE = inspect.getsource(pytest_state) + inspect.getsource(pytest_plugin)
SHELL = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", "")
SHOWN = [shlex.split(words) for words in re.split(r"^(?=messages-tape |pytest |pip )", SHELL, flags=re.MULTILINE)[1:]]
TAPE = [words[1:] for words in SHOWN if words[0] == "messages-tape"]
PYTEST = [words[1:] for words in SHOWN if words[0] == "pytest"]


@pytest.mark.parametrize("words", TAPE, ids=" ".join)
def test_a_command_that_is_shown_can_be_read(words):
    """By the parser of messages-tape."""
    assert parser().parse_args(words[: words.index("--")] if "--" in words else words).name in words


def test_every_command_is_shown():
    """In a table, and three of them first."""
    named = set(re.findall(r"^\| `(\w+) ", PAGE, re.MULTILINE))
    assert named == {"record", "replay", "show", "check", "prune"}
    assert [words[0] for words in TAPE[:3]] == ["record", "show", "replay"]


@pytest.mark.parametrize("command", ["record", "replay", "show", "check", "prune"])
def test_every_option_of_the_commands_is_named(command, capsys):
    """Except the one for help."""
    with pytest.raises(SystemExit):
        parser().parse_args([command, "--help"])
    options = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out)) - {"--help"}
    assert sorted(option for option in options if option not in PAGE) == []


@pytest.mark.parametrize("words", PYTEST, ids=" ".join)
def test_a_run_that_is_shown_can_be_started(words):
    """By the options of the plugin."""
    options = pytest.Parser(_ispytest=True)
    pytest_plugin.pytest_addoption(options)
    assert options.parse_known_args(words).tape_upstream


def test_every_pytest_option_is_on_the_page():
    """Each command line and ini option of the plugin is documented."""
    names = re.findall(r'add(?:option|ini)\(\s*"([\w-]+)"', SOURCE)
    assert len(names) == 8
    assert [name for name in names if f"`{name}" not in PAGE] == []


def test_every_fixture_is_on_the_page():
    """Each fixture except the internal ``tape_resources`` is documented."""
    names = set(re.findall(r"@pytest\.fixture.*\ndef (\w+)", SOURCE)) - {"tape_resources"}
    assert set(re.findall(r"^\| `(\w+)` \| (?:function|session) \|", PAGE, re.MULTILINE)) == names


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_on_the_page(mode):
    """Each mode is documented under its name on the command line."""
    assert f"`{mode}`" in PAGE


def test_links_to_sections_have_a_target():
    """Every link to a section has a heading, and every heading has a link."""
    titles = {
        title.lower().replace(",", "").replace(" ", "-") for title in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) == titles
