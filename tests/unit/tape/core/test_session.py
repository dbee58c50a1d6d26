"""A tape in use: the step for each request, and the report at the end."""

import json

import pytest

from messages_tape.core.session import Session
from messages_tape.core.steps import Live, Record, Replay, Verify
from messages_tape.errors import Action, UnsafeTapeError
from messages_tape.format.model import Ignore, Upstream
from messages_tape.secrets.scrub import Rules
from support.tapes import JSON, SSE, events, exchange, raw_request, reply, response, tape

HELLO = {"model": "tiny", "messages": "hello"}
BYE = {"model": "tiny", "messages": "bye"}


def session(*exchanges, action=Action.REPLAY, **options):
    fields = {name: options.pop(name) for name in ("ignore", "upstream", "ambient_exchanges") if name in options}
    if "ambient_exchanges" in fields:
        fields["ambient"] = fields.pop("ambient_exchanges")
    return Session("hello", tape(*exchanges, **fields), action, **options)


def feed(step, *pieces, headers=JSON, status=200, error=None):
    """Let the upstream answer a step."""
    step.recording.head(status, [*headers.items()], 1.0)
    for piece in pieces:
        step.recording.chunk(piece.encode(), 1.5)
    step.recording.stop(error, 2.0)


def message_of(step):
    (chunk,) = step.exchange.response.chunks
    return json.loads(chunk.data)["error"]["message"]


def test_a_recorded_request_is_played():
    one = exchange(HELLO, reply("hi"))
    playing = session(exchange(BYE, reply("no")), one)
    assert playing.step_for(raw_request(HELLO), 0) == Replay(one, "exchange 2")
    assert playing.report().unplayed == ("exchange 1 (POST /v1/messages) was not played",)


def test_matching_requests_have_no_failures():
    playing = session(exchange(HELLO, reply("hi")))
    playing.step_for(raw_request(HELLO, x_api_key="any-key-of-today-1", user_agent="new"), 0)
    assert playing.report().failures == ()
    assert (playing.report().exchanges, playing.report().action) == (1, "replay")


def test_an_unexpected_request_gets_409_with_the_diff_and_is_in_the_report():
    """SDKs do not retry it, and a program that swallows it still fails at the end."""
    playing = session(exchange(HELLO, reply("hi")), hint="Run it with --tape-mode rewrite.")
    step = playing.step_for(raw_request(BYE, x_api_key="abcdefgh1"), 0)
    assert step.exchange.response.status == 409
    assert step.exchange.response.headers["x-should-retry"] == "false"
    text = message_of(step)
    assert text.startswith('POST /v1/messages is not on tape "hello".\nClosest is exchange 1 of 1, not played:\n')
    assert "messages: at character 0, recorded 'hello', now 'bye'" in text
    assert '\n- "messages": "hello",\n+ "messages": "bye",\n' in text
    assert text.endswith("\nRun it with --tape-mode rewrite.")
    assert playing.report().failures == (text, "exchange 1 (POST /v1/messages) was not played")


def test_the_same_unexpected_request_is_reported_once_with_its_count():
    playing = session()
    for _ in range(3):
        playing.step_for(raw_request(BYE), 0)
    (failure,) = playing.report().unexpected
    assert failure.endswith("(3 times)")


def test_the_response_to_an_unexpected_request_shows_no_key():
    playing = session()
    step = playing.step_for(
        raw_request({"a": "sk-0123456789abcdef", "b": "my abcdefgh1"}, path="/v1/abcdefgh1", x_api_key="abcdefgh1"), 0
    )
    assert "0123456789abcdef" not in message_of(step)
    assert "abcdefgh1" not in message_of(step)


def test_blanked_values_do_not_affect_matching():
    """Recorded with one key and user, played with others."""
    recording = session(action=Action.RECORD)
    said = {"user": "jo", "messages": "my key is abcdefgh1"}
    feed(recording.step_for(raw_request(said, query="key=abcdefgh1", x_api_key="abcdefgh1"), 0), "{}")
    playing = Session("hello", recording.recorded(), Action.REPLAY)
    again = {"user": "someone else", "messages": "my key is other-key-22"}
    assert (
        playing.step_for(raw_request(again, query="key=other-key-22", x_api_key="other-key-22"), 0).label
        == "exchange 1"
    )


def test_the_ignore_list_of_the_tape_is_used():
    playing = session(exchange({"id": 1, "a": 1}, reply("x")), ignore=Ignore(body=("id",)))
    assert playing.step_for(raw_request({"id": 2, "a": 1}), 0).label == "exchange 1"


def test_recording_keeps_the_order_of_the_requests():
    """Not the order of the responses."""
    recording = session(action=Action.RECORD)
    first, second = recording.step_for(raw_request(HELLO), 0), recording.step_for(raw_request(BYE), 0)
    assert isinstance(first, Record)
    feed(second, '"bye"')
    feed(first, '"hi"')
    made = recording.recorded(kind="llama.cpp", version="", date="2026-11-20")
    assert [one.request.body.value for one in made.exchanges] == [HELLO, BYE]
    assert made.upstream == Upstream(kind="llama.cpp", model="tiny", date="2026-11-20")
    assert recording.report().exchanges == 2
    assert recording.report().failures == ()


