"""An upstream's error body -> the client's error."""

from datetime import UTC, datetime

import pytest

from llama_stack_api_messages.errors import (
    ERROR_BY_STATUS,
    ApiError,
    BadGatewayError,
    BillingError,
    ConflictError,
    GatewayTimeoutError,
    InvalidRequestError,
    MessagesError,
    NotFoundError,
    OverloadedError,
    RateLimitError,
    RequestTooLargeError,
)
from llama_stack_api_messages.models import ERROR_TYPES
from llama_stack_provider_messages.errors.body import (
    STATUS_BY_TYPE,
    ContextOverflowError,
    error_of_event,
    translate_error,
)
from llama_stack_provider_messages.errors.redaction import redact_by_pattern

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


def translated(status, body, headers=None):
    return translate_error(status, body, headers or {}, now=NOW)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (404, NotFoundError),
        (408, GatewayTimeoutError),
        (409, ConflictError),
        (413, RequestTooLargeError),
        (415, InvalidRequestError),
        (422, InvalidRequestError),
        (429, RateLimitError),
        (500, ApiError),
        (502, BadGatewayError),
        (503, OverloadedError),
        (504, GatewayTimeoutError),
        (520, ApiError),
        (529, OverloadedError),
    ],
)
def test_the_status_selects_the_class_and_the_message_is_kept(status, kind):
    error = translated(status, {"error": {"message": "so it is", "type": "x", "code": None}})
    assert (type(error), error.message) == (kind, "so it is")


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "why"}},
        {"message": "why", "type": "x"},
        {"error": "why"},
        {"detail": "why"},
        [{"error": {"message": "why"}}],
        '{"error": {"message": "why"}}',
        b'[{"message": "why"}]',
        "why",
        MessagesError("why"),
    ],
    ids=["OpenAI", "inner or old vLLM", "Ollama", "FastAPI", "Gemini", "encoded", "bytes", "text", "object"],
)
def test_every_backends_body_is_understood(body):
    assert translated(400, body).message == "why"


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        [],
        {},
        7,
        "<!doctype html><html><body>nginx 10.0.0.7</body></html>",
        {"error": {"message": {"a": 1}}},
        "3",
    ],
)
def test_a_message_that_is_not_a_sentence_is_replaced(body):
    assert translated(502, body).message in ("The backend answered 502", "3")
    assert translated(404, None).message == "The backend does not know the model"


def both(asked, output, limit):
    """Return the message for a prompt that fits and an output limit that does not."""
    head = f"input length and `max_tokens` exceed context limit: {asked} + {output} > {limit}"
    return f"{head}, decrease input length or `max_tokens` and try again"


