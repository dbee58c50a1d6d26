"""The HTTP routes of a running stack."""

import gzip
import json

import pytest

pytestmark = pytest.mark.integration

HELLO = {"model": "up/text", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}


def error_of(response):
    """Check the error envelope of a response; return the error."""
    body = response.json()
    assert set(body) == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["request_id"] == response.headers["request-id"]
    assert body["request_id"].startswith("req_")
    return body["error"]


@pytest.mark.parametrize("path", ["/v1/messages", "/anthropic/v1/messages", "/v1/messages?beta=true"])
def test_a_message_request_works_on_every_path(client, path):
    """With any query string."""
    reply = client.post(path, json=HELLO)
    assert reply.status_code == 200
    assert reply.headers["request-id"].startswith("req_")
    message = reply.json()
    assert [(block["type"], block["text"]) for block in message["content"]] == [("text", "Hello there")]
    assert message["model"] == "up/text"
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["input_tokens"] == 20
    assert message["usage"]["cache_read_input_tokens"] == 10
    assert message["usage"]["output_tokens"] == 7


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_the_body_is_parsed_as_json_with_any_content_type(client, content_type):
    """Also with a wrong content type, or none."""
    headers = {"content-type": content_type} if content_type else {}
    reply = client.post("/v1/messages", content=json.dumps(HELLO), headers=headers)
    assert reply.status_code == 200


def test_a_gzip_body_is_decompressed(client):
    """If the content-encoding is gzip."""
    body = gzip.compress(json.dumps(HELLO).encode())
    assert client.post("/v1/messages", content=body, headers={"content-encoding": "gzip"}).status_code == 200


ENDPOINTS = {
    *(("POST", f"{base}/v1/messages{suffix}") for base in ("", "/anthropic") for suffix in ("", "/count_tokens")),
    *(("GET", path) for path in ("/anthropic/v1/models", "/anthropic/v1/models/{model_id:path}", "/", "/api/hello")),
}


@pytest.mark.parametrize(("query", "expected"), [("", ENDPOINTS), ("?api_filter=deprecated", set())])
def test_the_stack_lists_the_routes_of_this_api(client, query, expected):
    """Each with its provider, without the routes that reject wrong methods and paths."""
    reply = client.get(f"/v1/inspect/routes{query}")
    assert reply.status_code == 200, reply.text
    listed = [route for route in reply.json()["data"] if route["provider_types"] == ["inline::builtin"]]
    assert len(listed) == len(expected)
    assert {(route["method"], route["route"]) for route in listed} == expected
    elsewhere = [route["route"] for route in reply.json()["data"] if route not in listed]
    assert not [path for path in elsewhere if "messages" in path or path.startswith("/anthropic")]


@pytest.mark.parametrize("path", ["/", "/api/hello"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_start_up_probes_are_a_200(client, path, method):
    """Claude Code sends them before its first request."""
    assert client.request(method, path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("DELETE", "/anthropic/v1/messages", 405, "invalid_request_error"),
        ("POST", "/v1/messages/nonsense", 404, "not_found_error"),
        ("GET", "/v1/messages/a/b", 404, "not_found_error"),
        ("PUT", "/anthropic/v1/messages/x", 404, "not_found_error"),
        ("PUT", "/v1/messages/count_tokens", 405, "invalid_request_error"),
        ("OPTIONS", "/v1/messages", 405, "invalid_request_error"),
    ],
)
def test_wrong_methods_and_unknown_paths_are_errors_in_the_envelope(client, method, path, status, kind):
    """The SDKs can read the error and do not retry."""
    reply = client.request(method, path)
    assert reply.status_code == status
    error = error_of(reply)
    assert error["type"] == kind
    assert status != 404 or error["message"].startswith(
        f"Not found: {method} {path} is not an endpoint of this server. "
    )
    assert reply.headers["x-should-retry"] == "false"
    assert status != 405 or reply.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": -1}, "max_tokens: "),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text.text: Field req"),
        ({"stop_sequences": [1]}, "stop_sequences.0: Input should be a valid string"),
    ],
)
def test_an_invalid_body_is_a_400_with_the_json_path(client, change, message):
    """The message begins with the path."""
    reply = client.post("/v1/messages", json={**HELLO, **change})
    assert reply.status_code == 400
    error = error_of(reply)
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith(message)