def test_a_new_recording_keeps_the_facts_and_ignore_lists_of_the_old_one():
    old = {"ignore": Ignore(body=("id",)), "upstream": Upstream(kind="vllm", model="big", version="1")}
    recording = session(exchange(BYE), action=Action.RECORD, **old)
    feed(recording.step_for(raw_request(HELLO), 0), "{}")
    made = recording.recorded(version="2", date="2026-11-20")
    assert made.ignore == old["ignore"]
    assert made.upstream == Upstream(kind="vllm", model="big", version="2", date="2026-11-20")
    assert [one.request.body.value for one in made.exchanges] == [HELLO]


def test_without_recorded_requests_there_is_no_tape():
    assert session(action=Action.RECORD).recorded() is None


def test_a_tape_without_a_model_in_its_requests():
    recording = session(action=Action.RECORD)
    feed(recording.step_for(raw_request([1]), 0), "{}")
    feed(recording.step_for(raw_request({"model": 7}), 0), "{}")
    assert recording.recorded().upstream.model == ""


def test_a_tape_with_a_credential_is_not_returned():
    recording = session(action=Action.RECORD)
    feed(recording.step_for(raw_request(HELLO), 0), *events({"text": "sk-0123456789abcdef"}), headers=SSE)
    with pytest.raises(UnsafeTapeError) as raised:
        recording.recorded()
    assert 'tape "hello" was not saved' in str(raised.value)
    assert "exchange 1, response body: a key that begins with sk- (19 characters)" in str(raised.value)
    assert "Rules(harmless=...)" in str(raised.value)
    assert "0123456789abcdef" not in str(raised.value)


def test_a_key_that_a_later_request_shows_is_blanked_in_earlier_ones():
    recording = session(action=Action.RECORD)
    feed(recording.step_for(raw_request({"messages": "abcdefgh1"}), 0), '"abcdefgh1"')
    feed(recording.step_for(raw_request(BYE, x_api_key="abcdefgh1"), 0), '"x"')
    first = recording.recorded().exchanges[0]
    assert first.request.body.value == {"messages": "REDACTED"}
    assert first.response.chunks[0].data == b'"*********"'


def test_harmless_values_are_kept():
    rules = Rules(harmless=frozenset({"sk-0123456789abcdef"}))
    recording = session(action=Action.RECORD, rules=rules)
    feed(recording.step_for(raw_request({"a": "sk-0123456789abcdef"}, x_api_key="sk-0123456789abcdef"), 0), "{}")
    assert recording.recorded().exchanges[0].request.body.value == {"a": "sk-0123456789abcdef"}
    assert recording.harmless == rules.harmless


def test_live_has_no_tape():
    live = session(exchange(HELLO), action=Action.LIVE)
    assert live.step_for(raw_request(HELLO), 0) == Live()
    assert live.report().failures == ()


def models(path="/v1/models", method="GET"):
    return raw_request(path=path, method=method)


def test_an_ambient_call_is_never_unplayed_and_never_unexpected():
    """A stack lists models at startup and periodically, or not at all."""
    one = exchange(path="/v1/models", method="GET", answer=reply({"data": ["from tape"]}))
    playing = session(ambient_exchanges=(one,))
    assert playing.has_ambient(models())
    for _ in range(3):
        assert playing.step_for(models(), 0) == Replay(one, "an ambient call")
    assert playing.report().failures == ()
    assert session(ambient_exchanges=(one,)).report().failures == ()


@pytest.mark.parametrize(
    ("upstream", "names"),
    [(Upstream(model="big"), ["big", "tiny"]), (Upstream(), ["tiny"]), (Upstream(model="tiny"), ["tiny"])],
)
def test_an_unrecorded_ambient_call_gets_a_response_generated_from_the_tape(upstream, names):
    playing = session(exchange(HELLO, reply("x")), exchange(BYE, reply("x")), exchange(None), upstream=upstream)
    assert not playing.has_ambient(models())
    (chunk,) = playing.step_for(models(), 0).exchange.response.chunks
    assert [model["id"] for model in json.loads(chunk.data)["data"]] == names
    (chunk,) = playing.step_for(models("/v1/models/a%2Fb"), 0).exchange.response.chunks
    assert json.loads(chunk.data) == {"id": "a/b", "object": "model", "created": 0, "owned_by": "tape"}
    (chunk,) = playing.step_for(models("/health"), 0).exchange.response.chunks
    assert json.loads(chunk.data) == {"status": "ok"}
    assert playing.report().unexpected == ()


@pytest.mark.parametrize("call", [models(method="POST"), models("/v1/messages"), models("/v1/models-of-mine")])
def test_other_calls_are_not_ambient(call):
    assert not session().is_ambient(call)