OVERFLOWS = [
    (
        (
            "This model's maximum context length is 8192 tokens. However, you requested 9500 tokens (8500 in the "
            "messages, 1000 in the completion). Please reduce the length of the messages or completion."
        ),
        "prompt is too long: 8500 tokens > 8192 maximum",
    ),
    (
        (
            "This model's maximum context length is 16384 tokens. However, you requested 19591 tokens (9591 in "
            "the messages, 10000 in the completion). Please reduce the length of the messages or completion."
        ),
        both(9591, 10000, 16384),
    ),
    (
        (
            "This model's maximum context length is 128000 tokens. However, your messages resulted in 202868 "
            "tokens (202767 in the messages, 101 in the functions). Please reduce the length of the messages or "
            "functions."
        ),
        "prompt is too long: 202868 tokens > 128000 maximum",
    ),
    (
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        "prompt is too long: 9000 tokens > 8192 maximum",
    ),
    (
        (
            "This model's maximum context length is 4097 tokens, however you requested 5116 tokens (4860 in your "
            "prompt; 256 for the completion). Please reduce your prompt; or completion length."
        ),
        "prompt is too long: 4860 tokens > 4097 maximum",
    ),
    (
        (
            "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens. "
            "Please reduce the length of the input messages."
        ),
        "prompt is too long: 5000 tokens > 4096 maximum",
    ),
    (
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is "
            "32768 tokens and your request has 12000 input tokens (32000 > 32768 - 12000)."
        ),
        both(12000, 32000, 32768),
    ),
    (
        (
            "You passed 9001 input tokens and requested 1000 output tokens. However, the model's context length "
            "is only 8192 tokens, resulting in a maximum input length of 7192 tokens."
        ),
        "prompt is too long: 9001 tokens > 8192 maximum",
    ),
    (
        "The prompt (total length 25938) is too long to fit into the model (context length 4096).",
        "prompt is too long: 25938 tokens > 4096 maximum",
    ),
    (
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
        "prompt is too long: 5000 tokens > 4096 maximum",
    ),
    (
        "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
        "prompt is too long: 61709 tokens > 40960 maximum",
    ),
    (
        (
            "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a "
            "total of 5000 tokens: 1000 tokens from the input messages and 4000 tokens for the completion."
        ),
        both(1000, 4000, 4096),
    ),
    (
        "request (131168 tokens) exceeds the available context size (131072 tokens), try increasing it",
        "prompt is too long: 131168 tokens > 131072 maximum",
    ),
    ("Requested tokens (2285) exceed context window of 2048", "prompt is too long: 2285 tokens > 2048 maximum"),
    ("prompt is too long: 208656 tokens > 200000 maximum", "prompt is too long: 208656 tokens > 200000 maximum"),
    (
        "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000",
        "prompt is too long: 5000 tokens > 4096 maximum",
    ),
    (
        ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 1000 `max_new_tokens`"),
        both(4000, 1000, 4096),
    ),
    (
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048575).",
        "prompt is too long: 1200000 tokens > 1048575 maximum",
    ),
    (
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        "prompt is too long: 537812 tokens > 131072 maximum",
    ),
    (
        ("Input tokens exceed the configured limit of 272,000 tokens. Your messages resulted in 300,123 tokens."),
        "prompt is too long: 300123 tokens > 272000 maximum",
    ),
    (
        ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"),
        "prompt is too long: 40000 tokens > 32768 maximum",
    ),
    (
        (
            "This model's maximum context length is 4096 tokens. However, you requested 100 output tokens and your "
            "prompt contains at least 4090 input tokens, for a total of at least 4190 tokens. Please reduce the "
            "length of the input prompt or the number of requested output tokens. (parameter=input_tokens, value=4090)"
        ),
        both(4090, 100, 4096),
    ),
    (
        (
            "This model's maximum context length is 4096 tokens. However, you requested 5000 output tokens and your "
            "prompt contains at least 10 input tokens, for a total of at least 5010 tokens."
        ),
        both(10, 5000, 4096),
    ),
    (
        (
            "This model's maximum context length is 262144 tokens. However, you requested 0 output tokens and your "
            "prompt contains at least 262145 input tokens, for a total of at least 262145 tokens."
        ),
        "prompt is too long: 262145 tokens > 262144 maximum",
    ),
    (
        (
            "This model's maximum context length is 4096 tokens. However, you requested 100 output tokens and your "
            "prompt contains 50000 characters (more than 30000 characters, which is the upper bound)."
        ),
        "prompt is too long",
    ),
    (both(190000, 20000, 200000), both(190000, 20000, 200000)),
    ("Prompt length (5000) exceeds max_model_len 4096", "prompt is too long: 5000 tokens > 4096 maximum"),
    (
        "Input length (265330) exceeds model's maximum context length (262144).",
        "prompt is too long: 265330 tokens > 262144 maximum",
    ),
    (
        "Input length 131393 exceeds the maximum allowed input length of 131040 tokens.",
        "prompt is too long: 131393 tokens > 131040 maximum",
    ),
    ("too many tokens in prompt: 5000 > 4096", "prompt is too long: 5000 tokens > 4096 maximum"),
    (
        "The prompt is too long: 200000, model maximum context length: 131071",
        "prompt is too long: 200000 tokens > 131071 maximum",
    ),
    (
        "Prompt has 256,468 tokens, but the configured context size is 256,000 tokens",
        "prompt is too long: 256468 tokens > 256000 maximum",
    ),
    (
        "Your request exceeded model token limit: 262144 (requested: 300000)",
        "prompt is too long: 300000 tokens > 262144 maximum",
    ),
    (
        "Please reduce the length of the messages or completion. Current length is 5000 while limit is 4096",
        "prompt is too long: 5000 tokens > 4096 maximum",
    ),
    (
        "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens.",
        "prompt is too long: 9000 tokens > 8192 maximum",
    ),
    ("The input token count exceeds the maximum number of tokens allowed (1048576).", "prompt is too long"),
    ("Range of input length should be [1, 129024]", "prompt is too long"),
    ("Context size has been exceeded.", "prompt is too long"),
    ("Requested token count exceeds the model's maximum context length", "prompt is too long"),
    ("Input is too long for requested model.", "prompt is too long"),
    ("ValidationException: Input is too long for requested model.", "prompt is too long"),
    ("Input is too long", "prompt is too long"),
    ("prompt too long; exceeded max context length by 812 tokens", "prompt is too long"),
    ("Your input exceeds the context window of this model.", "prompt is too long"),
    ("the request exceeds the available context size. try increasing the context size", "prompt is too long"),
]
"""Wordings of backends, as their issues quote them, and our own."""


