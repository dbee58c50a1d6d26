"""``cache_control`` of the client becomes cache breakpoints of the backend."""

import json

import pytest

from llama_stack_provider_messages.translation.messages_to_chat import Profile, TranslationContext, translate_request
from support.streams import request

CACHING = Profile(cache_breakpoints=True)
MARK = {"cache_control": {"type": "ephemeral"}}
POINT = {"mode": "explicit"}


def text(words, **more):
    return {"type": "text", "text": words, **more}


def chat(*messages, profile=CACHING, **fields):
    turns = [{"role": role, "content": content} for role, content in messages]
    return translate_request(request(messages=turns, **fields), TranslationContext(profile)).fields["messages"]


def points(messages):
    return [
        part["text"]
        for message in messages
        for part in (message["content"] if isinstance(message["content"], list) else [])
        if "prompt_cache_breakpoint" in part
    ]


@pytest.mark.parametrize(("ttl", "sent"), [(None, {}), ("5m", {}), ("1h", {"ttl": "12h"}), ("2h", {})])
def test_a_marker_keeps_at_least_its_lifetime(ttl, sent):
    """Five minutes are below the default of the backend, an hour is above."""
    ((message,)) = chat(("user", [text("a", cache_control={"type": "ephemeral", "ttl": ttl})]))
    assert message["content"] == [text("a", prompt_cache_breakpoint=POINT | sent)]


def test_other_backends_get_no_breakpoint():
    """Other backends get neither cache breakpoints nor lists in place of strings."""
    assert chat(("user", [text("a", **MARK)]), profile=Profile()) == [{"role": "user", "content": "a"}]


def conversation(marked):
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}, **MARK}
    turns = [
        ("user", [text("q")]),
        ("assistant", [text("t"), use]),
        ("user", [{"type": "tool_result", "tool_use_id": "a", "content": "r"}]),
        ("assistant", [text("u")]),
        ("user", [text("v"), text("w")]),
    ]
    return [
        (role, [block | MARK if index == marked and block is blocks[-1] else block for block in blocks])
        for index, (role, blocks) in enumerate(turns)
    ]


@pytest.mark.parametrize("marked", [0, 2, 4])
def test_a_moved_breakpoint_leaves_the_prompt_unchanged(marked):
    """Content is a list of parts, marked or not, so that the prefix stays the same."""
    plain = chat(*conversation(None))
    messages = chat(*conversation(marked))
    assert points(messages) == [{0: "q", 2: "r", 4: "w"}[marked]]
    bare = json.loads(json.dumps(messages).replace(', "prompt_cache_breakpoint": {"mode": "explicit"}', ""))
    assert bare == plain


def test_a_string_is_the_same_as_its_block():
    """Claude Code sends the list while it carries the marker, a string afterwards."""
    assert chat(("user", "a"), system="s") == chat(("user", [text("a")]), system=[text("s")])
    assert chat(("user", "a"), system="s")[0] == {"role": "system", "content": [text("s")]}


def test_markers_of_the_system_prompt_stay_on_their_blocks():
    """The billing header before them is still left out."""
    system = [text("x-anthropic-billing-header: a;"), text("b", **MARK), text("c")]
    messages = chat(("user", "d"), system=system)
    assert messages[0]["content"] == [text("b", prompt_cache_breakpoint=POINT), text("c")]


def test_a_marker_inside_a_result_is_its_own():
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [text("r", **MARK), text("s")]}
    tool = chat(("user", "q"), ("assistant", [use]), ("user", [result]))[-1]
    assert tool["content"] == [text("r\ns", prompt_cache_breakpoint=POINT)]


def test_an_empty_result_stays_an_empty_string():
    """Backends refuse empty parts."""
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", **MARK}
    assert chat(("user", "q"), ("assistant", [use]), ("user", [result]))[-1]["content"] == ""


def test_only_the_four_newest_are_kept():
    """The limit of the backend."""
    messages = [(role, [text(role[0] + str(n), **MARK)]) for n in range(6) for role in ("user", "assistant")]
    assert points(chat(*messages, ("user", "z"))) == ["u2", "u3", "u4", "u5"]


def test_a_marker_of_the_whole_request_ends_the_prompt():
    assert points(chat(("user", "a"), ("assistant", "b"), ("user", "c"), **MARK)) == ["c"]
    assert points(chat(("assistant", "a"), **MARK)) == []
