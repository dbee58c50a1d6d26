"""Errors of backends that lead to a retry, and those that do not."""

import pytest

from llama_stack_api_messages.errors import GatewayTimeoutError, InvalidRequestError, OverloadedError
from llama_stack_provider_messages.errors.body import translate_error
from llama_stack_provider_messages.translation.messages_to_chat import (
    Profile,
    TranslationContext,
    adapt,
    translate_request,
)
from support.streams import request

USER = {"role": "user", "content": "x" * 400}
LATE_SYSTEM = [USER, {"role": "system", "content": "b"}]


def adapted(status, text, *, messages=(USER,), profile=None, tried=frozenset(), **fields):
    failure = translate_error(status, {"error": {"message": text}})
    fields = {"messages": list(messages), "max_tokens": 32000} | fields
    return adapt(failure, fields, profile or Profile(), tried)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (
            (
                "max_tokens is too large: 32000. This model supports at most 16384 completion "
                "tokens, whereas you provided "
                "32000."
            ),
            16384,
        ),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 8192),
        ("<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]", 8192),
        (
            (
                "`max_tokens` must be less than or equal to `16384`, the maximum value for "
                "`max_tokens` is less than the "
                "`context_window` for this model"
            ),
            16384,
        ),
        ("max_tokens: Input should be less than or equal to 4096", 4096),
        ("too many tokens: max tokens must be less than or equal to 4096, the maximum output for this model", 4096),
        ("max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for claude-x", 8192),
        (
            (
                "Unable to submit request because it has a maxOutputTokens value of 32000 but the "
                "supported range is from "
                "1 (inclusive) to 8193 (exclusive). Update the value and try again."
            ),
            8192,
        ),
        ("The maximum tokens you requested exceeds the model limit of 8192. Try again with a lower value.", 8192),
    ],
    ids=["OpenAI", "DeepSeek", "DashScope", "Groq", "FastAPI", "Cohere", "Anthropic", "Vertex", "Bedrock"],
)
def test_an_output_limit_is_adopted_for_the_model(text, limit):
    """From each backend's own wording."""
    found = adapted(400, text)
    assert (found.kind, dict(found.changes), found.lasting) == ("output limit", {"max_output_tokens": limit}, True)


@pytest.mark.parametrize(
    "text", ["max_tokens is too large: 32000. This model supports at most 64000", "max_tokens: no"]
)
def test_an_output_limit_that_would_not_help_is_ignored(text):
    """A retry with the same limit cannot succeed."""
    assert adapted(400, text) is None


@pytest.mark.parametrize(
    ("text", "room"),
    [
        (
            (
                "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum "
                "context length is 32768 "
                "tokens and your request has 12000 input tokens (32000 > 32768 - 12000). None"
            ),
            20768,
        ),
        (
            (
                "This model's maximum context length is 16384 tokens. However, you requested 34000 tokens (2000 in the "
                "messages, 32000 in the completion). Please reduce the length of the messages or completion."
            ),
            14384,
        ),
        (
            (
                "This model's maximum context length is 40000 tokens. However, you requested 32000 "
                "output tokens and your "
                "prompt contains at least 8001 input tokens, for a total of at least 40001 tokens."
            ),
            27999,
        ),
    ],
    ids=["vLLM", "OpenAI", "newer vLLM, which stops counting"],
)
def test_prompt_and_output_above_the_window_are_retried_with_the_rest_of_the_window(text, room):
    """The window minus the prompt; for this prompt only."""
    found = adapted(400, text)
    assert (found.kind, found.room, found.lasting, dict(found.changes)) == ("sum above window", room, False, {})


def test_a_prompt_the_backend_did_not_count_is_estimated_with_a_margin():
    """Vllm 42474: "at least" is the window minus max_tokens; retries with one token less would never end."""
    text = (
        "This model's maximum context length is 40000 tokens. However, you requested 32000 output tokens and your "
        "prompt contains at least 8001 input tokens, for a total of at least 40001 tokens."
    )
    rooms = [adapted(400, text, messages=[USER | {"content": "x" * size}]).room for size in (400, 40_000, 400_000)]
    assert rooms == [40000 - 12001, 40000 - 15007, 40000 - 24000]


ABOVE_WINDOW = {
    "vLLM 0.32": "max_tokens=32000 cannot be greater than max_model_len=4096. Please request fewer output tokens.",
    "vLLM 0.20": "max_tokens=32000 cannot be greater than max_model_len=max_total_tokens=4096. Please request fewer",
    "vLLM 0.19": "max_tokens=32000cannot be greater than max_model_len=max_total_tokens=4096. Please request fewer",
    "default names": "max_tokens=32000 cannot be greater than max_total_tokens=4096",
    "NIM": "max_completion_tokens=32000 cannot be greater than max_model_len=4096",
    "LiteLLM": "litellm.BadRequestError: OpenAIException - max_tokens=32000 cannot be greater than max_model_len=4096.",
}


