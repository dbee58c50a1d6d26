"""``messages doctor`` finds what is wrong with a stack, and names a remedy."""

import json
import re
import socket
from contextlib import closing

import pytest
from click.testing import CliRunner

from llama_stack_provider_messages.cli import doctor
from llama_stack_provider_messages.cli.running_stack import RunningStack
from support.scripted_upstream import ScriptedUpstream, responds, silent

LANE = {"x-messages-lane": "translated; reason=probed"}
MODEL = {"type": "model", "id": "up/m", "display_name": "up/m", "max_input_tokens": 65_536, "max_tokens": 8_192}
CALL = {"type": "tool_use", "id": "t", "name": "get_weather", "input": {"city": "Oslo"}}


def reply(value, status=200, **headers):
    return responds(json.dumps(value).encode(), status, **headers)


def message(*blocks, stop="end_turn"):
    return reply({"type": "message", "content": blocks, "stop_reason": stop}, **LANE)


def error(status, text):
    return reply({"type": "error", "error": {"type": "x", "message": text}}, status, **LANE)


class Clock:
    """A clock that only the scripted stack advances."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def stream(*names, clock=None, waits=()):
    """Return a script that streams these events in one write.

    Args:
        names: The events.
        clock: Is advanced before the events are written.
        waits: By how many seconds, for each request.
    """
    events = [f'event: {name}\ndata: {{"error": {{"message": "no memory"}}}}\n\n'.encode() for name in names]
    seconds = iter(waits)

    async def script(answer):
        await answer.head(200, "text/event-stream", *LANE.items())
        if clock:
            clock.seconds += next(seconds)
        await answer.chunk(b"".join(events))
        await answer.end()

    return script


COMPLETE = ("message_start", *["content_block_delta"] * 12, "message_stop")


class SickStack(ScriptedUpstream):
    """A healthy stack, except for the responses in ``changes``.

    A key is a path, or one of ``platform models``, ``message``, ``tools``, ``stream``, which share a path. A stack with
    a token requires it.
    """

    def __init__(self, changes, token=None):
        super().__init__()
        self.token = token
        self.responses = {
            "/v1/models": reply({"data": [MODEL], "has_more": False}),
            "/v1/version": reply({"version": "0.7.3"}),
            "/v1/providers": reply(
                {"data": [{"api": "inference", "provider_id": "up", "config": {"base_url": "http://b"}}]}
            ),
            "platform models": reply({"data": [platform_model("up/m", "up")]}),
            "message": message({"type": "text", "text": "Hello"}),
            "tools": message(CALL, stop="tool_use"),
            "stream": stream(*COMPLETE),
            "/v1/messages/count_tokens": reply({"input_tokens": 9}, **LANE, x_messages_token_count="exact"),
            **changes,
        }

    def script_for(self, exchange):
        if self.token and exchange.headers.get("authorization") != f"Bearer {self.token}":
            return error(401, "no")
        path = exchange.path
        if path == "/v1/models" and "anthropic-version" not in exchange.headers:
            path = "platform models"
        elif path == "/v1/messages":
            path = "stream" if exchange.json.get("stream") else "tools" if "tools" in exchange.json else "message"
        elif path.startswith("/v1/models/") and path not in self.responses:
            name = path.removeprefix("/v1/models/")
            return reply(MODEL | {"id": name, "display_name": "up/m" if name == "up/m" else f"{name} (up/m)"})
        return self.responses.get(path) or responds(b"{}", 404)


def platform_model(name, provider):
    return {"id": name, "object": "model", "custom_metadata": {"model_type": "llm", "provider_id": provider}}


def examine(changes, environment=(), clock=None, **options):
    """Return the checks of a stack with these changes by name."""
    with SickStack(changes, options.pop("token", None)) as server, RunningStack(server.address) as stack:
        checks = doctor.examine(stack, options.get("name"), dict(environment), clock=clock or Clock())
        return {check.name: check for check in checks}


@pytest.fixture(autouse=True)
def no_claude(monkeypatch, tmp_path):
    """No Claude Code is installed."""
    monkeypatch.setenv("PATH", str(tmp_path))


def run(*words, environment=None):
    names = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY")
    return CliRunner().invoke(doctor.command, words, env=dict.fromkeys(names) | (environment or {}))


def test_a_healthy_stack_passes_every_check_with_exit_code_0():
    with SickStack({}) as server:
        result = run(server.address)
    assert result.exit_code == 0, result.output
    *lines, empty, end = result.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["ok"] * len(lines)
    assert [line[6:21].strip() for line in lines] == [
        "reachable", "authentication", "server", "versions", "other stacks", "models", "client names", "context",
        "message", "lane", "tool calls", "streaming", "token counts", "environment",
    ]  # fmt: skip
    assert (empty, end) == ("", "No check failed.")


def test_a_failed_check_has_its_remedy_below_and_exit_code_1():
    with SickStack({"/v1/models": reply({"data": [], "has_more": False})}) as server:
        result = run(server.address)
    assert result.exit_code == 1
    at = next(at for at, line in enumerate(result.stdout.splitlines()) if line.startswith("FAIL"))
    assert "the stack serves no model" in result.stdout.splitlines()[at]
    assert "do: Check that the backend runs" in result.stdout.splitlines()[at + 1]
    assert result.stdout.splitlines()[-1] == "1 failed: models"


def test_json_has_the_same_results_for_machines():
    with SickStack({"message": error(502, "The backend is down")}) as server:
        result = run(server.address, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (report["ok"], report["url"]) == (False, server.address)
    failed = [check for check in report["checks"] if check["status"] == "fail"]
    assert [check["name"] for check in failed] == ["message"]
    assert set(failed[0]) == {"name", "status", "text", "remedy"}


def test_no_server_is_one_failure_with_the_command_that_starts_one():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    result = run(f"127.0.0.1:{port}")
    assert result.exit_code == 1
    assert result.stdout.count("FAIL") == 1
    assert "do: Start one with `messages serve`" in result.stdout


def test_a_backend_that_never_answers_fails_the_message_within_the_timeout_and_names_its_address():
    """The checks that follow it are made; those that need a message are not."""
    with SickStack({"message": silent}) as server:
        result = run(server.address, "--timeout", "1")
    assert result.exit_code == 1
    assert "FAIL  message         POST /v1/messages has no response after 1 s\n" in result.stdout
    assert "do: Check that the backend up at http://b answers requests" in result.stdout
    assert "ok    environment" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 failed: message"


def test_a_stack_that_does_not_answer_a_get_request_in_time_is_a_failure_that_names_the_backends():
    """It is not reported as a stack that is not running."""
    with SickStack({"/v1/models/claude-sonnet-5": silent}) as server:
        result = run(server.address, "--timeout", "1")
    assert "did not answer GET /v1/models/claude-sonnet-5 in 1 s" in result.stdout
    assert "do: Check that the backends in its run.yaml answer" in result.stdout
    assert "ok    environment" in result.stdout


BROKEN = {
    "another web server": (
        {"/v1/models": responds(b"<html>", 404)}, "server", "not a stack: GET /v1/models has status 404", "base URL",
    ),
    "a llama-stack without this package": (
        {"/v1/models": reply({"data": []})}, "server", "without the Messages API", "external_apis_dir",
    ),
    "no model": ({"/v1/models": reply({"data": [], "has_more": False})}, "models", "serves no model", "backend runs"),
    "names of Claude Code": (
        {"/v1/models/claude-sonnet-5": responds(b"{}", 404)},
        "client names", "no model answers claude-sonnet-5;", "default_model",
    ),
    "small window": (
        {"/v1/models": reply({"data": [MODEL | {"max_input_tokens": 8_192}], "has_more": False})},
        "context", "has a window of 8,192 tokens; Claude Code needs 16,384", "does not start with a smaller one",
    ),
    "backend down": (
        {"message": error(502, "The backend is down")},
        "message", "status 502: The backend is down", "the backend runs",
    ),
    "model that the backend does not have": (
        {"message": error(404, "no such model")}, "message", "status 404: no such model", "serves this model",
    ),
    "headers removed by a proxy": ({"message": reply({"content": []})}, "lane", "no header x-messages-lane", "proxy"),
    "tool call as text": (
        {"tools": message({"type": "text", "text": "<tool_call>{}"})},
        "tool calls", "'<tool_call>{}'", "--tool-call-parser",
    ),
    "tools rejected": (
        {"tools": error(400, '"auto" tool choice requires --enable-auto-tool-choice')},
        "tool calls", "rejected: POST /v1/messages returned status 400", "--enable-auto-tool-choice",
    ),
    "arguments that are not parsed": (
        {"tools": message(CALL | {"input": {"raw": "Oslo"}})}, "tool calls", "do not fit the tool's schema", "--jinja",
    ),
    "stream ends with an error": (
        {"stream": stream("message_start", "error")}, "streaming", "ended with an error: no memory", "stack's log",
    ),
    "stream cut off": ({"stream": stream("message_start")}, "streaming", "has no message_stop", "proxy_read_timeout"),
    "no token counts": (
        {"/v1/messages/count_tokens": error(404, "no")}, "token counts", "status 404: no", "backend runs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_set_up_fails_the_check_of_its_cause_only(name):
    changes, check, text, remedy = BROKEN[name]
    checks = examine(changes)
    assert [found.name for found in checks.values() if found.status == "fail"] == [check]
    assert text in checks[check].text
    assert remedy in checks[check].remedy


WEIRD = [b"", b"null", b"[]", b'"x"', b'{"data": [1, null]}', b'{"data": 1}', b'{"content": 1, "data": [{}]}', b"<p>"]
PATHS = ["/v1/models", "/v1/version", "/v1/providers", "platform models", "/v1/models/messages-any-name", "message",
         "tools", "stream", "/v1/messages/count_tokens", "/v1/models/claude-sonnet-5"]  # fmt: skip


@pytest.mark.parametrize("body", WEIRD)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("status", [200, 500])
def test_any_response_gives_results_and_not_a_traceback(path, body, status):
    with SickStack({path: responds(body, status)}) as server:
        result = run(server.address)
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert re.fullmatch(r"No check failed\.|\d+ failed: .+", result.stdout.splitlines()[-1])


@pytest.mark.parametrize("url", ["http://[", "http://h:port", "http://a b"])
def test_an_invalid_url_is_one_line(url):
    result = run(url)
    assert result.exit_code == 1
    assert "not a valid URL" in result.output or "No server answers" in result.output


def test_an_invalid_address_in_the_environment_is_a_warning():
    with SickStack({}) as server:
        result = run(server.address, environment={"ANTHROPIC_BASE_URL": "http://h:port"})
    assert "ANTHROPIC_BASE_URL is exported (http://h:port)" in result.stdout


@pytest.mark.parametrize("lists_providers", [True, False])
def test_models_of_other_stacks_are_named_and_are_not_a_failure(lists_providers):
    """All stacks of a user share the platform's store; a stack need not list its providers."""
    changes = {
        "platform models": reply({"data": [platform_model("up/m", "up"), platform_model("old/x", "old")]}),
        "/v1/models/old/x": responds(b"{}", 404),
    }
    checks = examine(changes if lists_providers else changes | {"/v1/providers": responds(b"{}", 404)})
    assert not [found.name for found in checks.values() if found.status == "fail"]
    found = checks["other stacks"]
    assert found.text.endswith(" of other stacks: old/x; the Messages API does not list or use them")
    assert (found.status, found.remedy) == ("ok", "")