@pytest.mark.parametrize(("message", "expected"), OVERFLOWS)
@pytest.mark.parametrize("status", [400, 500, None])
def test_an_overflow_gets_the_message_that_clients_act_on(message, expected, status):
    """claude-code-proxy 29, litellm 36546, omlx 26: compaction never started, the client retried forever."""
    error = translated(status, {"error": {"message": message}})
    assert (type(error), error.message) == (ContextOverflowError, expected)


@pytest.mark.parametrize("status", [413, 422, 502, 503])
def test_an_overflow_is_recognized_with_any_status_that_backends_and_gateways_use(status):
    """TGI answers 422, OpenAI-like servers 413, and gateways turn a backend's 400 into 502 or 503."""
    error = translated(status, {"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}})
    assert (error.status_code, error.message) == (400, "prompt is too long: 9 tokens > 8 maximum")


NOT_OVERFLOWS = [
    (404, "model foo does not exist; models with maximum context length above 8192 are listed", 404),
    (429, "your input is too long for the current window of 60s", 429),
    (429, "Too many tokens, prompt is too long for this minute", 429),
    (500, "CUDA error: maximum context length profile failed", 500),
    (400, "max_tokens must be at least 1. The maximum context length is 4096 tokens.", 400),
    (400, "The maximum context length is 4096 tokens. max_tokens must be at least 1.", 400),
    (400, "max_tokens must not exceed the model's maximum context length", 400),
    (400, "Field 'user' is wrong: input is too long (max 64 chars)", 400),
    (400, "Range of max_tokens should be [1, 8192]", 400),
    (503, "Too many tokens, please wait before trying again.", 529),
]


@pytest.mark.parametrize(("status", "message", "expected"), NOT_OVERFLOWS)
def test_a_message_that_only_mentions_lengths_is_not_an_overflow(status, message, expected):
    """A conversation is compacted only if the prompt does not fit; other errors keep status, message and headers."""
    error = translated(status, {"error": {"message": message}}, {"retry-after": "7"})
    assert (error.status_code, error.message, error.headers) == (expected, message, {"retry-after": "7"})


def test_a_refused_key_that_mentions_a_length_is_still_a_refused_key():
    """401 and 403 are about the stack's key, whatever the message."""
    error = translated(401, {"error": {"message": "maximum context length of your key exceeded"}})
    assert (error.status_code, "credentials" in error.message) == (500, True)


def test_a_rate_limit_inside_a_stream_is_not_an_overflow():
    """Without a status, the code in the body decides."""
    error = translated(None, {"error": {"message": "prompt is too long for this minute", "code": 429}})
    assert type(error) is RateLimitError


@pytest.mark.parametrize(
    "message",
    [
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "this model does not support image input",
        "This model doesn't support images.",
        "/config/models/squirtle_instruct is not a multimodal model",
        "No endpoints found that support image input",
        "this model is missing data required for image input",
        "At most 0 image(s) may be provided in one prompt.",
        "Failed to deserialize: messages[1]: unknown variant `image_url`, expected `text`",
    ],
)
@pytest.mark.parametrize("status", [400, 404, 500, None])
def test_a_model_without_vision_is_an_invalid_request(message, status):
    """llama.cpp sends 500 for an image without mmproj; a client must not retry it, but learn about the image."""
    error = translated(status, {"error": {"message": message}})
    assert (type(error), error.status_code, error.retryable) == (InvalidRequestError, 400, False)
    assert error.message.startswith("The model cannot read images")
    assert error.message.endswith(message)


@pytest.mark.parametrize(
    "message",
    [
        "audio input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "image type is not supported",
        "this model does not support images larger than 5 MB",
    ],
)
def test_a_rejected_image_is_not_a_model_without_vision(message):
    """The backend's own message says what is wrong with the image."""
    assert translated(400, {"error": {"message": message}}).message == message


def test_an_unavailable_backend_is_not_a_model_without_vision():
    """Only statuses about the request tell what a model can do."""
    assert translated(503, {"error": {"message": "vision replica down: is not a vision model"}}).status_code == 529


def test_the_token_counts_of_llama_cpp_are_fields_of_the_error():
    body = {
        "code": 400,
        "message": "too much",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 1407,
        "n_ctx": 256,
    }
    assert translated(400, {"error": body}).message == "prompt is too long: 1407 tokens > 256 maximum"
    assert translated(400, {"code": "context_length_exceeded", "message": "no"}).message == "prompt is too long"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_of_the_stack_is_not_the_clients_error(status):
    error = translated(status, {"error": {"message": "Incorrect API key provided: sk-proj-123456789"}})
    assert (type(error), error.status_code, error.retryable) == (ApiError, 500, False)
    assert "sk-" not in error.message
    assert "credentials" in error.message


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (402, {"message": "pay"}),
        (429, {"message": "pay", "code": "insufficient_quota"}),
        (None, {"message": "pay", "type": "insufficient_quota"}),
    ],
)
def test_an_account_without_credit_is_not_retried(status, error):
    error = translated(status, {"error": error})
    assert (type(error), error.retryable, error.message) == (BillingError, False, "pay")