def test_a_body_that_is_not_json_is_a_400(client):
    """The message says so."""
    reply = client.post("/v1/messages", content=b'{"model": ')
    assert reply.status_code == 400
    assert "JSON" in error_of(reply)["message"]


def test_a_body_above_the_limit_is_a_413(client):
    """The limit is configured."""
    body = {**HELLO, "messages": [{"role": "user", "content": "x" * 200_000}]}
    reply = client.post("/v1/messages", json=body)
    assert reply.status_code == 413
    assert error_of(reply)["type"] == "request_too_large"


def test_a_thread_is_rejected_with_the_error_code_that_the_tool_runner_knows(client):
    """With this code the SDK's tool_runner continues without threads."""
    reply = client.post("/v1/messages", json={**HELLO, "thread": {"type": "create"}})
    assert reply.status_code == 400
    assert error_of(reply)["details"]["error_code"] == "thread_unsupported_request"


def test_a_name_that_matches_an_alias_pattern_is_served_and_returned(client):
    """The aliased model responds, with the client's name."""
    reply = client.post("/v1/messages", json={**HELLO, "model": "claude-haiku-4-5"})
    assert reply.status_code == 200
    assert reply.json()["model"] == "claude-haiku-4-5"


@pytest.mark.parametrize(
    "path",
    ["/v1/v1/messages", "/v1/message", "/messages", "/v1/complete", "/v1/messages/messages", "/anthropic/messages"],
)
def test_a_mistyped_path_is_a_404_in_the_envelope_with_a_hint(stack, client, path):
    """It names the right address; streams and other methods get it, too."""
    for method, body in (("POST", HELLO), ("POST", {**HELLO, "stream": True}), ("GET", None)):
        reply = client.request(method, path, json=body)
        assert reply.status_code == 404
        message = error_of(reply)["message"]
        assert message.startswith(f"Not found: {method} {path} is not an endpoint of this server. ")
        assert (
            f"set base_url to {stack.url}" in message
            or f"POST {stack.url}/v1/messages" in message
            or (path == "/v1/messages/messages" and "POST /v1/messages/count_tokens" in message)
        )


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/v1/health"), ("GET", "/v1/inspect/routes")],
)
def test_routes_of_the_platform_are_not_hidden_by_the_hints(client, method, path):
    """And its unknown paths keep its own error body."""
    body = {"model": "up/text", "messages": HELLO["messages"]} if method == "POST" else None
    assert client.request(method, path, json=body).status_code == 200
    assert client.request("POST", "/v1/no-such-path").json() == {"detail": "Not Found"}


@pytest.mark.parametrize(
    ("model", "header"),
    [
        ("up/text", "up/text; reason=exact"),
        ("up/status-429", "up/status-429; reason=exact"),
        ("my-tool", "up/tool; reason=alias"),
        ("claude-haiku-4-5", "up/text; reason=pattern"),
        ("reasoning", "up/reasoning; reason=bare"),
    ],
)
def test_every_reply_names_the_model_and_the_rule_that_selected_it(client, model, header):
    """Whole, streaming, counted, and refused by the backend."""
    body = {**HELLO, "model": model}
    for path, request in (("", body), ("", {**body, "stream": True}), ("/count_tokens", body)):
        reply = client.post(f"/v1/messages{path}", json=request)
        assert reply.headers["x-messages-model"] == header
        assert reply.status_code == (429 if "429" in model and not path else 200)


def test_a_stream_that_begins_with_a_ping_names_its_model(client, upstream):
    """The header is sent before the backend has accepted the request."""
    with client.stream("POST", "/v1/messages", json={**HELLO, "model": "late", "stream": True}) as reply:
        assert reply.headers["x-messages-model"] == "up/late; reason=bare"
        lines = reply.iter_lines()
        assert next(lines) == "event: ping"
        upstream.open_gate("late")
        assert "event: message_stop" in list(lines)


