"""The commands and examples of README.md and docs/ work exactly as printed: extracted from the pages, nothing added.

They name ports (8321, 8000), so they run in a network of their own. Claude Code and opencode are replaced by programs
that print what they got.
"""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.pages import blocks
from support.private_network import PrivateNetwork
from support.serve_process import READY, ServeProcess
from support.stack_process import ROOT

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="the printed ports need a network namespace of Linux"),
]

BIN = Path(sys.executable).parent
TIMEOUT_SECONDS = 300
CHAT_UPSTREAM = ROOT / "tests" / "support" / "chat_upstream.py"
HELLO = '{"model": "any", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}'
POST = f"curl -sS --fail http://127.0.0.1:8321/v1/messages -d '{HELLO}' -H 'content-type: application/json'"
CLIENT = """#!/bin/sh
echo "$(basename "$0") $* | $ANTHROPIC_BASE_URL $ANTHROPIC_AUTH_TOKEN $CLAUDE_CODE_MAX_CONTEXT_TOKENS"
echo "$OPENCODE_CONFIG_CONTENT"
"""
TAPE_CLIENT = """import json, os, urllib.request
body = {"model": "qwen3-coder", "messages": [{"role": "user", "content": "Hello"}]}
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
print(urllib.request.urlopen(request).read().decode())
"""

COMMANDS = {block.text.strip(): block for block in blocks("bash", "sh", "console", "shell")}
PYTHON: dict[str, str] = {}
for _block in blocks("python"):
    _number = sum(name.startswith(f"{_block.page} ") for name in PYTHON) + 1
    PYTHON[f"{_block.page} {_number}"] = _block.text
(JAVASCRIPT,) = blocks("javascript")
RUN_YAML = [block for block in blocks("yaml") if block.is_run_yaml]
README_YAML, AUTH_YAML = (
    next(block for block in RUN_YAML if block.page == page) for page in ("README.md", "docs/operations.md")
)

SERVERS = {
    "messages serve": "tiny model",
    "messages serve --upstream http://127.0.0.1:8000": "default model qwen3-coder",
    "messages serve --model qwen3-coder.gguf --context 65536": "qwen3-coder.gguf",
    "messages run run.yaml": "the log of the start is",
}
"""Command that serves until it is stopped -> what it prints."""

REQUESTS = {
    COMMANDS[next(text for text in COMMANDS if text.startswith("curl "))].text.strip(): '"type":"message"',
    "messages launch claude": "claude  | http://127.0.0.1:8321 none 68536",
    'messages launch claude -p "Hello"': "claude -p Hello | http://127.0.0.1:8321 none 68536",
    "messages launch claude --print": "export CLAUDE_CODE_MAX_CONTEXT_TOKENS=68536",
    'eval "$(messages launch claude --print)"': "",
    "messages launch claude --write-settings": "Written: ",
    "ANTHROPIC_BASE_URL=http://127.0.0.1:8321 ANTHROPIC_AUTH_TOKEN=none claude": "claude  | http://127.0.0.1:8321 none",
    "messages launch opencode": "http://127.0.0.1:8321/v1",
    "messages launch -- python agent.py": "agent at http://127.0.0.1:8321",
    "messages doctor": "http://127.0.0.1:8321 answers",
}
"""Command for a running `messages serve` -> what it prints."""

OWN_STACKS = {
    "messages launch claude --model qwen3-coder.gguf --context 65536": "claude  | http://127.0.0.1:",
    "messages launch claude --upstream http://127.0.0.1:8000": "claude  | http://127.0.0.1:",
}
"""Command that starts a stack for its client -> what the client prints."""

TAPES = [
    text
    for text in COMMANDS
    if text.startswith(("messages-tape record", "pytest --tape-mode once --tape-upstream vllm"))
]
"""Commands that record a server on port 8000 and replay it."""

REPLAY = "messages-tape replay recordings/vllm/hello --port 8000"
INSTALLS = "installs packages"
NOT_RUN = {
    "pip install -c constraints.txt '.[local,starter]'": INSTALLS,
    "pip install -c constraints.txt '.[local,fast]'": INSTALLS,
    "pip install -c constraints.txt '.[local,library]'": INSTALLS,
    "pip install -c constraints.txt '.[local]' pytest": INSTALLS,
    **{
        text: "needs a GPU, and installs a server"
        for text in COMMANDS
        if text.startswith(("vllm serve ", "python -m sglang", "llama-server ", "OLLAMA_CONTEXT_LENGTH="))
    },
    "scripts/bench --write": "measures for minutes, and needs a quiet machine; test_bench.py runs --quick",
    **{text: "needs an Ollama server" for text in COMMANDS if text.startswith("scripts/record --tape-upstream ollama")},
    **{text: "rewrites a file of the checkout" for text in COMMANDS if "tape.schema.json" in text},
    **{
        text: "as the run with vLLM, with the engine; test_pytest_plugin.py does it"
        for text in COMMANDS
        if text.startswith("pytest --tape-mode once --tape-upstream llama.cpp=embedded")
    },
}
"""Command -> the reason why it cannot run here."""