def test_many_models_of_other_stacks_are_counted_instead_of_listed():
    models = [platform_model(f"old/{number}", "old") for number in range(9)]
    text = examine({"platform models": reply({"data": models})})["other stacks"].text
    assert ": old/0, old/1, old/2, old/3, old/4 and 4 more; the Messages API" in text


def test_models_that_are_not_language_models_are_left_out():
    embedding = {"id": "e", "custom_metadata": {"model_type": "embedding", "provider_id": "old"}}
    assert "none of" in examine({"platform models": reply({"data": [embedding]})})["other stacks"].text


def test_a_stack_that_is_its_own_upstream_fails():
    with SickStack({}) as server:
        port = server.address.rpartition(":")[2]
        provider = {"api": "inference", "provider_id": "up", "config": {"base_url": f"http://localhost:{port}/v1"}}
        server.responses["/v1/providers"] = reply({"data": [provider]})
        result = run(server.address)
    assert result.exit_code == 1
    assert "provider up has this stack as its upstream" in result.stdout
    assert "do: unset ANTHROPIC_BASE_URL before starting the stack" in result.stdout


def test_exported_variables_that_change_clients_and_stacks_are_named():
    with SickStack({}) as server:
        result = run(
            server.address, environment={"ANTHROPIC_BASE_URL": server.address, "ANTHROPIC_API_KEY": "sk-secret"}
        )
    assert result.exit_code == 0
    assert "ANTHROPIC_BASE_URL is exported (this stack)" in result.stdout
    assert "ANTHROPIC_API_KEY is exported" in result.stdout
    assert "sk-secret" not in result.stdout


