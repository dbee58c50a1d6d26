"""Tapes as readable text."""

import json

import pytest

from messages_tape import dump
from messages_tape.cli.main import main
from messages_tape.format.model import Body, Ignore, Upstream
from messages_tape.reading.render import render
from messages_tape.reading.responses import FoldedReply, fold_chat, folded_reply
from support.tapes import events, exchange, reply, response, tape

NDJSON = {"content-type": "application/x-ndjson"}


def chunk(delta=None, *, index=0, reason=None, **fields):
    """Return a chunk of a chat completions stream."""
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": reason}]
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": choices, **fields}


def call(index, **fields):
    return {"tool_calls": [{"index": index, **fields}]}


def test_a_chat_stream_is_folded_into_a_completion():
    """Texts, reasoning, tool calls in parts, usage at the end."""
    chunks = [
        chunk({"role": "assistant", "content": None}),
        chunk({"reasoning_content": "th"}),
        chunk({"reasoning_content": "ink"}),
        chunk({"content": "He"}),
        chunk({"content": "llo", "role": "assistant"}),
        chunk(call(0, id="a", type="function", function={"name": "f", "arguments": ""})),
        chunk(call(0, function={"arguments": '{"x"'})),
        chunk(call(1, id="b", type="function", function={"name": "g", "arguments": "{}"})),
        chunk(call(0, function={"arguments": ": 1}"})),
        chunk({}, reason="tool_calls"),
        chunk(usage={"total_tokens": 3}),
    ]
    assert fold_chat(chunks) == {
        "id": "c1",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello",
                    "reasoning_content": "think",
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
                        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                    ],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"total_tokens": 3},
    }


def test_choices_are_folded_separately():
    chunks = [chunk({"content": "a"}, index=0), chunk({"content": "x"}, index=1), chunk({"content": "b"}, index=0)]
    assert [one["message"]["content"] for one in fold_chat(chunks)["choices"]] == ["ab", "x"]


def test_list_items_without_an_index_are_appended():
    chunks = [chunk({"content": "a"}), chunk({"content": "b"})]
    for one, token in zip(chunks, "ab", strict=True):
        one["choices"][0]["logprobs"] = {"content": [{"token": token}]}
    assert fold_chat(chunks)["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


@pytest.mark.parametrize(
    ("pieces", "field", "expected"),
    [
        (["f", "f"], "name", "f"),
        (["f", ""], "name", "f"),
        ([1, 2], "score", 2),
        (["a", None], "content", "a"),
        (["a", ["b"]], "content", ["b"]),
        (["a", {"b": 1}], "content", {"b": 1}),
    ],
)
def test_repeated_fields_and_changed_types(pieces, field, expected):
    """Names and the like are sent whole, by some servers in each chunk; if the type changes, the last value counts."""
    folded = fold_chat([chunk({field: piece}) for piece in pieces])
    assert folded["choices"][0]["message"][field] == expected


def test_a_completions_stream_without_deltas_and_an_error_in_it():
    """``/v1/completions`` has texts in its choices."""
    folded = fold_chat([{"choices": [{"index": 0, "text": "a"}]}, {"choices": [{"text": "b"}]}, {"error": {"code": 1}}])
    assert folded == {"choices": [{"index": 0, "text": "ab"}], "error": {"code": 1}}


def test_invalid_tool_calls_are_not_changed():
    assert fold_chat([chunk({"tool_calls": "x"})])["choices"][0]["message"] == {"tool_calls": "x"}


MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [],
    "model": "m",
    "usage": {"input_tokens": 1},
}
START = {"type": "message_start", "message": MESSAGE}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
TEXT = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
STOP = {"type": "content_block_stop", "index": 0}
DELTA = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
END = {"type": "message_stop"}


@pytest.mark.parametrize(
    ("last", "text", "more"),
    [
        ([TEXT, STOP, DELTA, END], "Hi", {"stop_reason": "end_turn"}),
        ([TEXT, STOP], "Hi", {}),
        ([TEXT], "Hi", {}),
        ([], "", {}),
        ([TEXT, {"type": "error", "error": {"message": "no"}}], "Hi", {"error": {"message": "no"}}),
    ],
)
def test_a_truncated_messages_stream_is_folded(last, text, more):
    found = folded_reply(response(*events(START, BLOCK, *last)))
    assert found.folded
    assert found.value["content"] == [{"type": "text", "text": text}]
    assert found.value.items() >= more.items()


