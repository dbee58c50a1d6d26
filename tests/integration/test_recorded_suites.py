"""What the recorded suites prove: runs of them in other circumstances than the usual ones."""

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
PLACE = "choices.*.message.reasoning_content: text, only on the tape"
NO_ENGINE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "xllamacpp":
            raise ImportError("the engine is absent")

sys.meta_path.insert(0, Absent())
"""


def suite(*args, paths=(), **env):
    """Run a part of the suites in a process of its own; return what it printed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rN", "tests/suites", *map(str, args)]
    search = os.pathsep.join([*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": search, "TAPE_API_KEY": KEY, **env}
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    return run.stdout + run.stderr


@contextmanager
def engine(**changed):
    """Run the embedded engine as it is when it is recorded, but for some options; give its address."""
    config = LlamaCppConfig(context_size=8192)
    steady = {"model_alias": [config.model_file.stem], "n_parallel": 1, "cache_prompt": False}
    process = EngineProcess(COMMAND, engine_options(config, KEY) | steady | changed, 120)
    process.start()
    try:
        yield process.ready.result()
    finally:
        process.stop()


def test_a_stack_says_the_same_without_the_engine_it_was_recorded_with(tmp_path):
    """Byte for byte, but for ids and signatures, which are made anew; on both lanes and from both clients."""
    recordings = tmp_path / "recordings"
    part = ["-k", "adds_up and (server or chat)", "-o", f"tape_dir={recordings}"]
    assert "3 passed" in (told := suite(*part, "--tape-mode", "rewrite")), told
    seen = {path: path.read_bytes() for path in recordings.glob("*/*.client.jsonl")}
    assert len(seen) == 2
    assert all(seen.values())
    (tmp_path / "sitecustomize.py").write_text(NO_ENGINE)
    assert "3 passed" in (told := suite(*part, paths=[tmp_path])), told
    engine = [sys.executable, "-c", "import xllamacpp"]
    absent = subprocess.run(engine, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert "the engine is absent" in absent.stderr
    assert seen == {path: path.read_bytes() for path in recordings.glob("*/*.client.jsonl")}


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
def test_one_wrong_character_of_the_translator_fails_with_its_place(tmp_path, module, right, wrong, place):
    """In what the client sees, or in what the backend is asked."""
    copy = tmp_path / "copy" / PACKAGE
    shutil.copytree(ROOT / "provider" / PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "distributions").symlink_to(ROOT / "distributions")
    path = copy / TRANSLATION / module
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    told = suite("-k", "question_is_answered and server", paths=[copy.parent])
    assert "1 failed, 1 passed" in told, told  # on the native lane nothing is translated
    pytest.LineMatcher(told.splitlines()).fnmatch_lines([f"*{place}*"])


def test_verifying_tells_what_another_setting_changes_and_nothing_else():
    """An engine that leaves its reasoning in the text answers thinking in another shape, and the rest in the same."""
    with engine(reasoning_format=0) as address:
        told = verified(address, "thinking_is_a_block or question_is_answered or adds_up or tool_is_called")
    assert "1 failed, 3 passed" in told, told
    assert re.findall(r"exchange \d+ \(.*?\): (.*)", told) == [PLACE], told
    with engine() as address:
        told = verified(address, "thinking_is_a_block")
    assert "1 passed" in told, told


def verified(address, names):
    """Return what a verifying run says of a running engine."""
    upstream = f"llama-cpp-chat={address}"
    return suite("--tape-mode", "verify", "--tape-upstream", upstream, "-k", f"server and ({names})")
