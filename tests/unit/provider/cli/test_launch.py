"""``messages launch`` sets the variables of a client for a running stack."""

import json
import os
import stat
import tempfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from llama_stack_provider_messages.cli import launch, own_stack, running_stack
from llama_stack_provider_messages.cli.launch import Limits, window_variables
from llama_stack_provider_messages.cli.plan import Plan, Prepared, StackOptions
from llama_stack_provider_messages.cli.run_config import RunConfig
from llama_stack_provider_messages.cli.running_stack import StackError
from support.scripted_upstream import ScriptedUpstream, responds
from support.stack_process import free_port

CONTEXT, OUTPUT = "CLAUDE_CODE_MAX_CONTEXT_TOKENS", "CLAUDE_CODE_MAX_OUTPUT_TOKENS"
BASH, READ = "BASH_MAX_OUTPUT_LENGTH", "CLAUDE_CODE_FILE_READ_MAX_OUTPUT_TOKENS"
WINDOWS = [16_384, 20_000, 24_576, 32_768, 40_000, 65_536, 80_000, 98_304, 131_071, 131_072, 200_000, 1_000_000]


class ListingStack(ScriptedUpstream):
    """A stack with a model list; ``entries`` are its entries by name, ``"*"`` answers any other name."""

    def __init__(self, entries):
        super().__init__()
        self.entries = entries
        self.requests = []
        self.messages_status = 400

    def script_for(self, exchange):
        self.requests.append(exchange)
        if exchange.method == "POST":
            return responds(b'{"type": "error"}', self.messages_status)
        if exchange.path == "/v1/models":
            listed = [entry for name, entry in self.entries.items() if name != "*"]
            return responds(json.dumps({"data": listed, "has_more": False}).encode())
        name = exchange.path.removeprefix("/v1/models/")
        entry = self.entries.get(name) or self.entries.get("*")
        if not entry:
            return responds(b'{"type": "error"}', 404)
        return responds(
            json.dumps(entry | {"id": name, "display_name": entry["display_name"].replace("*", name)}).encode()
        )


def model(name, window=None, output=None, alias_of=None):
    shown = f"{name} ({alias_of})" if alias_of else name
    return {"type": "model", "id": name, "display_name": shown, "max_input_tokens": window, "max_tokens": output}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command in an empty folder and home; exec prints the command line and the environment as JSON."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    for name in ("claude", "opencode", "agent"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)

    def execve(path, words, environment):
        click.echo(json.dumps({"path": path, "words": words, "env": environment}))
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", execve)

    def run(entries, *words, **options):
        with ListingStack(entries) as stack:
            return CliRunner().invoke(launch.command, ["--url", stack.address, *words], **options)

    return run


@pytest.fixture
def started(run):
    def started(entries, *words):
        result = run(entries, *words)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return started


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (16_384, {CONTEXT: "25384", OUTPUT: "2048", BASH: "6000", READ: "2000"}),
        (32_768, {CONTEXT: "40768", OUTPUT: "4096", BASH: "12000", READ: "4000"}),
        (65_536, {CONTEXT: "68536", OUTPUT: "8192", BASH: "16000", READ: "8000"}),
        (131_072, {CONTEXT: "131072", OUTPUT: "16384"}),
        (262_144, {CONTEXT: "262144", OUTPUT: "16384"}),
        (49_152, {CONTEXT: "54652", OUTPUT: "6144", BASH: "14000", READ: "6000"}),
    ],
)
def test_the_variables_are_those_of_the_measured_rows_and_between_them_are_interpolated(window, expected):
    assert window_variables(Limits(window, 32_000)) == expected


@pytest.mark.parametrize("name", [CONTEXT, OUTPUT, BASH, READ])
def test_no_variable_gets_smaller_for_a_larger_window(name):
    defaults = {BASH: 30_000, READ: 25_000}  # Claude Code's own, where the variable is not set
    values = [int(window_variables(Limits(window, 32_000)).get(name, defaults.get(name, 0))) for window in WINDOWS]
    assert values == sorted(values)
    assert values[0] > 0


