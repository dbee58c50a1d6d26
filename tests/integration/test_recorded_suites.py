"""Runs of the recorded suites without the engine, with a broken translator, and against a changed engine."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

from llama_stack_provider_messages.local.config import LlamaCppConfig, engine_options
from llama_stack_provider_messages.local.engine import COMMAND, EngineProcess
from support.stack_process import ROOT

pytestmark = pytest.mark.integration

KEY = "key-of-the-embedded-engine"
PACKAGE = "llama_stack_provider_messages"
TRANSLATION = "translation/messages_to_chat"
REPORTED_DIFFERENCE = "choices.*.message.reasoning_content: text, only on the tape"
NO_ENGINE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "xllamacpp":
            raise ImportError("the engine is absent")

sys.meta_path.insert(0, Absent())
"""


def suite(*args, paths=(), **env):
    """Run a part of the suites in a separate process; return its output."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rN", "tests/suites", *map(str, args)]
    search = os.pathsep.join([*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": search, "TAPE_API_KEY": KEY, **env}
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    return run.stdout + run.stderr


@contextmanager
def engine(**changed):
    """Run the embedded engine as for a recording, with some options changed; yield its address."""
    config = LlamaCppConfig(context_size=8192)
    steady = {"model_alias": [config.model_file.stem], "n_parallel": 1, "cache_prompt": False}
    process = EngineProcess(COMMAND, engine_options(config, KEY) | steady | changed, 120)
    process.start()
    try:
        yield process.ready.result()
    finally:
        process.stop()


def test_a_replay_without_the_engine_gives_the_same_responses(tmp_path):
    """Byte for byte, except for generated ids and signatures; on both lanes and for both clients."""
    recordings = tmp_path / "recordings"
    part = ["-k", "adds_up and (server or chat)", "-o", f"tape_dir={recordings}"]
    assert "3 passed" in (output := suite(*part, "--tape-mode", "rewrite")), output
    recorded = {path: path.read_bytes() for path in recordings.glob("*/*.client.jsonl")}
    assert len(recorded) == 2
    assert all(recorded.values())
    (tmp_path / "sitecustomize.py").write_text(NO_ENGINE)
    assert "3 passed" in (output := suite(*part, paths=[tmp_path])), output
    engine = [sys.executable, "-c", "import xllamacpp"]
    absent = subprocess.run(engine, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert "the engine is absent" in absent.stderr
    assert recorded == {path: path.read_bytes() for path in recordings.glob("*/*.client.jsonl")}


@pytest.mark.parametrize(
    ("module", "right", "wrong", "place"),
    [
        (
            "reply/stop_and_usage.py",
            '"stop": "end_turn"',
            '"stop": "end_turm"',
            '+ "stop_reason": "end_turm",',
        ),
        (
            "request/thinking.py",
            '"enable_thinking"',
            '"enable_thinkinh"',
            "chat_template_kwargs.enable_thinkinh",
        ),
    ],
    ids=["to the client", "to the backend"],
)
def test_one_wrong_character_in_the_translator_fails_with_the_json_path(tmp_path, module, right, wrong, place):
    """In a response to the client or in a request to the backend."""
    copy = tmp_path / "copy" / PACKAGE
    shutil.copytree(ROOT / "provider" / PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "distributions").symlink_to(ROOT / "distributions")
    path = copy / TRANSLATION / module
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    output = suite("-k", "question_is_answered and server", paths=[copy.parent])
    assert "1 failed, 1 passed" in output, output  # on the native lane nothing is translated
    pytest.LineMatcher(output.splitlines()).fnmatch_lines([f"*{place}*"])


def test_verify_reports_only_what_a_changed_setting_changes():
    """An engine without a reasoning format changes only the response with thinking."""
    with engine(reasoning_format=0) as address:
        output = verify(address, "thinking_is_a_block or question_is_answered or adds_up or tool_is_called")
    assert "1 failed, 3 passed" in output, output
    assert re.findall(r"exchange \d+ \(.*?\): (.*)", output) == [REPORTED_DIFFERENCE], output


def verify(address, names):
    """Return the output of a run with ``--tape-mode verify`` against an engine."""
    upstream = f"llama-cpp-chat={address}"
    return suite("--tape-mode", "verify", "--tape-upstream", upstream, "-k", f"server and ({names})")