def test_rate_limits_are_passed_on():
    headers = {
        "Retry-After": "7",
        "retry-after-ms": "7000",
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-requests": "6m0s",
        "x-ratelimit-reset-tokens": "250ms",
        "x-request-id": "secret",
        "server": "nginx",
    }
    assert translated(429, {"error": {"message": "slow"}}, headers).headers == {
        "retry-after": "7",
        "retry-after-ms": "7000",
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-20T12:06:00Z",
        "anthropic-ratelimit-tokens-reset": "2026-11-20T12:00:00Z",
    }


def test_without_the_time_there_are_no_reset_times():
    assert translate_error(429, None, {"x-ratelimit-reset-tokens": "1s"}).headers == {}
    assert translate_error(429, None).headers == {}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (503, 529),
        ("429", 429),
        (400, 400),
        ("server_error", 500),
        ("rate_limit_exceeded", 429),
        (None, 500),
        (200, 500),
        (True, 500),
    ],
)
def test_a_number_in_a_streams_error_is_its_status(code, status):
    """Envoyproxy 2513: a numeric code turned a 400 into a 500."""
    assert translated(None, {"error": {"message": "x", "code": code}}).status_code == status


def test_the_type_of_a_streams_error_selects_its_class():
    assert translated(None, {"error": {"message": "x", "code": None, "type": "overloaded_error"}}).status_code == 529


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("RESOURCE_EXHAUSTED", 429),
        ("UNAVAILABLE", 529),
        ("INVALID_ARGUMENT", 400),
        ("NOT_FOUND", 404),
        ("DEADLINE_EXCEEDED", 504),
        ("INTERNAL", 500),
    ],
)
@pytest.mark.parametrize("key", ["code", "status"])
def test_a_grpc_name_in_a_streams_error_is_its_status(key, name, status):
    """Gemini names errors as gRPC does, in ``status`` beside a number or alone."""
    assert translated(None, {"error": {"message": "x", key: name}}).status_code == status


WRONG_FIELD = {"type": "missing", "loc": ["body", "messages"], "msg": "field required", "input": {"secret": 1}}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"detail": [WRONG_FIELD]}, "body.messages: field required"),
        (
            {"detail": [WRONG_FIELD, {"loc": ["body", "tools", 0], "msg": "wrong"}]},
            "body.messages: field required; body.tools.0: wrong",
        ),
        ({"object": "error", "message": {"detail": [WRONG_FIELD]}}, "body.messages: field required"),
        ({"error": {"detail": [WRONG_FIELD]}}, "body.messages: field required"),
        ({"detail": [{"msg": "no place"}, {"loc": "x", "msg": "odd place"}]}, "no place; odd place"),
        ({"detail": [7, {"loc": ["body"]}]}, None),
        ({"detail": []}, None),
        ({"detail": {"a": 1}}, None),
        ([[{"message": "why"}]], None),
    ],
    ids=["one", "two", "Mistral", "nested", "no loc", "no msg", "empty", "object", "nested lists"],
)
def test_invalid_fields_are_named(status, body, expected):
    """FastAPI (vLLM, SGLang) sends a list of fields; the client gets path and reason, never the input."""
    error = translated(status, body)
    assert (type(error), error.message) == (InvalidRequestError, expected or f"The backend answered {status}")


def test_deeply_nested_lists_do_not_fail():
    """A body may be garbage."""
    body = []
    for _ in range(100_000):
        body = [body]
    assert translated(502, body).message == "The backend answered 502"