def test_a_stack_that_requires_a_token_fails_without_one_and_passes_with_it():
    with SickStack({}, token="right") as server:
        without = run(server.address)
        wrong = run(server.address, "--token-env", "TOKEN", environment={"TOKEN": "wrong"})
        right = run(server.address, "--token-env", "TOKEN", environment={"TOKEN": "right"})
    assert "the stack requires a token (status 401)" in without.stdout
    assert "--token-env" in without.stdout
    assert "the stack rejects the token (status 401)" in wrong.stdout
    assert (without.exit_code, wrong.exit_code, right.exit_code) == (1, 1, 0)
    assert "required, and the token is accepted" in right.stdout


def test_a_token_that_is_not_needed_is_a_warning():
    with SickStack({}) as server:
        result = run(server.address, "--token-env", "TOKEN", environment={"TOKEN": "any"})
    assert "warn  authentication  the stack does not require a token" in result.stdout


def test_a_model_that_is_not_served_fails():
    checks = examine({"/v1/models/typo": responds(b"{}", 404)}, name="typo")
    assert checks["models"].status == "fail"
    assert "typo is not served" in checks["models"].text
    assert "Choose one of: up/m." in checks["models"].remedy


@pytest.mark.parametrize(
    ("window", "status", "text"),
    [
        (16_383, "fail", "16,384"),
        (16_384, "warn", "25,000"),
        (24_999, "warn", "25,000"),
        (32_768, "warn", "version 2.1.197 45,000"),
        (45_000, "ok", "45,000"),
        (None, "warn", "does not say"),
    ],
)
def test_the_window_is_compared_with_the_first_request_of_claude_code(window, status, text):
    model = MODEL | {"max_input_tokens": window}
    check = examine({"/v1/models": reply({"data": [model], "has_more": False}), "/v1/models/up/m": reply(model)})[
        "context"
    ]
    assert check.status == status
    assert text in check.text


