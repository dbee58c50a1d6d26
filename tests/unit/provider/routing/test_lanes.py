"""Which lane a request takes, row by row."""

import asyncio
import re
from pathlib import Path
from typing import get_args

import pytest

from llama_stack_api_messages import Call, MessagesUpstream
from llama_stack_api_messages.errors import ApiError, InvalidRequestError, MessagesError
from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.routing import lanes as module
from llama_stack_provider_messages.routing.lanes import LANES, PROBED_TYPES, REASONS, Lanes, NativeRoute, Reason
from llama_stack_provider_messages.routing.probe import Probes
from llama_stack_provider_messages.stack import OpenAIMixin, Target
from llama_stack_provider_messages.upstream.resolve import ANTHROPIC_TYPES
from llama_stack_provider_messages.upstream.settings import NativeSettings

YES, NO, SILENT = (400, b""), (404, b""), (0, b"")
VLLM, OTHER = "remote::vllm", "remote::openai"


class Provider(OpenAIMixin):
    """Has a base URL, and says nothing of Messages."""

    config: object = None

    def get_base_url(self):
        return "http://host/v1"

    def get_api_key(self):
        return "k"


class Nowhere(Provider):
    """Does not say where its backend is."""

    def get_base_url(self):
        raise ValueError("no base_url")


class Speaking:
    """Says of its backend what it is told to."""

    def __init__(self, said):
        self.said = said
        self.asked = []

    async def messages_upstream(self, resource_id):
        self.asked.append(resource_id)
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


PREFERRED = MessagesUpstream("http://declared", {"x-api-key": "d"})
POSSIBLE = MessagesUpstream("http://declared", preferred=False)


class Probing:
    """Answers a probe, and counts."""

    def __init__(self, answer=YES):
        self.answer = answer
        self.asked = []

    async def __call__(self, target, upstream):
        self.asked.append((target, upstream))
        return self.answer


def settings_of(native):
    return MessagesConfig(native={} if native is None else {"up": native}).native


async def choose(native=None, *, provider=None, kind=VLLM, probe=None, asked=None, allow_header=True):
    """Return lane, reason and base URL of the upstream, and how often it was probed."""
    probe = probe or Probing()
    lanes = Lanes(settings_of(native), Probes(300), probe, allow_header=allow_header)
    target = Target("up/m", "up", kind, "m", provider=provider or Provider())
    headers = {} if asked is None else {"x-messages-lane": asked}
    route = await lanes.choose(target, Call("req_1", headers))
    assert route.target is target
    base_url = route.upstream.base_url if isinstance(route, NativeRoute) else None
    return route.lane, route.reason, base_url, len(probe.asked)


def native(reason, url="http://host", probes=0):
    return "native", reason, url, probes


def translated(reason, probes=0):
    return "translated", reason, None, probes