@pytest.mark.parametrize("text", ABOVE_WINDOW.values(), ids=ABOVE_WINDOW)
def test_a_window_below_max_tokens_is_adopted_for_the_model(text):
    """The message of vllm/renderers/params.py in several versions; LiteLLM may turn it into a 500."""
    for status in (400, 500):
        found = adapted(status, text)
        assert (found.kind, dict(found.changes), found.lasting) == (
            "window below max_tokens",
            {"context_window": 4096},
            True,
        )
        assert found.room is None
    done = translate_request(request(max_tokens=32000), TranslationContext(Profile(**found.changes)))
    assert 3000 < done.fields["max_tokens"] < 4096


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=5000 cannot be greater than max_model_len=4096",
        "max_tokens=32000 cannot be greater than max_model_len=64000",
        "max_tokens=32000 cannot be greater than max_model_len=0",
        "max_tokens=32000 cannot be greater than 4096",
        "max_tokens=32000 cannot be greater than max_model_len",
        f"max_tokens={'9' * 5000} cannot be greater than max_model_len={'9' * 5000}",
    ],
    ids=["another request's", "not smaller", "zero", "no name", "no number", "number too long"],
)
def test_a_window_that_would_not_help_is_ignored(text):
    """The text may come from the client: the rejected number has to be the one that was sent."""
    assert adapted(400, text) is None


def test_a_window_and_then_a_sum_are_two_rules():
    """Older vLLM rejects the sum after the window; each rule applies once."""
    tried = frozenset({"window below max_tokens"})
    assert adapted(400, ABOVE_WINDOW["vLLM 0.20"], tried=tried) is None
    text = (
        "This model's maximum context length is 4096 tokens. However, you requested 3000 output tokens and your "
        "prompt contains at least 1097 input tokens, for a total of at least 4097 tokens."
    )
    assert adapted(400, text, tried=tried, max_tokens=3000).kind == "sum above window"


NO_TOOLS = "Function tools with reasoning_effort are not supported for gpt-5.5 in /v1/chat/completions. "
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    "text",
    [
        NO_TOOLS + "Please use /v1/responses instead.",
        NO_TOOLS + "To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
    ],
    ids=["GPT-5.4 and 5.5", "GPT-5.6"],
)
@pytest.mark.parametrize("effort", [{}, {"reasoning_effort": "low"}], ids=["no effort", "effort"])
def test_a_model_that_accepts_tools_only_without_thinking_is_remembered(text, effort):
    """The retry sends the effort "none"; 5.5 and 5.6 also reject requests without the field."""
    found = adapted(400, text, tools=TOOLS, **effort)
    expected = ("tools without thinking", {"tools_without_thinking": True}, True)
    assert (found.kind, dict(found.changes), found.lasting) == expected


@pytest.mark.parametrize("fields", [{"tools": TOOLS, "reasoning_effort": "none"}, {"reasoning_effort": "none"}, {}])
def test_effort_none_is_not_sent_again_or_without_tools(fields):
    """The remaining change is to omit the switch, if there is one."""
    found = adapted(400, NO_TOOLS, **fields)
    assert found is None or found.kind == "thinking"


@pytest.mark.parametrize(("prompt", "again"), [(30720, True), (30721, False)])
def test_there_is_no_retry_with_too_little_room(prompt, again):
    """With less than a 16th of the window, the client has to compact the conversation."""
    text = f"input length and `max_tokens` exceed context limit: {prompt} + 32000 > 32768"
    assert (adapted(400, text) is not None) == again


def test_a_large_window_needs_4096_tokens_of_room():
    text = "input length and `max_tokens` exceed context limit: 995000 + 32000 > 1000000"
    assert adapted(400, text).room == 5000


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "System message must be at the beginning."),
        (404, "System message must be at the beginning."),
        (
            500,
            (
                "While executing CallExpression at line 85: Error: Jinja Exception: System message must "
                "be at the beginning."
            ),
        ),
        (400, "Unexpected role 'system' after role 'user'"),
        (500, "Only user, assistant and tool roles are supported, got system"),
        (500, "After the optional system message, conversation roles must alternate user and assistant roles"),
        (422, "The system message must be first"),
    ],
    ids=["vLLM", "MLX", "llama.cpp", "mistral-common", "Ministral", "Devstral", "other"],
)
def test_a_template_that_requires_the_system_message_first_is_remembered(status, text):
    """As Qwen's template does (vllm 41114, llama.cpp 20733)."""
    found = adapted(status, text, messages=LATE_SYSTEM)
    assert (found.kind, dict(found.changes), found.lasting) == ("system first", {"inline_system": "user"}, True)