@pytest.mark.parametrize("action", [Action.REPLAY, Action.VERIFY])
def test_an_ambient_call_among_the_exchanges_is_played_in_order_and_the_last_one_repeated(action):
    calls = [exchange(path="/v1/models/tiny", method="GET", answer=reply(number)) for number in (1, 2)]
    playing = session(*calls, action=action)
    steps = [playing.step_for(models("/v1/models/tiny"), 0) for _ in range(3)]
    assert [getattr(step, "replay", step).label for step in steps] == ["exchange 1", "exchange 2", "exchange 2"]
    assert playing.report().failures == ()
    assert playing.step_for(models("/v1/models/other"), 0).label == "an ambient call"


def test_the_patterns_of_ambient_calls_can_be_set():
    assert session(ambient=("POST /x",)).is_ambient(models("/x", "POST"))
    assert not session(ambient=()).is_ambient(models())


def test_ambient_calls_are_recorded_once_each_with_the_last_response():
    recording = session(action=Action.RECORD)
    feed(recording.step_for(models(), 0), '{"data": []}')
    feed(recording.step_for(models(), 0), '{"data": [1]}')
    recording.step_for(models("/health"), 0).recording.stop(ConnectionError("not yet up"), 1.0)
    made = recording.recorded()
    assert made.exchanges == ()
    (one,) = made.ambient
    assert one.response.chunks[0].data == b'{"data": [1]}'


def test_ambient_calls_of_the_old_tape_are_kept():
    old = exchange(path="/health", method="GET", answer=reply("ok"))
    recording = session(action=Action.RECORD, ambient_exchanges=(old,))
    feed(recording.step_for(models(), 0), "{}")
    assert [one.request.path for one in recording.recorded().ambient] == ["/health", "/v1/models"]


def test_verify_compares_plays_and_reports_differences():
    """Differences are not failures."""
    checking = session(exchange(HELLO, reply({"a": 1, "b": 1})), action=Action.VERIFY)
    step = checking.step_for(raw_request(HELLO), 0)
    assert isinstance(step, Verify)
    assert step.replay.label == "exchange 1"
    feed(step, '{"a": "x", "b": 2}')
    assert not step.has_enough_chunks
    checking.add_differences(step)
    report = checking.report()
    assert report.differences == ("exchange 1 (POST /v1/messages): a: number on the tape, text live",)
    assert report.failures == ()


def test_verify_rejects_requests_that_are_not_on_the_tape():
    checking = session(action=Action.VERIFY)
    assert checking.step_for(raw_request(HELLO), 0).exchange.response.status == 409
    assert len(checking.report().failures) == 1


def test_verify_of_an_early_disconnect_reads_as_many_chunks_as_recorded():
    left = exchange(HELLO, response("a", "b"), how="client_closed")
    step = session(left, action=Action.VERIFY).step_for(raw_request(HELLO), 0)
    step.recording.head(200, [], 1.0)
    step.recording.chunk(b"a", 1.0)
    assert not step.has_enough_chunks
    step.recording.chunk(b"b", 1.0)
    assert step.has_enough_chunks
    silent = session(exchange(HELLO, how="client_closed"), action=Action.VERIFY).step_for(raw_request(HELLO), 0)
    assert silent.has_enough_chunks


def test_a_client_that_waits_where_the_recorded_one_disconnected_is_a_failure():
    playing = session(exchange(HELLO, response("a"), how="client_closed"))
    playing.client_waited(playing.step_for(raw_request(HELLO), 0))
    (failure,) = playing.report().failures
    assert failure.startswith("exchange 1 (POST /v1/messages): the recorded client disconnected at this point, but ")
    assert failure.endswith("this client waited for more")


@pytest.mark.parametrize(
    ("how", "taken", "certain", "failures", "notes"),
    [
        ("complete", 1, True, 1, 0),
        ("complete", 1, False, 0, 1),
        ("complete", 2, True, 0, 0),
        ("client_closed", 1, True, 0, 0),
        ("reset", 1, True, 0, 0),
    ],
)
def test_a_client_that_closes_early_is_reported_where_the_recorded_client_read_to_the_end(
    how, taken, certain, failures, notes
):
    """A failure if the number of chunks is exact, otherwise a note."""
    playing = session(exchange(HELLO, response("a", "b", headers={"content-type": "text/plain"}), how=how))
    playing.client_closed(playing.step_for(raw_request(HELLO), 0), taken, certain=certain)
    assert (len(playing.report().failures), len(playing.report().notes)) == (failures, notes)


@pytest.mark.parametrize("action", Action)
def test_the_requests_are_available_with_every_action(action):
    """Without ambient calls."""
    used = session(exchange(HELLO, reply("hi")), action=action)
    for one in (raw_request(HELLO), raw_request(method="GET", path="/v1/models")):
        used.step_for(one, 0)
    assert used.requests == [raw_request(HELLO)]
