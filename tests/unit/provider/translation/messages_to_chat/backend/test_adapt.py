"""Refusals that lead to a second try, and those that do not."""

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
def test_a_limit_of_the_output_is_taken_over_and_kept(text, limit):
    """Every backend has its own words; what they say holds for the model."""
    found = adapted(400, text)
    assert (found.kind, dict(found.changes), found.lasting) == ("output limit", {"max_output_tokens": limit}, True)


@pytest.mark.parametrize(
    "text", ["max_tokens is too large: 32000. This model supports at most 64000", "max_tokens: no"]
)
def test_a_limit_that_would_not_help_is_none(text):
    """Asking for the same again cannot succeed."""
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
def test_a_sum_that_does_not_fit_is_asked_again_with_what_is_left(text, room):
    """The window less the prompt; it holds for this prompt only."""
    found = adapted(400, text)
    assert (found.kind, found.room, found.lasting, dict(found.changes)) == ("context window", room, False, {})


def test_a_prompt_the_backend_did_not_count_is_estimated_with_a_margin():
    """Vllm 42474: "at least" is the window less what was asked; one token less each time would never end."""
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
def test_a_window_below_max_tokens_is_taken_over_and_kept(text):
    """The sentence of vllm/renderers/params.py through its versions; LiteLLM may make a 500 of it."""
    for status in (400, 500):
        found = adapted(status, text)
        assert (found.kind, dict(found.changes), found.lasting) == ("model window", {"context_window": 4096}, True)
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
    ids=["another request's", "no less", "nothing", "no window", "no number", "no sane number"],
)
def test_a_window_that_would_not_help_is_none(text):
    """Words may be the client's own: the number that was refused has to be the one that was sent."""
    assert adapted(400, text) is None


def test_a_window_and_then_a_sum_are_two_kinds():
    """Older vLLM refuses the sum after the window; the window is not taken over twice."""
    tried = frozenset({"model window"})
    assert adapted(400, ABOVE_WINDOW["vLLM 0.20"], tried=tried) is None
    text = (
        "This model's maximum context length is 4096 tokens. However, you requested 3000 output tokens and your "
        "prompt contains at least 1097 input tokens, for a total of at least 4097 tokens."
    )
    assert adapted(400, text, tried=tried, max_tokens=3000).kind == "context window"


TOOLLESS = "Function tools with reasoning_effort are not supported for gpt-5.5 in /v1/chat/completions. "
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    "text",
    [
        TOOLLESS + "Please use /v1/responses instead.",
        TOOLLESS + "To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
    ],
    ids=["GPT-5.4 and 5.5", "GPT-5.6"],
)
@pytest.mark.parametrize("effort", [{}, {"reasoning_effort": "low"}], ids=["no effort", "effort"])
def test_a_model_that_takes_tools_without_thinking_only_is_remembered(text, effort):
    """The field with the value none, and not the field left out, which 5.5 and 5.6 refuse as well."""
    found = adapted(400, text, tools=TOOLS, **effort)
    expected = ("tools without thinking", {"tools_without_thinking": True}, True)
    assert (found.kind, dict(found.changes), found.lasting) == expected


@pytest.mark.parametrize("fields", [{"tools": TOOLS, "reasoning_effort": "none"}, {"reasoning_effort": "none"}, {}])
def test_none_is_not_sent_where_it_was_refused_or_there_are_no_tools(fields):
    """What is left is to leave the switch out, if there is one."""
    found = adapted(400, TOOLLESS, **fields)
    assert found is None or found.kind == "thinking"


@pytest.mark.parametrize(("prompt", "again"), [(30720, True), (30721, False)])
def test_too_little_room_is_an_overflow(prompt, again):
    """A 16th of the window; with less, the client has to compact."""
    text = f"input length and `max_tokens` exceed context limit: {prompt} + 32000 > 32768"
    assert (adapted(400, text) is not None) == again


def test_a_large_window_need_not_be_a_16th_empty():
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
def test_a_template_that_wants_system_first_is_remembered(status, text):
    """The case of Qwen's template (vllm 41114, llama.cpp 20733)."""
    found = adapted(status, text, messages=LATE_SYSTEM)
    assert (found.kind, dict(found.changes), found.lasting) == ("system first", {"inline_system": "user"}, True)


def test_without_a_later_system_message_nothing_would_change():
    """Or if they are user text already."""
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
def test_a_refused_switch_of_thinking_is_left_out(text, lasting):
    """For good if the model never thinks, this time if it was the value."""
    found = adapted(400, text, reasoning_effort="medium")
    assert (found.kind, dict(found.changes), found.lasting) == ("thinking", {"thinking": "none"}, lasting)


def test_a_model_that_reads_no_images_is_remembered():
    """Asking for the same again cannot succeed, nor is there anything to leave out a second time."""
    text = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
    found = adapted(500, text)
    assert (found.kind, dict(found.changes), found.lasting) == ("images", {"images": "reject"}, True)
    assert adapted(500, text, profile=Profile(images="reject")) is None


def test_each_kind_is_tried_once():
    """A second refusal of the same kind is the answer; one of another kind may still be met."""
    text = "System message must be at the beginning. reasoning_effort is wrong"
    first = adapted(400, text, messages=LATE_SYSTEM, reasoning_effort="low")
    second = adapted(400, text, messages=LATE_SYSTEM, reasoning_effort="low", tried=frozenset({first.kind}))
    assert (first.kind, second.kind) == ("system first", "thinking")
    assert adapted(400, text, messages=LATE_SYSTEM, tried=frozenset({"system first", "thinking"})) is None


def test_a_policy_is_final():
    """Whatever else its words may say."""
    text = "Your prompt was flagged by our safety system for reasoning extraction"
    assert adapted(400, text, reasoning_effort="low") is None


@pytest.mark.parametrize("failure", [GatewayTimeoutError, OverloadedError])
def test_only_refusals_are_asked_again(failure):
    """A backend that is down is not asked twice, whatever it says."""
    assert adapt(failure("System message must be first"), {"messages": LATE_SYSTEM}, Profile(), frozenset()) is None


def test_a_request_without_a_limit_has_none_to_lower():
    """Fields of the configuration may take it out."""
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
def test_an_optional_field_the_model_refuses_is_left_out_from_then_on(text, name):
    """OpenAI's reasoning models take no temperature; the answer does not need it."""
    found = adapted(400, text, **{name: 1})
    assert (found.kind, found.changes, found.lasting) == (f"field {name}", {"without": (name,)}, True)


@pytest.mark.parametrize("text", ["Unsupported value: 'messages'", "Unsupported parameter: 'top_p'", "no field at all"])
def test_a_refused_field_that_is_needed_or_was_not_sent_is_final(text):
    assert adapted(400, text, temperature=1) is None


def test_what_is_left_out_is_named_unless_it_is_a_hint():
    """The profile, configured or learned, says which."""
    asked = request(temperature=0.5, metadata={"user_id": "u"})
    done = translate_request(asked, TranslationContext(Profile(without=("temperature", "user"))))
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
