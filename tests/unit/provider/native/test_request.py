"""The request to an upstream: which bytes change, and which do not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_stack_api_messages import RequestBody
from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.native.request import native_request, retry_max_tokens
from llama_stack_provider_messages.translation.messages_to_chat import SIGNATURE_PREFIX
from support.attacks import cpu_bound

BILLING = "x-anthropic-billing-header: cc=1; b=2"
OWN = {"type": "thinking", "thinking": "hm", "signature": SIGNATURE_PREFIX + "abc"}
OWN_REDACTED = {"type": "redacted_thinking", "data": SIGNATURE_PREFIX + "abc"}
OTHER = {"type": "thinking", "thinking": "hm", "signature": "EqQB"}
OTHER_REDACTED = {"type": "redacted_thinking", "data": "EqQB"}
TEXT = {"type": "text", "text": "hi \u00e9"}
MISPLACED = {**OTHER_REDACTED, "signature": OWN["signature"]}
ODD_BLOCKS = [{"type": "thinking"}, {"type": "thinking", "signature": None}, {"type": 5}, 1]
ODD_SYSTEM = [{"text": ""}, {"text": None}, {"x": BILLING}, 1, "x", None]


def body_of(data):
    data = data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode()
    return RequestBody(data, CreateMessageRequest)


def sent(data, model="theirs", strip_billing=False, strip_thinking="none", max_tokens=None):
    return native_request(
        body_of(data), model, strip_billing=strip_billing, strip_thinking=strip_thinking, max_tokens=max_tokens
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"ours","n":1.50}', b'{"model":"theirs","n":1.50}'),
        (b'\n{ "x" : [ ] , "model"\t: "ou\\u0072s" }\n', b'\n{ "x" : [ ] , "model"\t: "theirs" }\n'),
        (b'{"mod\\u0065l":"ours","x":{"model":"ours"}}', b'{"mod\\u0065l":"theirs","x":{"model":"ours"}}'),
        (b'{"x":"\\ud83d\xe2\x80\xa8","model":"ours"}', b'{"x":"\\ud83d\xe2\x80\xa8","model":"theirs"}'),
    ],
)
def test_only_the_value_of_the_model_changes(body, expected):
    """Order, white space, numbers and escapes are the client's."""
    assert sent(body).data == expected
    assert sent(body).dropped == ()


def test_a_model_of_the_same_name_is_not_replaced():
    """Whatever escapes the client used."""
    data = b'{"model":"\\u0074heirs" }'
    assert sent(data).data is data


def test_a_lowered_max_tokens_is_replaced_in_place_and_reported():
    result = sent(b'{"x":{"max_tokens":9}, "max_tokens" : 5000 ,"model":"theirs"}', max_tokens=70)
    assert result.data == b'{"x":{"max_tokens":9}, "max_tokens" : 70 ,"model":"theirs"}'
    reason = "lowered to 70, the rest of the context window"
    assert [(drop.path, drop.reason) for drop in result.dropped] == [("max_tokens", reason)]


def test_a_missing_max_tokens_is_not_added():
    data = b'{"model":"theirs"}'
    assert sent(data, max_tokens=70).data is data


ABOVE_WINDOW = "max_tokens=5000 cannot be greater than max_model_len=4096. Please request fewer output tokens."


@pytest.mark.parametrize(
    ("prompt", "room"), [(40, 3000), (3800, 256), (3841, None), (9000, None)], ids=["room", "little", "less", "none"]
)
def test_max_tokens_for_a_context_window_is_what_the_prompt_leaves(prompt, room):
    """If the prompt, by its estimate, leaves less than a 16th of the window, the client has to shorten it."""
    parts = {"system": "x" * 2 * prompt, "messages": [{"content": "x" * prompt}], "tools": [{"name": "x" * prompt}]}
    found = retry_max_tokens(ABOVE_WINDOW, body_of({"model": "m", "max_tokens": 5000, **parts}))
    assert found is None if room is None else room <= found < 4096


@pytest.mark.parametrize("limit", [b"4999", b"5000.0", b'"5000"', b"9" * 5000, b"null"])
def test_max_tokens_that_was_not_rejected_is_not_lowered(limit):
    assert retry_max_tokens(ABOVE_WINDOW, body_of(b'{"model":"m","max_tokens":%s}' % limit)) is None
    assert retry_max_tokens("no", body_of(b'{"model":"m","max_tokens":5000}')) is None
    assert retry_max_tokens(ABOVE_WINDOW, body_of(b'{"model":"m"}')) is None


@pytest.mark.parametrize("model", ['a"b', "\u4f60", "a\\b", "a\nb"])
def test_a_model_name_is_written_as_json(model):
    """The upstream reads the same name."""
    assert json.loads(sent({"model": "ours"}, model).data) == {"model": model}


def test_all_blocks_pass_if_nothing_is_to_be_stripped():
    """The billing block, and thinking blocks of any origin."""
    body = {"model": "theirs", "system": BILLING, "messages": [{"role": "assistant", "content": [OWN, OTHER]}]}
    assert json.loads(sent(body).data) == body


