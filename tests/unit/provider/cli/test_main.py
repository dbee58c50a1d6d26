"""The command line: help, errors of one line, and what stops ``messages serve`` before a stack is started."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from llama_stack_provider_messages.cli.main import main
from llama_stack_provider_messages.cli.server import banner
from support.stack_process import ROOT, free_port


def run(capsys, *arguments):
    """Run the command; return exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    """No variable of the developer's shell counts, and files are written to a temporary folder."""
    for name in ("PORT", "MODEL_PATH", "CONTEXT_SIZE", "DISTRIBUTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LLAMA_STACK_CONFIG_DIR", str(tmp_path))


def test_help_lists_every_command(capsys):
    """Each command has help of its own with an example."""
    code, out, _ = run(capsys, "--help")
    assert code == 0
    names = re.findall(r"^  (\S+)", out.partition("Commands:\n")[2], re.MULTILINE)
    assert {"serve", "run", "check", "apis-dir"} <= set(names)
    for name in names:
        code, out, _ = run(capsys, name, "--help")
        assert code == 0
        assert "Example" in out


def test_help_imports_no_command_and_not_the_platform():
    """The help appears at once."""
    code = (
        "import sys; from llama_stack_provider_messages.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'httpx', 'pydantic', 'llama_stack', 'rich'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_the_folder_of_the_apis_is_printed(capsys):
    """It has the file that declares the Messages API."""
    code, out, _ = run(capsys, "apis-dir")
    assert code == 0
    assert [file.name for file in Path(out.strip()).iterdir()] == ["messages.yaml"]


def one_line(capsys, *arguments):
    """Run a command that fails; return its exit code and its only line."""
    code, out, err = run(capsys, *arguments)
    assert out == ""
    (line,) = err.splitlines()
    return code, line


def test_a_misused_option_is_one_line(capsys):
    """It names the help."""
    code, line = one_line(capsys, "serve", "--nonsense")
    assert code == 2
    assert line.startswith("messages: No such option")
    assert line.endswith("See messages serve --help")


@pytest.mark.parametrize("option", ["--model", "--distribution"])
def test_an_upstream_is_not_served_together_with_something_else(option, capsys):
    """One of both has to be left out."""
    code, line = one_line(capsys, "serve", "--upstream", "http://127.0.0.1:1", option, "local")
    assert code == 2
    assert f"--upstream and {option} cannot be used together; leave one out." in line


def test_a_port_in_use_is_one_line_with_the_remedy(capsys):
    """Nothing is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        expected = (1, f"messages: Port {port} is in use; choose another with --port or PORT=...")
        assert one_line(capsys, "serve", "--port", port) == expected


def test_an_upstream_that_does_not_answer_is_one_line_with_the_remedy(capsys):
    """Nothing is started."""
    url = f"http://127.0.0.1:{free_port()}"
    code, line = one_line(capsys, "serve", "--port", free_port(), "--upstream", url)
    assert code == 1
    assert line.startswith(f"messages: --upstream: no answer from {url} ")
    assert line.endswith("; start the server, or correct the URL")


def test_an_unset_variable_for_the_key_is_one_line_with_the_remedy(capsys):
    """Nothing is asked without the key."""
    upstream = ("--upstream", "http://127.0.0.1:1", "--upstream-key-env", "NO_SUCH_KEY")
    line = "messages: --upstream-key-env: the environment variable NO_SUCH_KEY is not set; set it"
    assert one_line(capsys, "serve", "--port", free_port(), *upstream) == (1, line)


@pytest.mark.parametrize("options", [[], ["--distribution", "local"], ["--distribution", "starter"]])
def test_a_missing_model_file_is_one_line_with_the_remedy(options, capsys, monkeypatch):
    """It names the option, or the variable if the path is from there; nothing is started."""
    problem = "no file at /no/x.gguf; give the path of a GGUF file"
    serve = ("serve", "--port", free_port(), *options)
    assert one_line(capsys, *serve, "--model", "/no/x.gguf") == (1, f"messages: --model: {problem}")
    monkeypatch.setenv("MODEL_PATH", "/no/x.gguf")
    assert one_line(capsys, *serve) == (1, f"messages: MODEL_PATH: {problem}")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nope.gguf", f"no file at {Path.cwd() / 'nope.gguf'}; give the path of a GGUF file"),
        ("~no_such_user/x.gguf", f"no file at {Path.cwd() / '~no_such_user/x.gguf'}; give the path of a GGUF file"),
        ("/", "no file at /; give the path of a GGUF file"),
        (__file__, f"{__file__} is not a GGUF file; give the path of one"),
        ("/" + "x" * 5000, f"cannot read /{'x' * 299}: File name too long; correct the path or its permissions"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--distribution", "local"]])
def test_a_path_that_is_not_a_model_is_one_line(path, problem, options, capsys):
    """Relative paths are shown in full."""
    words = ("serve", "--port", free_port(), *options, "--model", path)
    assert one_line(capsys, *words) == (1, f"messages: --model: {problem}")


@pytest.mark.parametrize("needs_token", [True, False])
def test_the_banner_has_a_placeholder_for_the_token_of_a_stack_with_authentication(needs_token):
    """In the request, for `messages launch` and for Claude Code, and no "none"."""
    text = banner("http://127.0.0.1:9000", "any", needs_token=needs_token)
    assert ('curl http://127.0.0.1:9000/v1/messages -H "authorization: Bearer $STACK_TOKEN" -H' in text) is needs_token
    assert ("messages launch --url http://127.0.0.1:9000 --token-env STACK_TOKEN claude" in text) is needs_token
    assert ('ANTHROPIC_AUTH_TOKEN="$STACK_TOKEN" claude' in text) is needs_token
    assert ("export STACK_TOKEN=TOKEN" in text) is needs_token
    assert ("ANTHROPIC_AUTH_TOKEN=none" in text) is not needs_token


def test_a_missing_engine_is_one_line_with_the_remedy(capsys, monkeypatch):
    """It is an extra of the package."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    code, line = one_line(capsys, "serve", "--port", free_port())
    assert code == 1
    assert line.endswith("needs the package xllamacpp: pip install 'llama-stack-provider-messages[local]'")


def test_run_prints_the_mistakes_and_starts_nothing(capsys, tmp_path):
    """They are those of `messages check`."""
    file = tmp_path / "run.yaml"
    file.write_text("version: 2\n")
    code, out, err = run(capsys, "run", file)
    assert (code, out) == (1, "")
    assert f"{file}: providers: missing or not a mapping" in err


def test_run_starts_on_all_interfaces_if_it_is_told_to(capsys, monkeypatch):
    """In a container, 0.0.0.0 is the only address that can be published; the port here is in use, so nothing starts."""
    monkeypatch.setenv("MESSAGES_APIS_DIR", str(ROOT / "distributions" / "apis.d"))
    monkeypatch.setenv("LLAMA_STACK_HOST", "0.0.0.0")
    file = ROOT / "distributions" / "local" / "run.yaml"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert "server.host: 0.0.0.0 listens on all interfaces" in one_line(capsys, "run", file, "--port", port)[1]
        assert "is in use" in one_line(capsys, "run", file, "--port", port, "--allow-all-interfaces")[1]


def test_run_on_all_interfaces_does_not_hide_other_mistakes_of_the_host(capsys, monkeypatch, tmp_path):
    """The option accepts the address only, not a variable that is not set."""
    monkeypatch.setenv("MESSAGES_APIS_DIR", str(ROOT / "distributions" / "apis.d"))
    monkeypatch.delenv("NO_SUCH_HOST", raising=False)
    content = (ROOT / "distributions" / "local" / "run.yaml").read_text()
    file = tmp_path / "run.yaml"
    file.write_text(content.replace("${env.LLAMA_STACK_HOST:=127.0.0.1}", "${env.NO_SUCH_HOST}"))
    code, line = one_line(capsys, "run", file, "--allow-all-interfaces")
    assert code == 1
    assert "server.host: the environment variable NO_SUCH_HOST is not set; set it, or write" in line


@pytest.mark.parametrize("port", ["abc", "99999", "-1", "80"])
def test_run_reports_an_invalid_port_of_the_file(port, capsys, monkeypatch, tmp_path):
    """It is one line, not a traceback of the platform."""
    monkeypatch.setenv("MESSAGES_APIS_DIR", str(ROOT / "distributions" / "apis.d"))
    content = (ROOT / "distributions" / "local" / "run.yaml").read_text()
    file = tmp_path / "run.yaml"
    file.write_text(content.replace("server:\n", f"server:\n  port: {port}\n"))
    expected = f"{file}: server.port: {port} is not a port of the platform; write a number from 1024 to 65535"
    assert one_line(capsys, "run", file) == (1, expected)


def test_run_does_not_start_on_a_port_in_use(capsys, monkeypatch):
    """The stack would fail after half a minute."""
    monkeypatch.setenv("MESSAGES_APIS_DIR", str(ROOT / "distributions" / "apis.d"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, line = one_line(capsys, "run", ROOT / "distributions" / "local" / "run.yaml", "--port", port)
    assert (code, line) == (1, f"messages: Port {port} is in use; choose another with --port or server.port")