def test_a_responses_stream_contains_the_whole_response():
    whole = {"type": "response.completed", "response": {"id": "r"}}
    assert folded_reply(response(*events({"type": "response.created"}, whole))) == FoldedReply({"id": "r"}, folded=True)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply({"a": 1}), FoldedReply({"a": 1})),
        (response("plain text", headers={}), FoldedReply("plain text")),
        (response(b"\xff", headers={}), None),
        (response(*events({"type": "odd"})), None),
        (response(*events("[DONE]")), None),
        (response(*events(START, TEXT)), None),
        (response(*events(START, {"type": "content_block_start"})), None),
        (response('{"done": true}\n', headers=NDJSON), None),
    ],
    ids=["json", "text", "bytes", "unknown events", "no event", "bad grammar", "bad event", "lines"],
)
def test_other_responses_are_shown_as_they_are_or_in_chunks(answer, expected):
    assert folded_reply(answer) == expected


def test_the_rendering_of_a_tape():
    """The complete text: requests, folded streams, ends, and ignored parts."""
    shown = render(
        tape(
            exchange({"a": 1, "b": "x\ny"}, response(*events(START, BLOCK, TEXT, STOP, END)), query="beta=true"),
            exchange({}, reply([1], status=400), how="complete"),
            exchange(Body("text", "t"), response("one", headers={}), how="client_closed"),
            exchange(Body("base64", b"\xff"), how="reset", error="ConnectError"),
            upstream=Upstream(kind="vllm", model="m", version="1", date="2026-11-20"),
            ignore=Ignore(query=("v",), body=("a.b",)),
            ambient=(exchange(None, reply({}), method="GET", path="/v1/models"),),
        ),
        "hello",
    )
    assert shown == (
        "hello: 4 exchanges, vllm, model m, 1, recorded 2026-11-20\n"
        "ignored: query v, body a.b\n"
        "\n"
        "[1] POST /v1/messages?beta=true\n"
        "    a: 1\n"
        "    b: |-\n"
        "      x\n"
        "      y\n"
        "\n"
        "    -> 200 text/event-stream, after 0 s, 5 chunks in 0 s, complete\n"
        "    folded:\n"
        "      id: msg_1\n"
        "      type: message\n"
        "      role: assistant\n"
        "      content:\n"
        "      - type: text\n"
        "        text: Hi\n"
        "      model: m\n"
        "      usage:\n"
        "        input_tokens: 1\n"
        "\n"
        "[2] POST /v1/messages\n"
        "    body: {}\n"
        "\n"
        "    -> 400 application/json, after 0 s, 1 chunk in 0 s, complete\n"
        "    body: [1]\n"
        "\n"
        "[3] POST /v1/messages\n"
        "    body: t\n"
        "\n"
        "    -> 200, after 0 s, 1 chunk in 0 s, the client disconnected after 0 s more\n"
        "    body: one\n"
        "\n"
        "[4] POST /v1/messages\n"
        "    1 byte, not text\n"
        "\n"
        "    -> the connection failed after 0 s more: ConnectError\n"
        "\n"
        "[ambient] GET /v1/models\n"
        "\n"
        "    -> 200 application/json, after 0 s, 1 chunk in 0 s, complete\n"
        "    body: {}\n"
    )


def test_raw_chunks_and_one_exchange():
    one = exchange({"a": 1}, reply("one"))
    two = exchange({"a": 2}, response("x\n", b"\xff", seconds=0.5))
    assert render(tape(one, two), "hello", raw=True, only=2) == (
        "[2] POST /v1/messages\n"
        "    a: 2\n"
        "\n"
        "    -> 200 text/event-stream, after 0 s, 2 chunks in 1 s, complete\n"
        "    chunks:\n"
        '    - [0.5, "x\\n"]\n'
        '    - [0.5, {base64: "/w=="}]\n'
    )


def test_terminal_escapes_on_a_tape_are_escaped():
    """In names, texts and chunks."""
    evil = "\x1b[2J"
    shown = tape(exchange({"a": evil}, reply({evil: evil}), path=f"/{evil}"), upstream=Upstream(kind=evil))
    for raw in (False, True):
        assert "\x1b" not in render(shown, "hello", raw=raw)


def test_show_escapes_characters_that_the_encoding_lacks(tmp_path, monkeypatch, capsysbinary):
    path = tmp_path / "hello.tape.yaml"
    path.write_text(dump(tape(exchange({"a": "\xe4\u4f60"}, reply("hi")))), encoding="utf-8")
    assert main(["show", str(path), "--exchange", "1"]) == 0
    assert json.dumps("\xe4\u4f60", ensure_ascii=False).encode() in capsysbinary.readouterr().out
    monkeypatch.setattr("sys.stdout", AsciiStdout())
    assert main(["show", str(tmp_path / "hello")]) == 0
    assert 'a: "\\xe4\\u4f60"' in AsciiStdout.text


class AsciiStdout:
    """A standard output that accepts ASCII only."""

    encoding = "ascii"
    text = ""

    def write(self, text):
        text.encode("ascii")
        AsciiStdout.text += text

    def flush(self):
        pass