@pytest.mark.parametrize("model", ["nobody", "gone/model", "dangling"])
def test_an_unknown_model_is_a_404_that_lists_the_served_models(client, model):
    """If there is no default model."""
    reply = client.post("/v1/messages", json={**HELLO, "model": model})
    assert reply.status_code == 404
    error = error_of(reply)
    assert error["type"] == "not_found_error"
    assert error["message"].startswith(f"model: {model}")
    assert "up/text" in error["message"]


@pytest.mark.parametrize(
    ("upstream_status", "status", "kind", "retryable"),
    [
        (400, 400, "invalid_request_error", False),
        (401, 500, "api_error", False),
        (403, 500, "api_error", False),
        (404, 404, "not_found_error", False),
        (413, 413, "request_too_large", False),
        (422, 400, "invalid_request_error", False),
        (429, 429, "rate_limit_error", True),
        (500, 500, "api_error", True),
        (503, 529, "overloaded_error", True),
        (504, 504, "timeout_error", True),
        (529, 529, "overloaded_error", True),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_error_is_translated_without_secrets(client, upstream_status, status, kind, retryable, stream):
    """Status and type follow the table; retry headers are kept; key and address of the upstream are removed."""
    reply = client.post("/v1/messages", json={**HELLO, "model": f"up/status-{upstream_status}", "stream": stream})
    assert reply.status_code == status
    assert error_of(reply)["type"] == kind
    assert reply.headers.get("x-should-retry") == (None if retryable else "false")
    assert "sk-upstream" not in reply.text
    assert "10.0.0.7" not in reply.text
    if upstream_status == 429:
        assert reply.headers["retry-after"] == "7"
        assert reply.headers["anthropic-ratelimit-requests-remaining"] == "3"


def test_an_error_in_a_200_has_the_status_of_its_code(client):
    """OpenRouter returns a 200 if its provider rejected the request."""
    reply = client.post("/v1/messages", json={**HELLO, "model": "up/error-body"})
    assert (reply.status_code, reply.json()["error"]["type"]) == (429, "rate_limit_error")
    assert reply.json()["error"]["message"] == "Provider returned error"


def test_a_context_overflow_has_the_message_that_starts_compaction(client):
    """Claude Code searches for it."""
    reply = client.post("/v1/messages", json={**HELLO, "model": "up/overflow"})
    assert reply.status_code == 400
    assert error_of(reply)["message"] == "prompt is too long: 9000 tokens > 8192 maximum"


@pytest.mark.parametrize("stream", [False, True])
def test_an_html_page_with_status_200_is_an_upstream_failure(client, stream):
    """It is not an empty success, and its text is not shown."""
    reply = client.post("/v1/messages", json={**HELLO, "model": "up/html", "stream": stream})
    assert "10.0.0.7" not in reply.text
    assert "sk-upstream" not in reply.text
    if stream:
        assert '"type":"error"' in reply.text.replace(" ", "")
    else:
        assert reply.status_code == 502
        assert error_of(reply)["type"] == "api_error"


def test_openapi_has_the_schemas_of_request_and_response(client):
    """And no routes that only reject requests."""
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/v1/messages"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"].endswith("/CreateMessageRequest")
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Message")
    schema = document["components"]["schemas"]["CreateMessageRequest"]
    assert schema["properties"]["max_tokens"]["description"]
    assert {"TextBlock", "ToolUseBlock", "Message", "Usage"} <= set(document["components"]["schemas"])
    routes = {
        path: set(found) for path, found in document["paths"].items() if "messages" in path or "anthropic" in path
    }
    assert routes == {
        "/v1/messages": {"post"},
        "/v1/messages/count_tokens": {"post"},
        "/anthropic/v1/messages": {"post"},
        "/anthropic/v1/messages/count_tokens": {"post"},
        "/anthropic/v1/models": {"get"},
        "/anthropic/v1/models/{model_id}": {"get"},
    }


def test_no_failure_logs_a_traceback(stack, client):
    """A rendered traceback would stop the server for seconds, so a failure is logged as one line."""
    for model in ("nobody", "up/status-401", "up/status-404", "up/status-500", "up/html", "up/dies", "up/error-chunk"):
        for stream in (False, True):
            client.post("/v1/messages", json={**HELLO, "model": model, "stream": stream})
    client.post("/v1/messages", content=b"{")
    assert "Traceback" not in stack.log
    assert "sk-upstream-secret" not in stack.log