@pytest.mark.parametrize("window", WINDOWS)
def test_compaction_starts_where_a_tool_result_and_the_output_still_fit_in_the_window(window):
    variables = {name: int(value) for name, value in window_variables(Limits(window, 32_000)).items()}
    threshold = variables[CONTEXT] - min(variables[OUTPUT], 20_000) - 13_000
    assert threshold > 0
    assert threshold + variables.get(READ, 11_000) + variables[OUTPUT] <= window


def test_a_smaller_output_limit_of_the_model_is_kept():
    assert window_variables(Limits(65_536, 3_000))[OUTPUT] == "3000"


def test_a_window_that_claude_code_cannot_use_is_an_error_with_the_size_it_needs(run):
    result = run({"m": model("m", 8_192)}, "claude")
    assert result.exit_code == 1
    assert "8,192 tokens is too small for Claude Code, which needs 16,384" in result.stderr
    assert "--tools" not in result.stderr


def test_claude_code_gets_the_stack_and_its_only_model_with_the_limits_it_lists(started):
    run = started({"up/qwen": model("up/qwen", 65_536, 8_192)}, "claude", "-p", "Hello")
    assert run["words"] == ["claude", "-p", "Hello"]
    names = ["ANTHROPIC_MODEL", *(f"ANTHROPIC_DEFAULT_{kind}_MODEL" for kind in ("OPUS", "SONNET", "HAIKU"))]
    assert {run["env"][name] for name in names} == {"up/qwen"}
    assert run["env"]["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")
    assert run["env"]["ANTHROPIC_AUTH_TOKEN"] == "none"
    assert (run["env"][CONTEXT], run["env"][OUTPUT]) == ("68536", "8192")
    assert run["env"]["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"


def test_keys_and_other_upstreams_of_the_callers_environment_do_not_reach_the_client(started, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-caller")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "caller")
    monkeypatch.setenv("CLAUDE_CODE_USE_BEDROCK", "1")
    env = started({"m": model("m")}, "claude")["env"]
    assert "ANTHROPIC_API_KEY" not in env
    assert "CLAUDE_CODE_USE_BEDROCK" not in env
    assert env["ANTHROPIC_AUTH_TOKEN"] == "none"


def test_the_default_model_of_the_stack_is_used_under_its_own_name(started):
    entries = {"a": model("a", 131_072), "b": model("b", 32_768), "*": model("*", alias_of="b")}
    run = started(entries, "claude")
    assert run["env"]["ANTHROPIC_MODEL"] == "b"
    assert run["env"][CONTEXT] == "40768"


def test_a_stack_with_several_models_and_no_default_needs_the_option(run):
    result = run({"a": model("a"), "b": model("b")}, "claude")
    assert result.exit_code == 1
    assert "pass --model. Choose one of: a, b." in result.stderr


def test_a_model_that_is_not_served_is_an_error_with_the_names_to_choose_from(run):
    result = run({"a": model("a"), "b": model("b")}, "claude", "--model", "c")
    assert result.exit_code == 1
    assert "--model: c is not served at" in result.stderr
    assert "Choose one of: a, b." in result.stderr


def test_a_model_name_that_only_the_default_answers_is_used_with_a_notice(run):
    result = run({"a": model("a"), "*": model("*", alias_of="a")}, "--model", "typo", "claude")
    assert "typo is answered by a." in result.stderr
    assert json.loads(result.stdout)["env"]["ANTHROPIC_MODEL"] == "typo"


@pytest.mark.parametrize("name", ["claude-sonnet-4-5", "claude-3-5-haiku-20241022", "claude-x[1m]"])
def test_a_name_that_claude_code_knows_comes_with_a_notice(run, name):
    assert "ignores the window" in run({name: model(name)}, "claude").stderr


@pytest.mark.parametrize("name", ["qwen3-coder", "claude-qwen3-coder", "anthropic/qwen3"])
def test_a_name_that_claude_code_does_not_know_comes_without_one(run, name):
    assert "ignores" not in run({name: model(name)}, "claude").stderr


def test_the_options_win_over_the_limits_that_the_stack_lists(started):
    env = started({"m": model("m", 131_072, 64_000)}, "--window", "32k", "--output", "1,024", "claude")["env"]
    assert (env[CONTEXT], env[OUTPUT]) == ("40768", "1024")


def test_a_window_that_is_not_known_is_assumed_and_said_in_one_line(run):
    result = run({"m": model("m")}, "claude")
    assert json.loads(result.stdout)["env"][CONTEXT] == "68536"
    assert len(result.stderr.splitlines()) == 1
    assert "65,536 tokens, and 8,192 of output, are assumed; set --window and --output" in result.stderr


@pytest.mark.parametrize("window", [16_384, 32_768])
def test_a_small_window_gets_four_tools_and_a_line_that_says_so(run, window):
    result = run({"m": model("m", window)}, "claude", "Hello", "-p")
    assert json.loads(result.stdout)["words"] == ["claude", "--tools=Bash,Read,Edit,Write", "Hello", "-p"]
    assert "--all-tools keeps all" in result.stderr


@pytest.mark.parametrize(
    ("window", "words"),
    [(32_769, []), (32_768, ["--all-tools"]), (32_768, ["--tools", "Read"]), (32_768, ["--bare"])],
)
def test_all_tools_are_kept_for_larger_windows_on_request_and_if_the_arguments_choose(started, window, words):
    run = started({"m": model("m", window)}, "claude", *words)
    assert "--tools=Bash,Read,Edit,Write" not in run["words"]


@pytest.mark.parametrize(("window", "shorter"), [(16_384, True), (24_575, True), (24_576, False)])
def test_the_smallest_windows_get_a_shorter_prompt_too(run, window, shorter):
    result = run({"m": model("m", window)}, "claude")
    env = json.loads(result.stdout)["env"]
    assert (env.get("CLAUDE_CODE_DISABLE_AUTO_MEMORY") == "1") is shorter
    assert ("auto memory, git instructions and background tasks are off" in result.stderr) is shorter


def test_any_command_gets_the_variables_and_its_own_options_after_two_dashes(started):
    run = started({"m": model("m", 32_768)}, "--", "agent", "--print", "--url", "x")
    assert run["words"] == ["agent", "--print", "--url", "x"]
    assert run["env"]["ANTHROPIC_MODEL"] == "m"


def test_opencode_gets_a_provider_for_the_stack_in_its_configuration_variable(started):
    run = started({"m": model("m", 8_192, 8_192)}, "opencode", "run", "Hello")
    config = json.loads(run["env"]["OPENCODE_CONFIG_CONTENT"])
    assert config["model"] == config["small_model"] == "messages/m"
    provider = config["provider"]["messages"]
    assert provider["options"]["baseURL"].endswith("/v1")
    assert provider["models"]["m"]["limit"] == {"context": 8_192, "output": 2_048}
    assert "ANTHROPIC_BASE_URL" not in run["env"]


def test_a_client_that_is_not_installed_is_an_error_with_the_command_that_installs_it(run, tmp_path):
    (tmp_path / "bin" / "claude").unlink()
    result = run({"m": model("m")}, "claude", env={"PATH": str(tmp_path / "bin")})
    assert result.exit_code == 1
    assert "Install it: npm install -g @anthropic-ai/claude-code" in result.stderr


@pytest.mark.parametrize(("name", "used"), [("gone", "m"), ("m", "m"), ("sonnet", "sonnet"), ("inherit", "inherit")])
def test_a_model_for_subagents_that_is_not_served_is_replaced_with_a_line(run, monkeypatch, name, used):
    """Names that Claude Code resolves itself are kept."""
    monkeypatch.setenv("CLAUDE_CODE_SUBAGENT_MODEL", name)
    result = run({"m": model("m", 65_536)}, "claude")
    assert json.loads(result.stdout)["env"]["CLAUDE_CODE_SUBAGENT_MODEL"] == used
    assert ("CLAUDE_CODE_SUBAGENT_MODEL=gone is not served" in result.stderr) is (name == "gone")


@pytest.fixture
def no_default_stack(monkeypatch):
    """No server answers at the default address, and no variable says what to serve."""
    monkeypatch.setattr(launch, "DEFAULT_URL", f"http://127.0.0.1:{free_port()}")
    for name in ("MODEL_PATH", "DISTRIBUTION", "CONTEXT_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "No server answers at http://127.0.0.1:"),
        (["--model", "qwen3"], "No server answers at http://127.0.0.1:"),
        (["--context", "4096"], "--context is for a new stack: "),
        (["--model", "/no/x.gguf"], "--model: no file at /no/x.gguf"),
        (["--default-model", "x"], "--upstream-key-env and --default-model need --upstream."),
        (["--upstream", "http://127.0.0.1:1"], "--upstream: no answer from http://127.0.0.1:1"),
        (["--upstream", "http://127.0.0.1:1", "--context", "1"], "--upstream and --context cannot be used together"),
        (["--url", "http://127.0.0.1:1", "--upstream", "http://x"], "--url is for a running stack, --upstream for a"),
        (["--upstream", "http://x", "--print"], "--print and --write-settings need a stack that keeps running"),
    ],
)
def test_what_is_missing_for_a_stack_of_its_own_is_named_and_nothing_is_started(
    tmp_path, no_default_stack, words, text
):
    """In one sentence."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path))
        result = CliRunner().invoke(launch.command, [*words, "--", "sh", "-c", "true"])
    assert result.exit_code in (1, 2)
    assert text in result.stderr


@pytest.mark.parametrize(
    ("environment", "words", "expected"),
    [
        ({}, ["--model", "a.gguf"], StackOptions(model="a.gguf")),
        ({"MODEL_PATH": "b.gguf"}, [], StackOptions(model="b.gguf")),
        ({"MODEL_PATH": "b.gguf"}, ["--model", "a.GGUF"], StackOptions(model="a.GGUF")),
        ({"MODEL_PATH": "b.gguf"}, ["--context", "9"], StackOptions(model="b.gguf", context=9)),
        ({"DISTRIBUTION": "starter"}, [], StackOptions(distribution="starter")),
        ({}, ["--distribution", "local"], StackOptions(distribution="local")),
        ({}, ["--upstream", "u"], StackOptions(upstream="u")),
        ({}, ["--upstream", "u", "--model", "x.gguf"], StackOptions(upstream="u", default_model="x.gguf")),
    ],
)
def test_the_options_and_the_environment_say_what_a_stack_of_its_own_serves(
    no_default_stack, monkeypatch, environment, words, expected
):
    """The variables count only if no server answers at the default address."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = []

    def make_plan(options):
        made.append(options)
        raise click.ClickException("stop here")

    monkeypatch.setattr(own_stack, "make_plan", make_plan)
    CliRunner().invoke(launch.command, [*words, "--", "sh"])
    assert made == [expected]


def test_a_variable_does_not_start_a_stack_while_one_answers_at_the_default_address(monkeypatch):
    """The client is started on the running one."""
    monkeypatch.setenv("MODEL_PATH", "/no/x.gguf")
    with ListingStack({"m": model("m", 65_536)}) as stack:
        monkeypatch.setattr(launch, "DEFAULT_URL", stack.address)
        result = CliRunner().invoke(launch.command, ["--print", "claude"])
    assert result.exit_code == 0
    assert f"export ANTHROPIC_BASE_URL={stack.address}" in result.stdout


@pytest.mark.parametrize(("has_ended", "kept"), [(False, 0), (True, 1)])
def test_the_folder_of_a_running_stack_is_removed_if_the_client_is_not_started(tmp_path, monkeypatch, has_ended, kept):
    """Its window is too small here; the folder of a stack that ended by itself is kept, and its log named."""

    class StartedServer:
        url = "http://127.0.0.1:1"

        def __init__(self, *_, log, **options):
            log.write_text("log")
            self.has_ended = has_ended

        def wait_until_healthy(self, *_, **options):
            """It is healthy."""

        def stop(self):
            """It has stopped."""

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(own_stack, "make_plan", lambda _: Plan("x", probe=False))
    monkeypatch.setattr(own_stack, "prepare", lambda *_: Prepared(Path(), RunConfig(), {}))
    monkeypatch.setattr(own_stack, "Server", StartedServer)
    with pytest.raises(StackError), own_stack.own_stack(StackOptions()):
        window_variables(Limits(8_192, 8_192))
    assert len(list(tmp_path.iterdir())) == kept


def test_no_server_is_an_error_that_names_messages_serve(run):
    with ListingStack({}) as stopped:
        url = stopped.address
    result = run({}, "--url", url, "claude")
    assert result.exit_code == 1
    assert f"No server answers at {url}" in result.stderr
    assert "`messages serve`" in result.stderr


def test_print_gives_shell_commands_and_starts_nothing(run):
    result = run({"my model": model("my model", 65_536)}, "claude", "--print")
    first, *exports = result.stdout.splitlines()
    assert first.startswith("unset ANTHROPIC_API_KEY ")
    assert "export ANTHROPIC_MODEL='my model'" in exports
    assert f"export {CONTEXT}=68536" in exports
    assert all(line.startswith("export ") for line in exports)


def test_the_token_goes_to_the_stack_and_the_client_and_is_neither_printed_nor_written(run, monkeypatch, tmp_path):
    monkeypatch.setenv("MY_TOKEN", "secret-token")
    entries = {"m": model("m", 65_536)}
    assert json.loads(run(entries, "--token-env", "MY_TOKEN", "claude").stdout)["env"]["ANTHROPIC_AUTH_TOKEN"] == (
        "secret-token"
    )
    printed = run(entries, "--token-env", "MY_TOKEN", "claude", "--print").output
    assert 'export ANTHROPIC_AUTH_TOKEN="$MY_TOKEN"' in printed
    written = run(entries, "--token-env", "MY_TOKEN", "claude", "--write-settings", "--yes").output
    assert "secret-token" not in printed + written + (tmp_path / launch.SETTINGS).read_text()


def test_a_token_variable_that_is_not_set_is_a_usage_error(run, monkeypatch):
    monkeypatch.delenv("MY_TOKEN", raising=False)
    result = run({}, "--token-env", "MY_TOKEN", "claude")
    assert result.exit_code == 2
    assert "MY_TOKEN is not set" in result.stderr


def test_the_settings_file_keeps_everything_it_had(run, tmp_path):
    path = tmp_path / launch.SETTINGS
    path.parent.mkdir()
    before = {"permissions": {"allow": ["Bash(ls:*)"]}, "env": {"EDITOR": "vi", "ANTHROPIC_MODEL": "old"}, "model": "x"}
    path.write_text(json.dumps(before))
    result = run({"m": model("m", 65_536)}, "claude", "--write-settings", "--yes")
    after = json.loads(path.read_text())
    assert after["permissions"] == before["permissions"]
    assert (after["model"], after["env"]["EDITOR"], after["env"]["ANTHROPIC_MODEL"]) == ("x", "vi", "m")
    assert '-{"permissions"' in result.stdout
    assert '+    "ANTHROPIC_MODEL": "m",' in result.stdout
    assert [entry.name for entry in path.parent.iterdir()] == ["settings.json"]


def test_the_settings_file_is_unchanged_unless_the_user_agrees(run, tmp_path):
    path = tmp_path / launch.SETTINGS
    result = run({"m": model("m")}, "claude", "--write-settings", input="n\n")
    assert result.exit_code != 0
    assert not path.exists()
    assert '+    "ANTHROPIC_MODEL": "m",' in result.stdout
    assert run({"m": model("m")}, "claude", "--write-settings", input="y\n").exit_code == 0
    assert json.loads(path.read_text())["env"]["ANTHROPIC_MODEL"] == "m"


@pytest.mark.parametrize("content", ["{broken", "[]", '{"env": []}'])
def test_a_settings_file_that_cannot_be_merged_is_an_error_and_unchanged(run, tmp_path, content):
    path = tmp_path / launch.SETTINGS
    path.parent.mkdir()
    path.write_text(content)
    result = run({"m": model("m")}, "claude", "--write-settings", "--yes")
    assert result.exit_code == 1
    assert "unchanged" in result.stderr
    assert path.read_text() == content


def test_settings_that_win_over_the_launch_are_named(run, tmp_path):
    folder = tmp_path / "home" / ".claude"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text('{"env": {"ANTHROPIC_BASE_URL": "http://else", "ANTHROPIC_API_KEY": "k"}}')
    result = run({"m": model("m")}, "claude")
    assert "sets ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY, which" in result.stderr


def test_a_proxy_of_the_environment_is_not_used_for_a_stack_on_this_machine(started, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "internal")
    monkeypatch.setenv("no_proxy", "internal")
    env = started({"m": model("m")}, "claude")["env"]
    assert env["NO_PROXY"] == env["no_proxy"] == "internal,127.0.0.1"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:8321", "http://127.0.0.1:8321"),
        ("http://h:1/v1/", "http://h:1"),
        ("https://h/stack/v1/messages", "https://h/stack"),
        ("http://h:1/", "http://h:1"),
    ],
)
def test_a_base_url_loses_the_paths_that_clients_append(text, url):
    assert running_stack.base_url(text) == url


