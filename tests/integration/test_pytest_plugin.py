"""The ``stack`` fixture of the pytest plugin, with real stacks: recording and replay."""

import httpx
import pytest
import yaml

from support.stack_process import ROOT, StackProcess, run_config, vllm

pytestmark = pytest.mark.integration
pytest_plugins = ["pytester"]

PLUGIN = ("-p", "llama_stack_provider_messages.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
SUITE = """
import httpx
import pytest

def ask(stack, text):
    body = {"max_tokens": 20, "model": stack.model, "messages": [{"role": "user", "content": text}]}
    return httpx.post(f"{stack.url}/v1/messages", json=body | {"thinking": {"type": "disabled"}}, timeout=60)

def note(stack):
    with open("pids", "a") as file:
        print(stack.process.pid, stack.model, file=file)

@pytest.mark.tape("hello")
def test_hello(stack):
    note(stack)
    assert ask(stack, "Hello").json()["content"][0]["text"]

@pytest.mark.tape("bye")
def test_bye(stack):
    note(stack)
    assert ask(stack, "Bye").status_code in (200, 409)

def test_engine(stack):
    note(stack)
    assert ask(stack, "Hello").json()["content"][0]["text"]
"""

CHANGED = """
@pytest.mark.tape("bye")
def test_changed_bye(stack):
    assert ask(stack, "Good bye").status_code in (200, 409)
"""


@pytest.fixture
def run(pytester):
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")

    def run_pytest(*args, more=""):
        pytester.makepyfile(test_it=SUITE + more)
        return pytester.runpytest_subprocess(*PLUGIN, *args)

    return run_pytest


def test_all_tests_with_a_tape_share_one_stack(run, pytester):
    """Recorded from the embedded engine, then replayed; tests without a tape share another stack with the engine."""
    run("--tape-mode", "once").assert_outcomes(passed=3)
    (pytester.path / "pids").unlink()
    run().assert_outcomes(passed=3)
    hello, bye, engine = [line.split() for line in (pytester.path / "pids").read_text().splitlines()]
    assert hello == bye
    assert hello[0] != engine[0]
    assert (hello[1], engine[1]) == ("up/tiny", "local/tiny")
    # Requests that the stack sends at its start are on no test's tape, so a single test passes, too.
    result = run("-k", "bye", more=CHANGED)
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    result.stdout.fnmatch_lines([
        "The requests of this test do not match recordings/local/bye.tape.yaml.",
        "Closest is exchange 1 of 1, not played:",
        "  messages.0.content: *recorded 'Bye', now 'Good bye'",
        "  pytest test_it.py::test_changed_bye --tape-mode rewrite --tape-upstream local=embedded",
    ])  # fmt: skip


def test_a_custom_stack_configuration(run, pytester, upstream):
    """It is named in the ini file or returned by a fixture; TAPE_URL in its environment is the address of the tape."""
    config = run_config([vllm("${env.TAPE_URL:=none}/v1")], {})
    (pytester.path / "own.yaml").write_text(yaml.safe_dump(config))
    pytester.makeconftest("""
import yaml
import pytest

@pytest.fixture
def stack_config(request, stack_config):
    text = stack_config.read_text()
    assert stack_config.name == "own.yaml"
    return yaml.safe_load(text.replace("provider_id: up", "provider_id: there"))
""")
    args = ["-k", "hello", "-o", "stack_config=own.yaml"]
    record = ["--tape-mode", "once", "--tape-upstream", f"fake={upstream.url}", "--tape-model", "text"]
    run(*args, *record).assert_outcomes(passed=1, deselected=2)
    run(*args, "--tape-upstream", "fake").assert_outcomes(passed=1, deselected=2)
    assert (pytester.path / "pids").read_text().split()[1::2] == ["there/text", "there/text"]


def test_a_stack_that_does_not_start_shows_its_log(run, pytester):
    """The output has no source code of the plugin."""
    config = run_config([{"provider_id": "up", "provider_type": "remote::nothing-like-it", "config": {}}], {})
    (pytester.path / "own.yaml").write_text(yaml.safe_dump(config))
    result = run("-k", "engine", "-o", "stack_config=own.yaml")
    result.assert_outcomes(errors=1, deselected=2)
    result.stdout.fnmatch_lines(
        ["the stack exited with code 1 while starting; its log ends with", "*remote::nothing-like-it*"]
    )
    assert "stack_process.py" not in result.stdout.str()


def test_the_distribution_starts_without_the_plugin(tmp_path):
    """Without the variables of the plugin it has only the embedded engine."""
    env = {"MESSAGES_APIS_DIR": str(ROOT / "distributions" / "apis.d"), "LLAMA_STACK_LOG_FORMAT": "json"}
    with StackProcess(ROOT / "distributions" / "ci-tests" / "run.yaml", tmp_path, env) as process:
        models = httpx.get(f"{process.url}/v1/models", timeout=60).json()["data"]
    assert [model["id"] for model in models] == ["local/tiny"]