@pytest.mark.parametrize(
    ("system", "kept"),
    [
        (BILLING, ""),
        (f"{BILLING}\nBe \u00e9", "Be \u00e9"),
        (f" \n{BILLING}\n\nBe nice\n", "Be nice"),
        (f"Say {BILLING}", f"Say {BILLING}"),
        ([], []),
        ([{"type": "text", "text": BILLING}], []),
        ([{"type": "text", "text": BILLING, "cache_control": {}}, TEXT], [TEXT]),
        ([TEXT, {"type": "text", "text": BILLING}, TEXT], [TEXT, TEXT]),
        ([TEXT, {"type": "text", "text": BILLING}], [TEXT]),
        ([{"x": 1, "text": f"{BILLING}\nBe"}, TEXT], [{"x": 1, "text": "Be"}, TEXT]),
        ([{"text": BILLING}, {"text": f"{BILLING}\nBe"}, {"text": BILLING}], [{"text": "Be"}]),
        (ODD_SYSTEM, ODD_SYSTEM),
        ({"text": BILLING}, {"text": BILLING}),
        (None, None),
        (7, 7),
    ],
)  # fmt: skip
def test_the_billing_block_is_removed(system, kept):
    """From a string or from blocks, alone or at the beginning of one; a text that only mentions it stays."""
    body = {"model": "theirs", "system": system, "messages": [{"role": "user", "content": BILLING}]}
    assert json.loads(sent(body, strip_billing=True).data) == {**body, "system": kept}
    assert json.loads(sent(body).data) == body
    assert sent(body, strip_billing=True).dropped == ()


def test_a_billing_header_outside_of_the_system_prompt_stays():
    """The text may mention it."""
    data = b'{"model":"theirs","messages":"%s"}' % BILLING.encode()
    assert sent(data, strip_billing=True).data is data


def turns(*contents):
    return [{"role": "user", "content": "hi"}] + [{"role": "assistant", "content": content} for content in contents]


@pytest.mark.parametrize(
    ("strip", "content", "kept", "gone"),
    [
        ("own", [OWN, TEXT], [TEXT], [0]),
        ("own", [TEXT, OWN_REDACTED, TEXT, OWN], [TEXT, TEXT], [1, 3]),
        ("own", [OWN, OTHER, OTHER_REDACTED, TEXT, OWN], [OTHER, OTHER_REDACTED, TEXT], [0, 4]),
        ("own", [OTHER, TEXT], [OTHER, TEXT], []),
        ("own", [{**TEXT, "signature": OWN["signature"]}], [{**TEXT, "signature": OWN["signature"]}], []),
        ("own", [{**OTHER, "data": OWN["signature"]}, TEXT], [{**OTHER, "data": OWN["signature"]}, TEXT], []),
        ("own", [MISPLACED], [MISPLACED], []),
        ("own", [*ODD_BLOCKS, OWN], ODD_BLOCKS, [4]),
        ("all", [OWN, OTHER, OTHER_REDACTED, TEXT, OWN_REDACTED], [TEXT], [0, 1, 2, 4]),
        ("all", [{"type": "thinking"}, TEXT], [TEXT], [0]),
        ("all", [TEXT], [TEXT], []),
        ("all", "text", "text", []),
        ("all", [], [], []),
        ("all", None, None, []),
        ("none", [OWN, OTHER], [OWN, OTHER], []),
    ],
)  # fmt: skip
def test_thinking_blocks_are_removed(strip, content, kept, gone):
    """Those with signatures of this server, or all; the paths of removed blocks are reported."""
    body = {"model": "theirs", "messages": turns(content, "more")}
    result = sent(body, strip_thinking=strip)
    assert json.loads(result.data) == {"model": "theirs", "messages": turns(kept, "more")}
    assert [drop.path for drop in result.dropped] == [f"messages.1.content.{place}" for place in gone]
    assert {drop.feature for drop in result.dropped} <= {"thinking"}
    reason = "its signature was made here" if strip == "own" else "the upstream did not accept a signature"
    assert all(drop.reason == reason for drop in result.dropped)


@pytest.mark.parametrize(
    ("contents", "kept"),
    [
        ([[OWN]], []),
        ([[OWN], [TEXT]], [[TEXT]]),
        ([[TEXT], [OWN, OWN]], [[TEXT]]),
        ([[OWN], [TEXT, OWN], [OWN]], [[TEXT]]),
    ],
)
def test_a_message_left_empty_is_removed(contents, kept):
    """Upstreams reject messages without content."""
    result = sent({"model": "theirs", "messages": turns(*contents)}, strip_thinking="own")
    assert json.loads(result.data)["messages"] == turns(*kept)
    assert len(result.dropped) == sum(content.count(OWN) for content in contents)


def test_invalid_messages_pass_unchanged():
    """The upstream rejects them."""
    for messages in (None, 7, "x", {}, [1, None, "x", [], {}, {"content": {"type": "thinking"}}]):
        body = {"model": "theirs", "messages": messages, "x": OWN}
        assert json.loads(sent(body, strip_thinking="all").data) == body
        assert json.loads(sent(body, strip_thinking="own").data) == body