def test_help_names_every_client_and_loads_no_http_client():
    result = CliRunner().invoke(launch.command, ["--help"])
    assert "messages launch claude" in result.output
    assert "messages launch opencode" in result.output
    assert Path(launch.__file__).read_text().count("import httpx") == 0


def test_a_server_without_a_messages_api_is_an_error_that_names_serve():
    """An OpenAI-like server has a model list, too."""
    with ListingStack({"m1": {"id": "m1", "object": "model", "display_name": "m1"}}) as stack:
        stack.messages_status = 404
        result = CliRunner().invoke(launch.command, ["--url", stack.address, "--print", "claude"])
    assert result.exit_code == 1
    assert f"`messages serve --upstream {stack.address}`" in result.output


def test_a_linked_settings_file_stays_a_link_with_its_mode_and_its_secrets_are_not_shown(run, tmp_path):
    """A token of the user's own is kept."""
    own = tmp_path / "dotfiles.json"
    own.write_text('{"env": {"ANTHROPIC_AUTH_TOKEN": "my-own-token", "MY_API_KEY": "my-own-key"}}')
    own.chmod(0o600)
    link = tmp_path / launch.SETTINGS
    link.parent.mkdir()
    link.symlink_to(own)
    result = run({"m": model("m", 65_536)}, "claude", "--write-settings", "--yes")
    assert result.exit_code == 0, result.output
    assert "my-own" not in result.output
    assert '"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "68536"' in result.output
    assert link.is_symlink()
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    env = json.loads(own.read_text())["env"]
    assert (env["ANTHROPIC_AUTH_TOKEN"], env["MY_API_KEY"]) == ("my-own-token", "my-own-key")