def test_a_numeric_code_does_not_override_the_status():
    """llama.cpp has 500 there with a status of 400, or the other way round."""
    assert translated(400, {"error": {"message": "x", "code": 500}}).status_code == 400


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdef123456",
        "sk-***abcd",
        "Bearer abc.def",
        "hf_abcdefghijkl",
        "0123456789abcdef0123456789abcdef",
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln",
        "QWxhZGRpbjpvcGVuIHNlc2FtZQQWxhZGRpbjpvcGVuIHNlc2FtZ1",
        "https://api.internal/v1?key=1",
        "http://10.0.0.7:8000/v1",
        "10.1.2.3:8000",
        "[::1]:8080",
        "localhost:11434",
        "api.openai.com",
        "vllm.prod.svc",
        "host='vllm',",
        "AIzaSyD-0123456789abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_0123456789abcdef",
        "glpat-abcdefgh12345678",
        "x-api-key: 0123456789abcdef",
        '"api_key": "s3cr3t"',
        "OPENAI_API_KEY=s3cr3t",
        "password=hunter2",
        "Basic QWxhZGRpbjpvcGVu",
        "Bearer opaque",
        "Bearer authority.x",
        "sk-abcd...wxyz",
        "backend-host:8000",
        "vllm.prod:8000",
        "my_vllm-0:8000",
        "[::1]:8000",
        "fe80::1",
        "2001:db8:0:0:0:0:0:1",
        "https://host/v1?api_key=s3cr3t",
    ],
)
def test_keys_and_addresses_are_redacted(secret):
    text = translated(400, {"error": {"message": f"cannot reach {secret} now"}}).message
    assert secret not in text
    assert text.startswith(("cannot reach [", 'cannot reach "['))
    assert text.endswith("now")


@pytest.mark.parametrize("secret", ["/v1?api_key=s3cr3t", "host vllm:8000", "connection to vllm:80 failed"])
def test_text_before_a_secret_stays(secret):
    """The name of a service and the value of a parameter are redacted, the path and the words are not."""
    text = redact_by_pattern(f"cannot reach {secret} now")
    assert "s3cr3t" not in text
    assert "vllm" not in text
    assert text.startswith(f"cannot reach {secret.split('?')[0].split(' vllm')[0]}")


@pytest.mark.parametrize(
    "text",
    [
        "messages.0.content.1.text: must be non-empty",
        "The model `meta-llama/Llama-3.1-8B-Instruct` does not exist.",
        "Invalid value: 'xhigh'. Supported values are: 'low' and 'high'.",
        "tools.0.function.parameters: schema must have type 'object'",
        "tool 'key-value-lookup-tool' is unknown",
        "key_name_of_property is required",
        "no column pk_column",
        "no model sk-learn-model",
        "model Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8-Dynamic-Long is not loaded",
        "tool mcp__notion__API-post-database-query-Long1 is unknown",
        "Bearer token missing",
        "Bearer authentication is required",
        "Basic validation failed",
        "version 1.2.3.4",
        "password: field required",
        "max_tokens=4096, pad_token: 12",
        "api_key: a string is expected",
        "invalid token: 151643",
        "model gpt-oss:20b, llama3:70b",
        "anthropic-version:2023-06-01",
        "content-length:12345",
        "serving-chat.py:1983",
        "messages[0:5], std::vector, at 12:30:45",
    ],
)
def test_ordinary_words_stay(text):
    assert redact_by_pattern(text) == text


def test_long_messages_are_cut():
    assert len(translated(400, "word " * 5000).message) == 1000


def test_the_message_of_an_error_event_is_redacted():
    inner = {"type": "api_error", "message": "Bearer sk-ant-abcdef1234567890 failed"}
    assert "abcdef" not in error_of_event({"error": inner}).message


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"error": {"code": 429, "message": "slow down", "type": "rate_limit_exceeded"}}, 429),
        ({"error": "broken"}, 500),
        ({"error": {"type": "api_error", "message": " "}}, 500),
        ({"code": 503, "message": "Loading model", "type": "unavailable_error"}, 529),
        ({"type": "error"}, 500),
    ],
)
def test_an_error_event_in_another_form_is_understood(event, status):
    found = error_of_event(event)
    assert found.status_code == status
    assert found.message


def test_every_error_type_has_the_status_of_its_class():
    assert STATUS_BY_TYPE.keys() == set(ERROR_TYPES)
    classes = {kind.error_type: kind for kind in [*ERROR_BY_STATUS.values(), MessagesError]}
    stated = {kind.error_type: kind.status_code for kind in ERROR_BY_STATUS.values() if kind.status_code != 405}
    del stated["api_error"]  # 500 and 502
    assert {name: STATUS_BY_TYPE[name] for name in stated} == stated
    assert STATUS_BY_TYPE["api_error"] == classes["api_error"].status_code