def test_a_request_without_messages_passes():
    """The upstream rejects it."""
    data = b'{"model":"theirs"}'
    assert sent(data, strip_thinking="all").data is data


@given(st.lists(st.lists(st.sampled_from([OWN, OTHER, TEXT, OWN_REDACTED]), max_size=4), max_size=4), st.booleans())
def test_all_changes_are_made_in_one_body(contents, spread):
    """Model, billing block and thinking blocks, with any white space."""
    system = [{"type": "text", "text": BILLING}, TEXT]
    body = {"messages": turns(*contents), "model": "ours", "system": system, "x": [1.5]}
    data = json.dumps(body, ensure_ascii=False, indent=1 if spread else None).encode()
    kept = [[block for block in content if block not in (OWN, OWN_REDACTED)] for content in contents]
    left = [now for now, before in zip(kept, contents, strict=True) if now or not before]
    result = sent(data, strip_billing=True, strip_thinking="own")
    assert json.loads(result.data) == {"messages": turns(*left), "model": "theirs", "system": [TEXT], "x": [1.5]}
    assert len(result.dropped) == sum(map(len, contents)) - sum(map(len, kept))


@pytest.mark.parametrize("strip", ["own", "all"])
def test_thinking_is_removed_from_a_body_with_a_lone_surrogate(strip):
    """A tool result that was cut inside of an emoji, somewhere in a long history."""
    cut = b'{"role":"user","content":[{"type":"text","text":"cut \\ud83d"}]}'
    thought = json.dumps({"role": "assistant", "content": [OWN, TEXT]}).encode()
    data = b'{"model":"theirs","messages":[%s,%s]}' % (cut, thought)
    kept = b'{"model":"theirs","messages":[%s,%s]}' % (
        cut,
        json.dumps({"role": "assistant", "content": [TEXT]}).encode(),
    )
    assert json.loads(sent(data, strip_thinking=strip).data) == json.loads(kept)


def test_the_billing_block_is_removed_from_a_body_with_a_lone_surrogate():
    """The surrogate is in another block of the system prompt."""
    data = b'{"model":"theirs","system":[{"text":"%s"},{"text":"cut \\ud83d"}]}' % BILLING.encode()
    assert json.loads(sent(data, strip_billing=True).data)["system"] == [{"text": "cut \ud83d"}]


@pytest.mark.parametrize("bad", [b"\n", b"\x01", b"\xff"])
def test_invalid_json_is_not_a_failure_of_this_server(bad):
    """It is passed on for the upstream to reject, or rejected here with a 400."""
    for system in (b'"%s%s"', b'[{"text":"%s%s"}]'):
        data = b'{"model":"theirs","system":' + system % (BILLING.encode(), bad) + b"}"
        try:
            sent(data, strip_billing=True)
        except InvalidRequestError:
            continue


def test_a_block_with_too_many_fields_is_refused_where_thinking_is_taken_out():
    """It counted as one without a type, so that its signature reached the upstream."""
    block = b'{"x":1,' + b'"x":2,' * 2_000 + json.dumps(OWN).encode()[1:]
    data = b'{"model":"ours","messages":[{"role":"assistant","content":[' + block + b"]}]}"
    with pytest.raises(InvalidRequestError, match=r"^messages\.0\.content\.0: the object has more than 2000 fields; "):
        sent(data, strip_thinking="own")


@pytest.mark.parametrize("strip", ["own", "all"])
@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "content": [OWN] * 40_000}],
        [{"role": "assistant", "content": [OWN]}] * 40_000,
        [{"role": "assistant", "content": [OWN] * 10}] * 4_000,
    ],
    ids=["blocks", "messages", "both"],
)
def test_too_many_thinking_blocks_are_rejected(messages, strip):
    """Each is searched on its own: 100 000 of them held the server for 5 s."""
    body = body_of({"model": "ours", "messages": messages})
    with (
        cpu_bound(2),
        pytest.raises(InvalidRequestError, match=r"^messages\.\d+.* more than 10000 "),
    ):
        native_request(body, "theirs", strip_billing=False, strip_thinking=strip)


def test_many_blocks_without_thinking_are_not_parsed():
    """Beside one that is removed; 160 000 of them once held the server for 5 s."""
    body = body_of({"model": "ours", "messages": [{"role": "assistant", "content": [OWN] + [TEXT] * 45_000}]})
    with cpu_bound(2):
        sent = native_request(body, "x", strip_billing=False, strip_thinking="own")
    assert SIGNATURE_PREFIX.encode() not in sent.data


def test_too_many_billing_blocks_are_rejected():
    body = body_of({"model": "ours", "messages": [], "system": [{"type": "text", "text": BILLING}] * 40_000})
    with cpu_bound(2), pytest.raises(InvalidRequestError, match=r"^system\.10000: more than 10000 "):
        native_request(body, "theirs", strip_billing=True, strip_thinking="none")