def test_a_new_settings_file_is_readable_by_its_owner_only(run, tmp_path):
    assert run({"m": model("m")}, "claude", "--write-settings", "--yes").exit_code == 0
    assert stat.S_IMODE((tmp_path / launch.SETTINGS).stat().st_mode) == 0o600


def test_a_line_end_after_a_token_is_left_out(run, monkeypatch):
    """Mounted secrets often end in one."""
    monkeypatch.setenv("MY_TOKEN", "secret-token\n")
    found = json.loads(run({"m": model("m")}, "--token-env", "MY_TOKEN", "claude").stdout)["env"]
    assert found["ANTHROPIC_AUTH_TOKEN"] == "secret-token"


@pytest.mark.parametrize("token", ["secret\ntoken", "s\u00e9cret"])
def test_a_token_that_a_header_cannot_carry_is_named_and_not_shown(run, monkeypatch, token):
    monkeypatch.setenv("MY_TOKEN", token)
    result = run({"m": model("m")}, "--token-env", "MY_TOKEN", "claude")
    assert result.exit_code == 1
    assert "MY_TOKEN" in result.stderr
    assert token[-3:] not in result.output


@pytest.mark.parametrize("options", [("--print", "--token-env", "MY_TOKEN"), ("--write-settings",)])
def test_the_configuration_of_opencode_is_not_printed_with_a_token_nor_written_for_claude(run, monkeypatch, options):
    monkeypatch.setenv("MY_TOKEN", "secret-token")
    result = run({"m": model("m")}, *options, "opencode")
    assert result.exit_code == 2
    assert "secret-token" not in result.output


@pytest.mark.parametrize("body", [b"[" * 200_000, b"x" * (17 << 20)], ids=["nested", "large"])
def test_a_hostile_list_of_models_is_an_error_of_one_line(body):
    """It is neither read to its end nor a traceback."""
    with ScriptedUpstream() as server:
        server.scripts["/v1/models"] = responds(body)
        result = CliRunner().invoke(launch.command, ["--url", server.address, "claude"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert len(result.output.splitlines()) == 1
