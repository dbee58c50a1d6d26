"""The native lane passes requests and responses on byte for byte, except for the model name.

``@`` is the placeholder for the model name in a template: ``up/m1`` for the client, ``m1`` for the upstream.
"""

import asyncio
import gzip
import json
from itertools import accumulate

import anthropic
import pytest

from support.native_upstream import Reply, assert_same, message, post, request_body, text_frames
from support.scripted_upstream import Answer, framed, responds, silent, streamed

pytestmark = pytest.mark.integration

FIELDS = b'"max_tokens":9,"messages":[{"role":"user","content":"Hi"}]'
ODD_TEXT = "\u2028 \u2029 \u0085 \u00e9 \U0001f600 \u007f \ufeff".encode()
NUMBERS = b"[1.0,1e2,1E+2,12345678901234567890,-0,-0.0,0.10,1e-7,123456789.123456789,100000000000000000000000]"
ESCAPES = rb'"\u00e9\ud83d\ude00\/\b\f\n\r\t\u0000\u2028\\\"\\\\\""'
MEGABYTE_BYTES = 1024 * 1024
LOOKALIKE = rb'"{\"model\":\"no\"} }{][ \\\",\"model\":\"no\" model \"model\": \\"'

REQUESTS = {
    "model_first": b'{"model":"@",' + FIELDS + b"}",
    "model_last": b"{" + FIELDS + b',"model":"@"}',
    "model_in_the_middle": b'{"max_tokens":9,"model":"@","messages":[{"content":"Hi","role":"user"}]}',
    "weird_whitespace": b' \r\n\t{\n"model"\t\r\n:\n\n  "@" ,'
    + FIELDS.replace(b":", b"  :\t")
    + b' , "x":{ }\r\n}\n\n ',
    "numbers": b"{" + FIELDS + b',"temperature":1.0,"x":' + NUMBERS + b',"model":"@"}',
    "escapes": b'{"x":' + ESCAPES + b',"model":"@",' + FIELDS + b"}",
    "raw_unicode": b'{"system":"' + ODD_TEXT + b'","model":"@",' + FIELDS + b"}",
    "odd_keys": b'{"":{"":1},"\\u0078":2,"x.y":3,"' + ODD_TEXT + b'":4,"model":"@",' + FIELDS + b"}",
    "the_same_key_twice": b'{"x":12,"x":[1],"model":"@",' + FIELDS + b',"x":{},"x":1}',
    "nested_model_keys": b'{"x":{"model":"a","model":"b","Model":[{"model":null}]},"model":"@",' + FIELDS + b"}",
    "nested_model_keys_after_the_model": b'{"model":"@",'
    + FIELDS
    + b',"fallbacks":[{"model":"no"}],"metadata":{"model":"no"}}',
    "text_that_looks_like_a_member": b'{"system":' + LOOKALIKE + b',"model":"@",' + FIELDS + b"}",
    "deep": b'{"x":' + b'[{"model":' * 40 + b'"no"' + b"}]" * 40 + b',"model":"@",' + FIELDS + b"}",
    "unknown_blocks": b'{"model":"@","max_tokens":9,"messages":[{"role":"user","content":['
    b'{"type":"hologram","model":"no","beam":{"w":1.50}},{"text":"Hi","type":"text","future":[]}],"mood":"calm"}],'
    b'"betas":["x"],"speed":"warp","thinking":{"type":"someday","depth":1e1}}',
    "server_tools_and_citations": b'{"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":2.0},'
    b'{"type":"code_execution_20250825","name":"code_execution"},{"type":"tool_from_2031","name":"x","model":"no"}],'
    b'"container":{"id":"c1","skills":[]},"mcp_servers":[{"type":"url","url":"https://x.test","name":"x"}],'
    b'"max_tokens":9,"model":"@","messages":[{"role":"user","content":[{"type":"document","citations":{"enabled":true},'
    b'"source":{"type":"text","media_type":"text/plain","data":"abc"}}]},{"role":"assistant","content":['
    b'{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"q","model":"no"}},'
    b'{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","title":"t",'
    b'"url":"https://x.test","encrypted_content":"abc","page_age":null}]},{"type":"text","text":"so","citations":[]}]},'
    b'{"role":"user","content":"Hi"}]}',
    "one_megabyte": b'{"model":"@","max_tokens":9,"messages":[{"role":"user","content":"'
    + rb"\"model\": " * (MEGABYTE_BYTES // 11)
    + b'"}]}',
}


def named(template: bytes, model: str) -> bytes:
    return template.replace(b"@", model.encode())


SHORT = b'{"type":"message","content":[],"model":"@"}'


async def exchange_bytes(relay, request=b'{"model":"@",' + FIELDS + b"}", reply=SHORT):
    """Send a request template, check it at the upstream, and return the response and the client's model name."""
    model = relay.upstream.play(silent)
    relay.upstream.play(responds(named(reply, model)), model)
    response = await post(relay.url, named(request, f"up/{model}"))
    (exchange,) = relay.upstream.of(model)
    assert_same(exchange.body, named(request, model))
    assert exchange.headers["content-length"] == str(len(exchange.body))
    return response, f"up/{model}"


@pytest.mark.parametrize("name", REQUESTS)
async def test_the_upstream_sees_the_bytes_of_the_client(relay, name):
    """Key order, number formats, whitespace, escapes and unknown fields are unchanged; only the model name differs."""
    reply, model = await exchange_bytes(relay, REQUESTS[name])
    assert reply.status == 200, reply.body
    assert reply.headers["x-messages-lane"].startswith("native; reason=")
    assert_same(reply.body, named(SHORT, model))


@pytest.mark.parametrize("level", [1, 9])
async def test_a_compressed_request_arrives_decompressed(relay, level):
    """The upstream gets the decompressed bytes and no content-encoding header."""
    model = relay.upstream.play(responds(json.dumps(message("m")).encode()))
    body = named(REQUESTS["server_tools_and_citations"], f"up/{model}")
    reply = await post(relay.url, gzip.compress(body, level), [("content-encoding", "gzip")])
    assert reply.status == 200, reply.body
    (exchange,) = relay.upstream.of(model)
    assert_same(exchange.body, named(REQUESTS["server_tools_and_citations"], model))
    assert "content-encoding" not in exchange.headers


@pytest.mark.parametrize(
    ("path", "query"), [("/v1/messages", "?beta=true"), ("/anthropic/v1/messages", "?a=b%20c&x=%2F&beta=true&a=")]
)
async def test_the_query_string_is_passed_on(relay, path, query):
    """Unchanged; the path is that of the upstream."""
    model = relay.upstream.play(responds(json.dumps(message("m")).encode()))
    assert (await post(relay.url, request_body(f"up/{model}"), path=path + query)).status == 200
    (exchange,) = relay.upstream.of(model)
    assert exchange.target == f"/up/v1/messages{query}"


@pytest.mark.parametrize(
    "keys",
    [
        (b'"model"', b'"model"'),
        (b'"model"', b'"Model"'),
        (b'"MODEL"', b'"model"'),
        (b'"model"', rb'"mod\u0065l"'),
        (rb'"\u006dodel"', b'"model"'),
        (rb'"\u006Dodel"', b'"model"'),
        (b'"model"', rb'"\u004dodel"'),
    ],
)
async def test_two_model_fields_are_rejected(relay, keys):
    """Parsers differ in which one they use, so access rules could be checked for the wrong one."""
    model = relay.upstream.play(responds(json.dumps(message("m")).encode()))
    request = len(relay.upstream.exchanges)
    body = b'{%s:"up/%s",%s,%s:"up/%s"}' % (keys[0], model.encode(), FIELDS, keys[1], model.encode())
    reply = await post(relay.url, body)
    assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")
    assert "model" in reply.json["error"]["message"]
    assert len(relay.upstream.exchanges) == request


@pytest.mark.parametrize("name", ['odd "name"', "back\\slash", "\u00e9t\u00e9", "a/b/c", "\U0001f600"])
async def test_an_odd_model_name_is_encoded_as_json(relay, name):
    """Quotes, backslashes, slashes and other alphabets, escaped or not: client and upstream read their own name."""
    script = responds(json.dumps(message(name)).encode())
    relay.upstream.play(script, name)
    for escaped in (True, False):
        body = json.dumps(json.loads(request_body(f"up/{name}")), ensure_ascii=escaped).encode()
        reply = await post(relay.url, body)
        assert (reply.status, reply.json["model"]) == (200, f"up/{name}")
    assert [exchange.json["model"] for exchange in relay.upstream.of(name)] == [name] * 2


async def test_an_escaped_model_name_is_decoded(relay):
    """JSON may escape a slash with a backslash and a letter by its code."""
    model = relay.upstream.play(responds(json.dumps(message("m")).encode()))
    body = b'{"model":"\\u0075p\\/%s",%s}' % (model.encode(), FIELDS)
    reply = await post(relay.url, body)
    assert (reply.status, reply.json["model"]) == (200, f"up/{model}")
    (exchange,) = relay.upstream.of(model)
    assert_same(exchange.body, b'{"model":"%s",%s}' % (model.encode(), FIELDS))


MESSAGES = {
    "plain": json.dumps(message("@")).encode(),
    "pretty": json.dumps(message("@"), indent=4).replace("\n", "\r\n").encode() + b"\r\n\r\n",
    "model_last": b'{"type":"message","content":[{"type":"text","text":"a"}],"model":"@"}',
    "model_first": b'  {"model" : "@" ,"type":"message","content":[ ]}  ',
    "no_model": b'{"type":"message","role":"assistant","content":[]}',
    "numbers": b'{"type":"message","content":[],"usage":{"input_tokens":1.0,"x":' + NUMBERS + b'},"model":"@"}',
    "escapes": b'{"type":"message","content":[{"type":"text","text":' + ESCAPES + b'}],"model":"@"}',
    "the_same_key_twice": b'{"x":12,"type":"message","x":[1],"model":"@","content":[],"x":{},"x":1}',
    "half_a_surrogate": b'{"type":"message","content":[{"type":"text","text":"\\ud83d"}],"model":"@"}',
    "raw_unicode": b'{"type":"message","content":[{"type":"text","text":"' + ODD_TEXT + b'"}],"model":"@"}',
    "text_that_looks_like_a_member": b'{"type":"message","content":[{"text":' + LOOKALIKE + b'}],"model":"@"}',
    "nested_model_keys": b'{"type":"message","content":[{"type":"tool_use","id":"t","name":"n","input":{"model":"no",'
    b'"model":"no"}}],"usage":{"iterations":[{"model":"no"}]},"model":"@","x":{"model":"no"}}',
    "container_and_stop_details": b'{"id":"msg_1","type":"message","model":"@","container":{"id":"c","expires_at":"x"},'
    b'"stop_reason":"refusal","stop_details":{"type":"refusal","category":null},"future":{},'
    b'"content":[{"type":"hologram","beam":1},{"type":"server_tool_use","id":"s","name":"web_search","input":{}},'
    b'{"type":"web_search_tool_result","tool_use_id":"s","content":[]},{"type":"text","text":"a","citations":['
    b'{"type":"char_location","cited_text":"a","document_index":0}]}],"context_management":{"applied_edits":[]}}',
    "one_megabyte": b'{"type":"message","content":[{"type":"text","text":"'
    + b"x" * MEGABYTE_BYTES
    + b'"}],"model":"@"}',
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_the_client_sees_the_bytes_of_a_message(relay, name):
    """All of them, except for the top-level model name."""
    reply, model = await exchange_bytes(relay, reply=MESSAGES[name])
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert_same(reply.body, named(MESSAGES[name], model))


@pytest.mark.parametrize("own_name", [b'"another-name"', rb'"\u006d\"\\1"', b'""'])
async def test_any_model_name_of_the_upstream_is_replaced(relay, own_name):
    """Whatever it is and however it is escaped."""
    template = b'{"type":"message","model":%s,"content":[]}'
    model = relay.upstream.play(responds(template % own_name))
    reply = await post(relay.url, request_body(f"up/{model}"))
    assert_same(reply.body, template % b'"up/%s"' % model.encode())


def data(event: bytes, name: bytes = b"", end: bytes = b"\n") -> bytes:
    return (b"event: %s%s" % (name, end) if name else b"") + b"data: %s%s%s" % (event, end, end)


def started(extra: bytes = b"") -> bytes:
    return b'{"type":"message_start","message":{"id":"m","type":"message","content":[],%s"model":"@"}}' % extra


def named_start(event: bytes) -> bytes:
    return data(event, b"message_start")


STOP = data(b'{"type":"message_stop"}', b"message_stop")
ENDING = data(b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{}}', b"message_delta") + STOP
START = named_start(started())
PLAIN = text_frames("@", "Hello", " \u00e9\U0001f600 there")
SMALL = b"".join([START.replace(b'"id":"m",', b""), data(b'{"type":"x","t":"\xc3\xa9"}', b"x"), ENDING])


def delta(text: bytes) -> bytes:
    event = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}' % text
    return data(event, b"content_block_delta")


STREAMS = {
    "plain": PLAIN,
    "in_one_piece": [b"".join(PLAIN)],
    "crlf": [part.replace(b"\n", b"\r\n") for part in PLAIN],
    "cr": [part.replace(b"\n", b"\r") for part in PLAIN],
    "byte_order_mark": [b"\xef\xbb\xbf" + PLAIN[0], *PLAIN[1:]],
    "comments": [b": hello\n\n:\n", START, b": keep-alive\n\n", b"event: x\n: inside\ndata: {}\n\n", ENDING],
    "ids_and_retry": [b"retry: 100\n\n", b"id: 7\n" + START, b"id\n" + ENDING],
    "without_names": [data(started()), data(b'{"type":"message_delta","delta":{}}'), data(b'{"type":"message_stop"}')],
    "without_spaces": [START.replace(b": ", b":"), ENDING.replace(b": ", b":")],
    "data_before_the_name": [b"data: " + started() + b"\nevent: message_start\n\n", ENDING],
    "data_on_several_lines": [START, b'event: x\ndata: {"type":\ndata\ndata: "x"}\n\n', ENDING],
    "bytes_that_are_not_utf8": [START, delta(b"\xff\xc3 \x00"), ENDING],
    "another_model_before": [data(b'{"type":"from_2031","message":{"model":"no"}}', b"from_2031"), START, ENDING],
    "unknown_events_and_pings": [
        data(b'{"type":"ping"}', b"ping"),
        START,
        data(b'{"type":"from_2031","message":{"model":"no"},"model":"no"}', b"from_2031"),
        data(b'{"type": "ping"}', b"ping"),
        ENDING,
    ],
    "type_after_the_message": [
        named_start(b'{"message":{"x":{"model":"no"},"model":"@","y":[{"model":"no"}]},"type":"message_start"}'),
        ENDING,
    ],
    "model_beside_the_message": [
        named_start(b'{"model":"no","type":"message_start","message":{"content":[{"model":"no"}],"model":"@"}}'),
        ENDING,
    ],
    "no_model": [named_start(b'{"type":"message_start","message":{"content":[]}}'), ENDING],
    "odd_text": [START, delta(ODD_TEXT), delta(ESCAPES[1:-1]), delta(LOOKALIKE[1:-1]), ENDING],
    "numbers": [named_start(started(b'"usage":' + NUMBERS + b",")), ENDING],
    "only_an_error": [data(b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', b"error")],
    "error_in_the_middle": [START, delta(b"a"), data(b'{"type":"error","error":{"type":"x","message":""}}', b"error")],
    "events_after_the_end": [START, ENDING, b": bye\n\n", data(b'{"type":"ping"}', b"ping")],
    "done_after_the_end": [START, ENDING, b"data: [DONE]\n\n"],
    "a_line_of_one_megabyte": [START, delta(b"x" * MEGABYTE_BYTES), ENDING],
    "a_model_after_ten_kilobytes": [named_start(started(b'"x":"%s",' % (b"y" * 10_000))), ENDING],
    "citations_and_server_tools": [
        START,
        data(
            b'{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","input":{}}}'
        ),
        delta(b"").replace(b'"type":"text_delta","text":""', b'"type":"citations_delta","citation":{"model":"no"}'),
        delta(b"").replace(b'"type":"text_delta","text":""', b'"type":"hologram_delta","beam":1.0'),
        ENDING.replace(b'"usage"', b'"container":{"id":"c"},"stop_details":null,"usage"'),
    ],
}


def play(native, chunks: list[bytes], **options) -> str:
    """Add a script that streams a template with its own model name; return that name."""
    model = native.play(silent)
    native.play(streamed(*(named(part, model) for part in chunks), **options), model)
    return model


def streaming(model: str) -> bytes:
    return request_body(f"up/{model}", stream=True)


def check_stream(reply: Reply, chunks: list[bytes], model: str) -> None:
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-messages-lane"].startswith("native; reason=")
    assert reply.ended
    assert_same(reply.body, named(b"".join(chunks), f"up/{model}"))


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("at_once", [False, True])
async def test_the_client_sees_the_bytes_of_a_stream(relay, name, at_once):
    """All of them, except for the model of ``message_start``, whether the upstream writes once or several times."""
    model = play(relay.upstream, STREAMS[name], at_once=at_once)
    check_stream(await post(relay.url, streaming(model)), STREAMS[name], model)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("at_once", [False, True])
async def test_no_chunk_of_the_upstream_is_split(relay, name, at_once):
    """Those that were read together are one chunk for the client."""
    chunks = STREAMS[name]
    if max(map(len, chunks)) > 60_000:
        pytest.skip("a chunk of this size takes several reads")
    model = play(relay.upstream, chunks, at_once=at_once)
    reply = await post(relay.url, streaming(model))
    expected = set(accumulate(len(named(part, f"up/{model}")) for part in chunks))
    assert set(accumulate(map(len, reply.chunks))) <= expected


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_a_stream_split_at_any_byte_is_unchanged(relay, end):
    """Two chunks, split before each byte in turn: inside names, escapes, line ends and characters."""
    template = SMALL.replace(b"\n", end)

    async def check_split(model: str, at: int) -> None:
        raw = named(template, model)
        relay.upstream.play(streamed(raw[:at], raw[at:]), model)
        check_stream(await post(relay.url, streaming(model)), [template], model)

    length = len(named(template, "split000"))
    await in_groups([check_split(f"split{at:03}", at) for at in range(1, length)])


async def test_a_stream_of_one_byte_chunks_is_unchanged(relay):
    """Also the event names, and ``message_start``, which is held until its blank line."""
    raw = named(SMALL, "bytewise")
    relay.upstream.play(streamed(*(raw[at : at + 1] for at in range(len(raw)))), "bytewise")
    reply = await post(relay.url, streaming("bytewise"))
    check_stream(reply, [SMALL], "bytewise")


async def in_groups(work, size=16):
    """Run coroutines, ``size`` at a time."""
    for start in range(0, len(work), size):
        await asyncio.gather(*work[start : start + size])


async def test_the_first_byte_does_not_wait_for_the_second(relay):
    """The client gets it while the upstream is silent."""
    gate = relay.upstream.gate()

    async def script(answer: Answer) -> None:
        await answer.head()
        await answer.chunk(b"e")
        await gate.wait()
        await answer.chunk(START[1:] + ENDING)
        await answer.end()

    async with relay.open(script, stream=True) as (client, exchange):
        assert await client.head() == 200
        assert await client.chunk() == b"e"
        gate.open()
        reply = await client.rest()
    model = f"up/{exchange.json['model']}"
    assert_same(b"e" + reply.body, named(START + ENDING, model))


async def test_each_event_is_passed_on_at_once(relay):
    """The upstream sends an event only after the client has read the one before."""
    frames = text_frames("@", "one", "two", "three")
    gates = [relay.upstream.gate() for _ in frames]

    async def script(answer: Answer) -> None:
        await answer.head()
        for part, gate in zip(frames, gates, strict=True):
            await answer.chunk(named(part, answer.exchange.json["model"]))
            await gate.wait()
        await answer.end()

    async with relay.open(script, stream=True) as (client, exchange):
        await client.head()
        for part, gate in zip(frames, gates, strict=True):
            assert await client.chunk() == named(part, f"up/{exchange.json['model']}")
            gate.open()
        assert await client.chunk() is None
        assert client.ended


@pytest.mark.parametrize("framing", ["content-length", "close", "extensions", "trailers", "early_hints"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_body_in_any_framing_of_http_is_read(relay, framing, stream):
    """With a content-length, up to the close of the connection, in chunks with extensions or trailers."""
    body = b"".join(text_frames("m", "Hello")) if stream else json.dumps(message("m")).encode()
    kind = "text/event-stream" if stream else "application/json"

    async def script(answer: Answer) -> None:
        if framing == "content-length":
            await answer.head(200, kind, ("content-length", str(len(body))))
            await answer.raw(body)
        elif framing == "close":
            await answer.head(200, kind, ("connection", "close"))
            await answer.raw(body)
            answer.drop()
        else:
            if framing == "early_hints":
                await answer.raw(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
            await answer.head(200, kind)
            chunk = framed(body)
            await answer.raw(chunk.replace(b"\r\n", b";a=b\r\n", 1) if framing == "extensions" else chunk)
            await answer.raw(b"0\r\nx-t: 1\r\n\r\n" if framing == "trailers" else b"0\r\n\r\n")

    reply, exchange = await relay.send(script, stream=stream)
    assert reply.status == 200, reply.body
    assert_same(reply.body, body.replace(b'"m"', b'"up/%s"' % exchange.json["model"].encode()))


@pytest.mark.parametrize("stream", [False, True])
async def test_the_upstream_is_not_asked_for_compression(relay, stream):
    """An upstream that compresses on request responds with plain bytes, which the client gets."""
    body = b"".join(text_frames("m", "Hello")) if stream else json.dumps(message("m")).encode()

    async def script(answer: Answer) -> None:
        kind = "text/event-stream" if stream else "application/json"
        if "gzip" in answer.exchange.headers.get("accept-encoding", ""):
            await answer.head(200, kind, ("content-encoding", "gzip"))
            await answer.chunk(gzip.compress(body))
        else:
            await answer.head(200, kind)
            await answer.chunk(body)
        await answer.end()

    reply, exchange = await relay.send(script, stream=stream)
    assert_same(reply.body, body.replace(b'"m"', b'"up/%s"' % exchange.json["model"].encode()))
    assert "content-encoding" not in reply.headers


@pytest.mark.parametrize("stream", [False, True])
async def test_unrequested_compression_does_not_reach_the_client_as_text(relay, stream):
    """A compressed body is decompressed, rejected or labelled."""
    body = b"".join(text_frames("m", "Hello")) if stream else json.dumps(message("m")).encode()
    kind = "text/event-stream" if stream else "application/json"
    reply, exchange = await relay.send(responds(gzip.compress(body), 200, kind, content_encoding="gzip"), stream=stream)
    if reply.status == 200:
        seen = gzip.decompress(reply.body) if reply.headers.get("content-encoding") == "gzip" else reply.body
        assert_same(seen, body.replace(b'"m"', b'"up/%s"' % exchange.json["model"].encode()))
    else:
        assert reply.status == 502


@pytest.mark.parametrize("stream", [False, True])
async def test_any_success_status_is_a_200(relay, stream):
    """A 201 of the upstream is a 200 for the client."""
    body = b"".join(text_frames("m", "Hello")) if stream else json.dumps(message("m")).encode()
    reply, _exchange = await relay.send(
        responds(body, 201, "text/event-stream" if stream else "application/json"), stream=stream
    )
    assert reply.status == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_has_the_alias_of_the_request(relay, stream):
    """Not the name of the model that the alias selects."""
    frames = text_frames("aliased", "Hi")
    script = streamed(*frames) if stream else responds(json.dumps(message("aliased")).encode())
    relay.upstream.play(script, "aliased")
    reply = await post(relay.url, request_body("claude-opus-4", stream))
    received = json.loads(reply.body.split(b"\n")[1][6:])["message"] if stream else reply.json
    assert received["model"] == "claude-opus-4"
    assert relay.upstream.of("aliased")[-1].target == "/up/v1/messages"


async def test_the_official_sdk_reads_the_relayed_stream(relay):
    """With the model name of the request."""
    model = play(relay.upstream, PLAIN)
    request = {"model": f"up/{model}", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    async with (
        anthropic.AsyncAnthropic(api_key="k", base_url=relay.url, max_retries=0) as client,
        client.messages.stream(**request) as stream,
    ):
        message = await stream.get_final_message()
    assert (message.model, message.content[0].text) == (f"up/{model}", "Hello \u00e9\U0001f600 there")


async def test_many_requests_on_one_connection_keep_their_order(relay):
    """Each of twenty requests in sequence gets its own response."""
    for number in range(20):
        reply, exchange = await relay.send(responds(json.dumps(message("m", f"answer {number}")).encode()))
        assert reply.json["content"][0]["text"] == f"answer {number}"
        assert reply.json["model"] == f"up/{exchange.json['model']}"
