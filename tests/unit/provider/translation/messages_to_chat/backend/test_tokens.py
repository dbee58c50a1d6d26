"""Counting tokens: requests to tokenizers, their responses, and estimates."""

import pytest

from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.messages_to_chat import PRESETS, TranslationContext, translate_request
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import (
    COUNTING_METHODS,
    BlockSizes,
    Count,
    TokenizerUnavailable,
    counting_methods,
    estimate_json,
    estimate_tokens,
)
from support.streams import request

HI = [{"role": "user", "content": "Hi"}]
TOOLS = [{"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
COUNT, APPLY, TOKENIZE = "/v1/chat/completions/input_tokens", "/apply-template", "/tokenize"
VLLM = COUNTING_METHODS["vllm"][0]
LLAMA, LLAMA_OLDER = COUNTING_METHODS["llama_cpp"]


def fields(**more):
    return {"messages": HI, "max_tokens": 9} | more


def followed(method, *responses, model="m", **more):
    """Return the requests of a counting method that gets these responses, and its result."""
    steps, requests = method(fields(**more), model), []
    response = None
    for following in [*responses, None]:
        try:
            requests.append(steps.send(response))
        except StopIteration as end:
            return requests, end.value
        response = following
    raise AssertionError("the method sends more requests than expected")


def vllm_body(**more):
    requests, _ = followed(VLLM, {"count": 1}, **more)
    return requests[0].body


def is_exact(model="m", **more):
    return followed(VLLM, {"count": 1}, model=model, **more)[1].exact


def test_vllm_counts_messages_and_tools():
    """The response also has the id of each token, which is ignored."""
    response = {"count": 3, "max_model_len": 32768, "tokens": [7, 8, 9], "token_strs": None}
    requests, count = followed(VLLM, response, tools=TOOLS)
    assert [(req.path, req.body) for req in requests] == [("/tokenize", {"model": "m", "messages": HI, "tools": TOOLS})]
    assert count == Count(3, exact=True)


def test_vllm_gets_the_fields_its_tokenizer_supports():
    """The other fields do not change the prompt."""
    known = {
        "add_generation_prompt": False,
        "continue_final_message": True,
        "add_special_tokens": True,
        "chat_template": "{{ messages }}",
        "chat_template_kwargs": {"enable_thinking": False},
        "media_io_kwargs": {},
        "mm_processor_kwargs": {},
    }
    about_output = {"stream": True, "temperature": 0, "tool_choice": "auto", "response_format": {"type": "json_object"}}
    assert vllm_body(**known, **about_output) == {"model": "m", "messages": HI, **known}
    assert is_exact(**known, **about_output)


def test_vllm_gets_an_effort_as_a_template_argument():
    """The request's effort has precedence over that of the template arguments; the request is not changed."""
    kwargs = {"enable_thinking": True, "reasoning_effort": "low"}
    body = vllm_body(reasoning_effort="high", chat_template_kwargs=kwargs)
    assert body["chat_template_kwargs"] == {"enable_thinking": True, "reasoning_effort": "high"}
    assert vllm_body(reasoning_effort="high")["chat_template_kwargs"] == {"reasoning_effort": "high"}
    assert kwargs["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    ("exact", "more"),
    [
        (True, {"tools": TOOLS}),
        (True, {"tools": TOOLS, "tool_choice": "required"}),
        (True, {"tool_choice": "none"}),
        (False, {"tools": TOOLS, "tool_choice": "none"}),
        (False, {"reasoning_effort": "low"}),
        (False, {"documents": [{"text": "d"}]}),
        (False, {"truncate_prompt_tokens": 5}),
        (False, {"model": "openai/GPT-OSS-20b"}),
    ],
)
def test_vllm_is_exact_if_its_tokenizer_gets_every_field_of_the_prompt(exact, more):
    """The tokenizer's count is used in any case."""
    assert is_exact(**more) is exact


def test_a_prefill_is_counted_as_the_beginning_of_the_response():
    """The fields are those that the translated lane sends."""
    turns = [*HI, {"role": "assistant", "content": "Hello, I"}]
    sent = translate_request(request(messages=turns), TranslationContext(PRESETS["vllm"])).fields
    body = next(VLLM(sent, "m")).body
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert body["messages"][-1] == {"role": "assistant", "content": "Hello, I"}


def test_llama_cpp_gets_the_complete_request():
    """Each field may change the prompt, except those about the output."""
    about_prompt = {
        "tools": TOOLS,
        "tool_choice": "required",
        "chat_template_kwargs": {"enable_thinking": True},
        "thinking_budget_tokens": 99,
        "response_format": {"type": "json_object"},
    }
    about_output = {"max_completion_tokens": 9, "stream": True, "stream_options": {"include_usage": True}}
    response = {"input_tokens": 11, "object": "response.input_tokens"}
    requests, count = followed(LLAMA, response, **about_prompt, **about_output)
    assert [req.path for req in requests] == [f"{COUNT}?autoload=false"]
    assert requests[0].body == {"model": "m", "messages": HI, **about_prompt}
    assert count == Count(11, exact=True)


def test_an_older_llama_cpp_applies_the_template_first():
    """The prompt is tokenized as in a completion: with BOS, and with special tokens."""
    requests, count = followed(LLAMA_OLDER, {"prompt": "<|im_start|>"}, {"tokens": [1, 2]}, tools=TOOLS)
    assert [req.path for req in requests] == [f"{APPLY}?autoload=false", f"{TOKENIZE}?autoload=false"]
    assert requests[0].body == {"model": "m", "messages": HI, "tools": TOOLS}
    assert requests[1].body == {"model": "m", "content": "<|im_start|>", "add_special": True, "parse_special": True}
    assert count == Count(2, exact=True)


@pytest.mark.parametrize("method", [VLLM, LLAMA, LLAMA_OLDER])
@pytest.mark.parametrize("response", [None, [], "11", {}, {"count": "3"}, {"input_tokens": True}, {"prompt": None}])
def test_a_response_of_another_server_is_not_a_count(method, response):
    """Another server may have the same path."""
    with pytest.raises(TokenizerUnavailable) as caught:
        followed(method, response)
    assert caught.value.status is None


def test_a_tokenize_response_without_tokens_is_not_a_count():
    """The second response is checked, too."""
    with pytest.raises(TokenizerUnavailable, match="gave no answer"):
        followed(LLAMA_OLDER, {"prompt": "x"}, {"tokens": 3})


def test_the_error_names_the_status():
    assert str(TokenizerUnavailable(404)) == "the tokenizer answered 404"


@pytest.mark.parametrize("kind", [None, "", "sglang"])
def test_a_backend_without_a_tokenizer_has_no_counting_methods(kind):
    assert counting_methods(kind, fields()) == ()


@pytest.mark.parametrize("kind", COUNTING_METHODS)
def test_prompts_with_media_are_not_counted_by_a_tokenizer(kind):
    """In any message; parts with text are counted."""
    text = {"type": "text", "text": "x"}
    for role in ("user", "tool"):
        assert counting_methods(kind, {"messages": [*HI, {"role": role, "content": [text, IMAGE]}]}) == ()
        assert counting_methods(kind, {"messages": [*HI, {"role": role, "content": [text]}]}) == COUNTING_METHODS[kind]
    assert counting_methods(kind, {"messages": [{"role": "assistant", "content": None}]}) == COUNTING_METHODS[kind]


DATA = "A" * 100_000


def blocks(*values):
    message = {"role": "user", "content": [*values]}
    return (
        CreateMessageRequest.model_validate({"model": "m", "max_tokens": 1, "messages": [message]}).messages[0].content
    )


@pytest.mark.parametrize(
    ("text", "tokens"), [(None, 0), ("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("\u4e2d" * 4, 3)]
)
def test_a_token_is_four_bytes_of_text(text, tokens):
    assert BlockSizes().tokens(text) == tokens


def test_blocks_count_with_their_keys():
    block = blocks({"type": "text", "text": "x" * 400})
    assert 100 < BlockSizes().tokens(block) < 110
    assert BlockSizes().tokens(block[0]) == BlockSizes().tokens(block)


def test_media_count_as_the_tokens_of_an_image():
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": DATA}}
    assert BlockSizes().tokens(blocks(image)) == 1_500
    assert 1_500 < BlockSizes().tokens(blocks(pdf)) < 1_520
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}
    assert 1_500 < estimate_tokens({"messages": [{"role": "user", "content": [part]}]}) < 1_520


def test_signatures_are_not_counted():
    thinking = {"type": "thinking", "thinking": "hm", "signature": DATA}
    assert 1 < BlockSizes().tokens([CreateMessageRequest.model_validate({
        "model": "m", "max_tokens": 1, "messages": [{"role": "assistant", "content": [thinking]}],
    }).messages[0].content[0]]) < 12  # fmt: skip


def test_a_chat_request_counts_messages_tools_and_the_response_format():
    message, schema = {"role": "user", "content": "x" * 400}, {"type": ["string", "null"], "maxLength": 5}
    tool = {"type": "function", "function": {"name": "f", "description": "d" * 400, "parameters": schema}}
    alone = estimate_tokens({"messages": [message], "max_tokens": 10**9, "user": "u" * 400})
    assert 100 < alone < 110
    assert 210 < estimate_tokens({"messages": [message], "tools": [tool]}) < 240
    assert estimate_tokens({"messages": [message], "response_format": schema}) > alone
    assert estimate_tokens({}) == 0


@pytest.mark.parametrize(
    ("data", "tokens"),
    [
        (b'[{"role":"user","content":[{"type":"odd","text":"abcdefgh"}]}]', 4),
        (b'[{"type":"image","source":{"data":"' + b"x" * 90_000 + b'"}}]', 1_500),
        (b"no json", 2),
        (b"[" * 100_000, 25_000),
        (b"null", 0),
    ],
)
def test_an_unparsed_part_is_estimated_by_its_texts(data, tokens):
    """An image counts as an image; invalid JSON counts by its bytes."""
    assert estimate_json(data) == tokens