ROWS = [
    # what the request asks for, where it may
    ({"asked": "translated"}, translated("asked")),
    ({"asked": "translated", "native": "on"}, translated("asked")),
    ({"asked": "translated", "provider": Speaking(PREFERRED)}, translated("asked")),
    ({"asked": "native"}, native("asked")),
    ({"asked": "native", "native": "off"}, native("asked")),
    ({"asked": "native", "kind": OTHER}, native("asked")),
    ({"asked": "native", "provider": Speaking(POSSIBLE)}, native("asked", "http://declared")),
    ({"asked": "native", "provider": Nowhere(), "native": {"base_url": "http://set"}}, native("asked", "http://set")),
    ({"asked": "native", "native": "off", "allow_header": False}, translated("configured")),
    ({"asked": "translated", "native": "on", "allow_header": False}, native("configured")),
    ({"asked": "nonsense", "native": "on", "allow_header": False}, native("configured")),
    # what the configuration says
    ({"native": "on"}, native("configured")),
    ({"native": True}, native("configured")),
    ({"native": {"mode": "on"}}, native("configured")),
    ({"native": {"mode": True}, "kind": OTHER}, native("configured")),
    ({"native": "on", "kind": OTHER}, native("configured")),
    ({"native": "on", "provider": Speaking(POSSIBLE)}, native("configured", "http://declared")),
    ({"native": {"mode": "on", "base_url": "http://set/v1/"}}, native("configured", "http://set")),
    ({"native": {"mode": "on", "base_url": "http://set"}, "provider": Nowhere()}, native("configured", "http://set")),
    ({"native": {"mode": "on", "base_url": "http://set"}, "provider": Speaking(None)}, native("configured", "http://set")),
    ({"native": {"mode": "on", "base_url": "http://set"}, "provider": Speaking(PREFERRED)}, native("configured", "http://set")),
    ({"native": "off"}, translated("configured")),
    ({"native": False}, translated("configured")),
    ({"native": {"mode": "off"}}, translated("configured")),
    ({"native": {"mode": False, "base_url": "http://set"}}, translated("configured")),
    ({"native": "off", "provider": Speaking(PREFERRED)}, translated("configured")),
    # what the provider says of itself
    ({"provider": Speaking(PREFERRED)}, native("declared", "http://declared")),
    ({"provider": Speaking(PREFERRED), "kind": OTHER}, native("declared", "http://declared")),
    ({"provider": Speaking(PREFERRED), "native": "auto"}, native("declared", "http://declared")),
    ({"provider": Speaking(None)}, translated("declared")),
    ({"provider": Speaking(None), "native": "auto"}, translated("declared")),
    ({"provider": Speaking(None), "native": {"base_url": "http://set"}}, translated("declared")),
    ({"provider": Speaking(POSSIBLE), "kind": OTHER}, translated("default")),
    ({"provider": Speaking(POSSIBLE)}, native("probed", "http://declared", 1)),
    ({"provider": Speaking(POSSIBLE), "kind": OTHER, "native": "auto"}, native("probed", "http://declared", 1)),
    # what a probe finds
    ({}, native("probed", probes=1)),
    ({"probe": Probing(NO)}, translated("probed", 1)),
    ({"probe": Probing(SILENT)}, translated("unanswered", 1)),
    ({"native": "auto", "kind": OTHER}, native("probed", probes=1)),
    ({"native": "auto", "kind": OTHER, "probe": Probing(NO)}, translated("probed", 1)),
    ({"native": {"repair": True}, "kind": OTHER}, native("probed", probes=1)),
    ({"native": {"base_url": "http://set"}, "provider": Nowhere()}, native("probed", "http://set", 1)),
    # by the type of the provider
    ({"kind": "remote::ollama"}, native("probed", probes=1)),
    ({"kind": "remote::anthropic"}, native("probed", probes=1)),
    ({"kind": OTHER}, translated("default")),
    ({"kind": "remote::llamacpp"}, translated("default")),
    ({"kind": "inline::llama-cpp"}, translated("default")),
    ({"provider": Nowhere()}, translated("default")),
    ({"provider": Nowhere(), "native": "auto"}, translated("default")),
    ({"provider": object()}, translated("default")),
]  # fmt: skip


@pytest.mark.parametrize(("row", "expected"), ROWS)
async def test_the_first_rule_that_applies_decides(row, expected):
    """Asked for, configured, declared, probed, and the default of the type; nothing is probed that need not be."""
    assert await choose(**row) == expected


def test_each_reason_is_documented():
    """The reasons that the table can give, the list of reasons and the README's table are the same."""
    assert list(REASONS) == list(get_args(Reason.__value__))
    assert set(REASONS) == {reason for _, reason in LANES.values()}
    readme = (Path(__file__).parents[4] / "README.md").read_text()
    table = readme.split("| reason | meaning |\n| --- | --- |\n")[1].split("\n\n")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)) == REASONS


def test_each_row_of_the_table_is_tested():
    """Each lane and reason is the result of at least one row above."""
    tested = {(lane, reason) for _, (lane, reason, *_) in ROWS}
    assert tested == set(LANES.values())


def test_the_types_that_are_probed_unasked():
    """Are those whose endpoints are known to be good."""
    assert set(PROBED_TYPES) == {"remote::ollama", "remote::vllm", "remote::anthropic"}
    assert set(ANTHROPIC_TYPES) == {"remote::anthropic"}


@pytest.mark.parametrize("asked", ["", "Native", "native ", "both", "native, translated"])
async def test_a_lane_that_does_not_exist_is_refused(asked):
    """With what may be sent instead."""
    with pytest.raises(InvalidRequestError, match="x-messages-lane: send native or translated"):
        await choose(asked=asked)