PYTHON_RUN = {
    "README.md 1": "test_the_python_example_of_the_sdk",
    "docs/library-client.md 1": "tests/integration/test_readme.py",
    "docs/operations.md 1": "test_the_authentication_example",
    "docs/recording.md 1": "test_a_recording_is_made_and_replayed",
    "docs/tapes.md 1": "test_an_outline_of_a_program",
    "docs/tapes.md 3": "test_an_outline_of_a_program",
}
"""Page and number of the example on it -> the test that runs it."""

PYTHON_NOT_RUN = {
    "docs/recording.md 2": "a part of the reader's conftest.py, with a program of the reader",
    "docs/recording.md 3": "a part of the reader's conftest.py",
    "docs/recording.md 4": "a part of the reader's conftest.py",
    "docs/tapes.md 2": "continues the example before it",
}


def test_every_command_is_run_or_has_a_reason():
    """A new block on a page has to be added to a table above; no table has one that is gone."""
    assert sorted(COMMANDS) == sorted([*SERVERS, *REQUESTS, *OWN_STACKS, *TAPES, *NOT_RUN, REPLAY])
    assert sorted(PYTHON) == sorted([*PYTHON_RUN, *PYTHON_NOT_RUN])


class House:
    """A network, a folder and an environment for printed commands."""

    def __init__(self, network: PrivateNetwork, folder: Path) -> None:
        self.network, self.folder = network, folder
        clients = folder / "bin"
        clients.mkdir()
        for name in ("claude", "opencode"):
            (clients / name).write_text(CLIENT)
            (clients / name).chmod(0o755)
        (folder / "agent.py").write_text('import os; print("agent at", os.environ["ANTHROPIC_BASE_URL"])')
        (folder / "client.py").write_text(TAPE_CLIENT)
        (folder / "qwen3-coder.gguf").symlink_to(ROOT / "provider/llama_stack_provider_messages/local/tiny.gguf")
        (folder / "run.yaml").write_text(README_YAML.text)
        self.env = {"PATH": f"{clients}:{BIN}:{os.environ['PATH']}", "LLAMA_STACK_LOG_FORMAT": "json"}

    def start(self, *command: str, mark: str = READY) -> ServeProcess:
        return ServeProcess(self.network.command(*command), self.folder, mark=mark, **self.env)

    def start_upstream(self) -> ServeProcess:
        return self.start(sys.executable, str(CHAT_UPSTREAM), "8000", "qwen3-coder", "qwen3-4b", "tiny", mark="http://")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "CLAUDE_"))}
        return subprocess.run(
            self.network.command(*command),
            input="y\n",
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            cwd=self.folder,
            env={**env, "HOME": str(self.folder), "SQLITE_STORE_DIR": str(self.folder), **self.env},
            check=False,
        )

    def run_printed(self, text: str) -> subprocess.CompletedProcess[str]:
        return self.run("bash", "-e", "-c", COMMANDS[text].text)


@contextmanager
def new_house(folder):
    with PrivateNetwork() as network:
        if not network.is_available:
            pytest.skip("the printed ports need a network namespace, which this machine does not permit")
        yield House(network, folder)