def test_a_system_first_error_is_final_if_there_is_no_later_system_message():
    """Or if later system messages are already user text."""
    text = "System message must be at the beginning."
    assert adapted(400, text, messages=[LATE_SYSTEM[1], USER]) is None
    assert adapted(400, text, messages=LATE_SYSTEM, profile=Profile(inline_system="user")) is None


@pytest.mark.parametrize(
    ("text", "lasting"),
    [
        ('"qwen2.5:7b" does not support thinking', True),
        ("Unrecognized request argument supplied: reasoning_effort", True),
        ("Unsupported parameter: 'reasoning_effort' is not supported with this model.", True),
        ("Unsupported value: 'reasoning_effort' does not support 'none' with this model.", False),
        ('think value "medium" is not supported for this model', False),
    ],
)
def test_a_rejected_thinking_switch_is_omitted(text, lasting):
    """For the model if it never thinks, for this request if only the value was rejected."""
    found = adapted(400, text, reasoning_effort="medium")
    assert (found.kind, dict(found.changes), found.lasting) == ("thinking", {"thinking": "none"}, lasting)


def test_a_model_without_vision_is_remembered():
    """There is no second retry, because no images are left in the request."""
    text = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
    found = adapted(500, text)
    assert (found.kind, dict(found.changes), found.lasting) == ("images", {"images": "reject"}, True)
    assert adapted(500, text, profile=Profile(images="reject")) is None


def test_each_rule_is_tried_once():
    """A second error of the same kind is final; another rule may still apply."""
    text = "System message must be at the beginning. reasoning_effort is wrong"
    first = adapted(400, text, messages=LATE_SYSTEM, reasoning_effort="low")
    second = adapted(400, text, messages=LATE_SYSTEM, reasoning_effort="low", tried=frozenset({first.kind}))
    assert (first.kind, second.kind) == ("system first", "thinking")
    assert adapted(400, text, messages=LATE_SYSTEM, tried=frozenset({"system first", "thinking"})) is None


def test_a_content_policy_error_is_final():
    """Even if its text matches another rule."""
    text = "Your prompt was flagged by our safety system for reasoning extraction"
    assert adapted(400, text, reasoning_effort="low") is None


@pytest.mark.parametrize("failure", [GatewayTimeoutError, OverloadedError])
def test_only_rejected_requests_are_retried(failure):
    """Not timeouts and overloads, whatever their text."""
    assert adapt(failure("System message must be first"), {"messages": LATE_SYSTEM}, Profile(), frozenset()) is None


def test_a_request_without_an_output_limit_is_not_retried():
    """The configuration may remove the field."""
    failure = InvalidRequestError("Range of max_tokens should be [1, 8192]")
    assert adapt(failure, {"messages": [], "max_tokens": None}, Profile(), frozenset()) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) is supported.",
            "temperature",
        ),
        ("Unsupported parameter: 'top_p' is not supported with this model.", "top_p"),
        ("Unrecognized request argument supplied: user", "user"),
        ("property 'service_tier' is unsupported", "service_tier"),
        ("body.top_k: Extra inputs are not permitted", "top_k"),
    ],
)
def test_a_rejected_optional_field_is_omitted_for_the_model(text, name):
    """OpenAI's reasoning models do not accept a temperature, for instance."""
    found = adapted(400, text, **{name: 1})
    assert (found.kind, found.changes, found.lasting) == (f"field {name}", {"without": (name,)}, True)


@pytest.mark.parametrize("text", ["Unsupported value: 'messages'", "Unsupported parameter: 'top_p'", "no field at all"])
def test_a_rejected_field_that_is_required_or_was_not_sent_is_final(text):
    assert adapted(400, text, temperature=1) is None


def test_omitted_fields_are_logged_as_dropped_unless_they_are_hints():
    """The profile names the omitted fields; it is configured or learned."""
    req = request(temperature=0.5, metadata={"user_id": "u"})
    done = translate_request(req, TranslationContext(Profile(without=("temperature", "user"))))
    assert not done.fields.keys() & {"temperature", "user"}
    assert [entry.path for entry in done.dropped] == ["temperature"]


@pytest.mark.parametrize(
    "text",
    [
        "Unrecognized request argument supplied: reasoning_effort",
        '"gemma" does not support thinking',
        "chat_template_kwargs: Extra inputs are not permitted",
    ],
)
@pytest.mark.parametrize("switch", [{"reasoning_effort": "high"}, {"chat_template_kwargs": {"thinking": True}}])
def test_an_error_about_thinking_omits_the_switch(text, switch):
    found = adapted(400, text, **switch)
    assert (found.kind, dict(found.changes)) == ("thinking", {"thinking": "none"})


def test_an_error_about_another_field_keeps_the_thinking_switch():
    assert adapted(400, "max_tokens is too large", reasoning_effort="high") is None


def test_an_error_about_thinking_is_final_if_the_request_has_no_switch():
    assert adapted(400, "reasoning_effort") is None