@pytest.mark.parametrize("provider", [Nowhere(), Speaking(None), object()])
async def test_a_lane_without_an_upstream(provider):
    """Is the mistake of who asked for it: of the request, or of the operator; no message shows an address."""
    with pytest.raises(InvalidRequestError, match="'up' has no known Messages API; leave this header out"):
        await choose(asked="native", provider=provider)
    with pytest.raises(ApiError, match=r"set native\.up\.base_url") as caught:
        await choose("on", provider=provider)
    assert caught.value.retryable is False


async def test_a_provider_is_asked_for_the_model_of_the_backend():
    """Once per request, and not where it does not matter."""
    provider = Speaking(PREFERRED)
    await choose(provider=provider)
    assert provider.asked == ["m"]
    await choose("off", provider=provider)
    await choose(asked="translated", provider=provider)
    assert provider.asked == ["m"]


async def test_an_engine_that_does_not_start_is_a_failure():
    """Of the protocol, whatever its text."""
    with pytest.raises(MessagesError):
        await choose(provider=Speaking(RuntimeError("no such file: /secret")))


async def test_settings_of_one_provider_are_not_those_of_another():
    """Each is configured by its own id."""
    lanes = Lanes({"other": NativeSettings(mode="on")}, Probes(300), Probing(NO), allow_header=False)
    route = await lanes.choose(Target("up/m", "up", VLLM, "m", provider=Provider()), Call("r"))
    assert (route.lane, route.reason) == ("translated", "probed")


async def test_a_probe_gets_the_upstream_that_would_be_used():
    """With its credentials."""
    probe = Probing()
    await choose({"mode": "auto", "base_url": "http://set", "auth": "x-api-key"}, probe=probe)
    ((target, upstream),) = probe.asked
    assert (target.model_id, upstream.base_url, upstream.headers) == ("up/m", "http://set", {"x-api-key": "k"})


async def test_probes_are_remembered_by_provider():
    """Another model of it is not probed again, another provider is."""
    probe = Probing()
    lanes = Lanes({}, Probes(300), probe, allow_header=False)
    for provider_id, model in (("up", "a"), ("up", "b"), ("down", "a")):
        await lanes.choose(Target(model, provider_id, VLLM, model, provider=Provider()), Call("r"))
    assert [target.provider_id for target, _ in probe.asked] == ["up", "down"]


class Log:
    def __init__(self):
        self.lines = []

    def info(self, _event, **fields):
        self.lines.append((fields["provider_id"], fields["lane"], fields["reason"]))


async def test_a_lane_is_logged_when_it_changes(monkeypatch):
    """Once per provider and not per request; what a request asked for is no change."""
    monkeypatch.setattr(module, "logger", log := Log())
    probe = Probing()
    now = 0.0
    probes = Probes(300, lambda: now)
    lanes = Lanes({"set": NativeSettings(mode="off")}, probes, probe, allow_header=True)

    async def ask(provider_id, asked=None):
        headers = {"x-messages-lane": asked} if asked else {}
        await lanes.choose(Target("m", provider_id, VLLM, "m", provider=Provider()), Call("r", headers))

    for provider_id, asked in (("up", None), ("up", None), ("set", None), ("up", "translated"), ("up", None)):
        await ask(provider_id, asked)
    assert log.lines == [("up", "native", "probed"), ("set", "translated", "configured")]
    probe.answer = NO
    probes.doubt("up")
    now = 10.0
    await ask("up")
    for _ in range(10):  # until the probe in the background has ended
        await asyncio.sleep(0)
    await ask("up")
    assert log.lines[2:] == [("up", "translated", "probed")]


async def test_a_route_says_its_lane_and_whether_the_status_comes_first():
    """Which it does on the native lane, unless pings are wanted before it."""
    for native, status_first in (("on", True), ({"mode": "on", "ping_before_status": True}, False), ("off", False)):
        lanes = Lanes(settings_of(native), Probes(300), Probing(), allow_header=False)
        route = await lanes.choose(Target("m", "up", VLLM, "m", provider=Provider()), Call("r"))
        assert route.status_first is status_first
        assert route.header == f"{route.lane}; reason=configured"