@pytest.fixture
def house(tmp_path):
    """A network in which all ports are free, and an empty folder."""
    with new_house(tmp_path) as house:
        yield house


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A running `messages serve`, exactly as printed, in a network of its own."""
    with (
        new_house(tmp_path_factory.mktemp("served")) as house,
        house.start("bash", "-c", COMMANDS["messages serve"].text) as server,
    ):
        server.wait_until_ready()
        assert SERVERS["messages serve"] in server.output
        yield house


@pytest.mark.parametrize("text", REQUESTS)
def test_a_command_for_a_running_server(served, text):
    """It prints what its page says; doctor may find that the tiny model is not one for work."""
    done = served.run_printed(text)
    assert done.returncode == 0 or text == "messages doctor", done.stdout + done.stderr
    assert REQUESTS[text] in done.stdout


def test_the_python_example_of_the_sdk(served):
    """It prints the text of a stream."""
    done = served.run(sys.executable, "-c", PYTHON["README.md 1"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_javascript_example_of_the_sdk(served, node_script):
    """It prints the text of a stream."""
    node, script = node_script("sdk.mjs")
    example = script.with_name("example.mjs")
    example.write_text(JAVASCRIPT.text)
    done = served.run(node, str(example))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("text", [text for text in SERVERS if text != "messages serve"])
def test_a_command_that_serves(house, text):
    """It gets ready with the model or the server that it names, and answers a request."""
    with house.start_upstream() as upstream:
        upstream.wait_until_ready()
        with house.start("bash", "-c", COMMANDS[text].text) as server:
            server.wait_until_ready()
            done = house.run("bash", "-c", POST)
            assert done.returncode == 0, server.output
            assert '"type":"message"' in done.stdout
            assert SERVERS[text] in server.output


@pytest.mark.parametrize("text", OWN_STACKS)
def test_a_command_with_a_stack_of_its_own(house, text):
    """The client gets the stack's address, which is not the default one."""
    with house.start_upstream() as upstream:
        upstream.wait_until_ready()
        done = house.run_printed(text)
    assert done.returncode == 0, done.stderr
    assert OWN_STACKS[text] in done.stdout
    assert ":8321" not in done.stdout


@pytest.mark.parametrize("block", RUN_YAML, ids=lambda block: block.page)
def test_a_run_yaml_has_no_mistakes(house, block):
    """`messages check` finds none, with the variables that the page names; other tests start the stacks."""
    (house.folder / "run.yaml").write_text(block.text)
    house.env |= {
        "MESSAGES_APIS_DIR": str(ROOT / "distributions/apis.d"),
        "FOUNDRY_URL": "http://x",
        "FOUNDRY_KEY": "k",
    }
    done = house.run("messages", "check", "run.yaml")
    assert (done.returncode, done.stdout) == (0, "run.yaml: no mistakes found\n")


def test_the_authentication_example(house):
    """A request without a token, or with an unknown one, is a 401; each user gets the permitted models only."""
    (house.folder / "run.yaml").write_text(AUTH_YAML.text)
    (house.folder / "tokens.py").write_text(PYTHON["docs/operations.md 1"])
    status = "curl -sS -o answer -w '%{http_code} ' http://127.0.0.1:8321/v1/messages"
    status += " -H 'content-type: application/json'"
    tokens = ("nobody", "token-of-alice", "token-of-bob")
    lines = [f"{status} -d '{HELLO}'", *(f"{status} -d '{HELLO}' -H 'authorization: Bearer {one}'" for one in tokens)]
    bobs = HELLO.replace("any", "vllm/qwen3-4b")
    lines.append(f"{status} -d '{bobs}' -H 'authorization: Bearer token-of-bob'")
    with (
        house.start_upstream() as upstream,
        house.start(sys.executable, "tokens.py", mark="never"),
        house.start("messages", "run", "run.yaml") as server,
    ):
        upstream.wait_until_ready()
        server.wait_until_ready()
        done = house.run("bash", "-c", "; ".join(lines))
    assert done.stdout.splitlines()[-1].split() == ["401", "401", "200", "404", "200"], done.stdout + server.output


@pytest.mark.parametrize("text", TAPES, ids=lambda text: text[:40])
def test_a_recording_is_made_and_replayed(house, text):
    """With a client in Python, with curl, and with pytest."""
    (house.folder / "test_hello.py").write_text(PYTHON["docs/recording.md 1"])
    (house.folder / "pytest.ini").write_text("[pytest]\nmarkers = tape\n")
    with house.start_upstream() as upstream:
        upstream.wait_until_ready()
        done = house.run_printed(text)
        assert done.returncode == 0, done.stdout + done.stderr
    recorded = {path.name for path in (house.folder / "recordings" / "vllm").iterdir()}
    assert recorded & {"hello.tape.yaml", "curl.tape.yaml"}
    if "client.py" in text:
        with house.start("bash", "-c", COMMANDS[REPLAY].text, mark="never") as server:
            client = "OPENAI_BASE_URL=http://127.0.0.1:8000/v1 python client.py"
            done = house.run("bash", "-c", f"for i in $(seq 60); do {client} && exit; sleep 1; done; exit 1")
            assert done.returncode == 0, done.stderr + server.output
        assert "Hello there" in done.stdout


@pytest.mark.parametrize("name", [name for name, test in PYTHON_RUN.items() if "outline" in test])
def test_an_outline_of_a_program(house, name):
    """It runs, although it has ... in the place of the reader's program."""
    done = house.run(sys.executable, "-c", PYTHON[name])
    assert (done.returncode, done.stderr) == (0, "")