def test_estimated_token_counts_are_a_warning():
    counted = reply({"input_tokens": 9}, **LANE, x_messages_token_count="estimate")
    assert examine({"/v1/messages/count_tokens": counted})["token counts"].status == "warn"


def test_a_model_that_thinks_until_its_limit_is_a_warning():
    thinking = message({"type": "thinking", "thinking": "...", "signature": ""}, stop="max_tokens")
    assert examine({"tools": thinking})["tool calls"].status == "warn"


def test_an_inconclusive_probe_is_a_warning():
    headers = {"x-messages-lane": "translated; reason=unanswered"}
    assert examine({"message": reply({"content": []}, **headers)})["lane"].status == "warn"


def test_a_stream_whose_events_all_arrive_at_its_end_is_buffered():
    clock = Clock()
    check = examine({"stream": stream(*COMPLETE, clock=clock, waits=[3, 2])}, clock=clock)["streaming"]
    assert check.status == "fail"
    assert check.text.startswith("all events arrived at once, after 2.0 s: a proxy buffers the stream")
    assert "proxy_buffering off" in check.remedy


def test_a_stream_that_is_slow_once_because_the_model_is_loaded_is_not_buffered():
    clock = Clock()
    assert examine({"stream": stream(*COMPLETE, clock=clock, waits=[20, 0])}, clock=clock)["streaming"].status == "ok"


def test_a_short_stream_does_not_decide():
    checks = examine({"stream": stream("message_start", "content_block_delta", "message_stop")})
    assert checks["streaming"].status == "skip"


@pytest.mark.parametrize(("version", "warned"), [("2.1.329", False), ("2.1.197", True), ("2.2.0", False)])
def test_the_versions_of_server_package_and_claude_code_are_listed(tmp_path, version, warned):
    program = tmp_path / "claude"
    program.write_text(f"#!/bin/sh\necho '{version} (Claude Code)'\n")
    program.chmod(0o755)
    checks = examine({})
    assert "llama-stack 0.7.3 (server)" in checks["versions"].text
    assert "llama-stack-provider-messages 0.1.0 (this command)" in checks["versions"].text
    assert f"Claude Code {version}" in checks["versions"].text
    assert ("claude code" in checks) is warned


def test_another_version_of_the_platform_is_a_warning():
    assert examine({"/v1/version": reply({"version": "0.8.0"})})["versions"].status == "warn"
