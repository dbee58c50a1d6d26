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
from llama_stack_provider_messages.routing.lanes import LANES, PROBED_TYPES, REASONS, LaneSelector, NativeRoute, Reason
from llama_stack_provider_messages.routing.probe import Probes
from llama_stack_provider_messages.stack import OpenAIMixin, Target
from llama_stack_provider_messages.upstream.address import ANTHROPIC_TYPES
from llama_stack_provider_messages.upstream.settings import NativeSettings

YES, NO, SILENT = (400, b""), (404, b""), (0, b"")
VLLM, OTHER = "remote::vllm", "remote::openai"


class Provider(OpenAIMixin):
    """Has a base URL and does not declare a Messages API."""

    config: object = None

    def get_base_url(self):
        return "http://host/v1"

    def get_api_key(self):
        return "k"


class WithoutAddress(Provider):
    """Has no base URL."""

    def get_base_url(self):
        raise ValueError("no base_url")


class Declaring:
    """Declares the given upstream, or raises the given exception."""

    def __init__(self, declaration):
        self.declaration = declaration
        self.resource_ids = []

    async def messages_upstream(self, resource_id):
        self.resource_ids.append(resource_id)
        if isinstance(self.declaration, Exception):
            raise self.declaration
        return self.declaration


PREFERRED = MessagesUpstream("http://declared", {"x-api-key": "d"})
POSSIBLE = MessagesUpstream("http://declared", preferred=False)


class Probing:
    """A backend that answers probes, and counts them."""

    def __init__(self, answer=YES):
        self.answer = answer
        self.probed = []

    async def __call__(self, target, upstream):
        self.probed.append((target, upstream))
        return self.answer


def settings_of(native):
    return MessagesConfig(native={} if native is None else {"up": native}).native


async def choose(native=None, *, provider=None, kind=VLLM, probe=None, header=None, allow_header=True):
    """Return lane, reason and base URL of the upstream, and how often it was probed."""
    probe = probe or Probing()
    lanes = LaneSelector(settings_of(native), Probes(300), probe, allow_header=allow_header)
    target = Target("up/m", "up", kind, "m", provider=provider or Provider())
    headers = {} if header is None else {"x-messages-lane": header}
    route = await lanes.choose(target, Call("req_1", headers))
    assert route.target is target
    base_url = route.upstream.base_url if isinstance(route, NativeRoute) else None
    return route.lane, route.reason, base_url, len(probe.probed)


def native(reason, url="http://host", probes=0):
    return "native", reason, url, probes


def translated(reason, probes=0):
    return "translated", reason, None, probes


ROWS = [
    # the header of the request, if it is allowed
    ({"header": "translated"}, translated("asked")),
    ({"header": "translated", "native": "on"}, translated("asked")),
    ({"header": "translated", "provider": Declaring(PREFERRED)}, translated("asked")),
    ({"header": "native"}, native("asked")),
    ({"header": "native", "native": "off"}, native("asked")),
    ({"header": "native", "kind": OTHER}, native("asked")),
    ({"header": "native", "provider": Declaring(POSSIBLE)}, native("asked", "http://declared")),
    ({"header": "native", "provider": WithoutAddress(), "native": {"base_url": "http://set"}}, native("asked", "http://set")),
    ({"header": "native", "native": "off", "allow_header": False}, translated("configured")),
    ({"header": "translated", "native": "on", "allow_header": False}, native("configured")),
    ({"header": "nonsense", "native": "on", "allow_header": False}, native("configured")),
    # the configuration
    ({"native": "on"}, native("configured")),
    ({"native": True}, native("configured")),
    ({"native": {"mode": "on"}}, native("configured")),
    ({"native": {"mode": True}, "kind": OTHER}, native("configured")),
    ({"native": "on", "kind": OTHER}, native("configured")),
    ({"native": "on", "provider": Declaring(POSSIBLE)}, native("configured", "http://declared")),
    ({"native": {"mode": "on", "base_url": "http://set/v1/"}}, native("configured", "http://set")),
    ({"native": {"mode": "on", "base_url": "http://set"}, "provider": WithoutAddress()}, native("configured", "http://set")),
    ({"native": {"mode": "on", "base_url": "http://set"}, "provider": Declaring(None)}, native("configured", "http://set")),
    ({"native": {"mode": "on", "base_url": "http://set"}, "provider": Declaring(PREFERRED)}, native("configured", "http://set")),
    ({"native": "off"}, translated("configured")),
    ({"native": False}, translated("configured")),
    ({"native": {"mode": "off"}}, translated("configured")),
    ({"native": {"mode": False, "base_url": "http://set"}}, translated("configured")),
    ({"native": "off", "provider": Declaring(PREFERRED)}, translated("configured")),
    # the declaration of the provider
    ({"provider": Declaring(PREFERRED)}, native("declared", "http://declared")),
    ({"provider": Declaring(PREFERRED), "kind": OTHER}, native("declared", "http://declared")),
    ({"provider": Declaring(PREFERRED), "native": "auto"}, native("declared", "http://declared")),
    ({"provider": Declaring(None)}, translated("declared")),
    ({"provider": Declaring(None), "native": "auto"}, translated("declared")),
    ({"provider": Declaring(None), "native": {"base_url": "http://set"}}, translated("declared")),
    ({"provider": Declaring(POSSIBLE), "kind": OTHER}, translated("default")),
    ({"provider": Declaring(POSSIBLE)}, native("probed", "http://declared", 1)),
    ({"provider": Declaring(POSSIBLE), "kind": OTHER, "native": "auto"}, native("probed", "http://declared", 1)),
    # the result of a probe
    ({}, native("probed", probes=1)),
    ({"probe": Probing(NO)}, translated("probed", 1)),
    ({"probe": Probing(SILENT)}, translated("unanswered", 1)),
    ({"native": "auto", "kind": OTHER}, native("probed", probes=1)),
    ({"native": "auto", "kind": OTHER, "probe": Probing(NO)}, translated("probed", 1)),
    ({"native": {"repair": True}, "kind": OTHER}, native("probed", probes=1)),
    ({"native": {"base_url": "http://set"}, "provider": WithoutAddress()}, native("probed", "http://set", 1)),
    # the type of the provider
    ({"kind": "remote::ollama"}, native("probed", probes=1)),
    ({"kind": "remote::anthropic"}, native("probed", probes=1)),
    ({"kind": OTHER}, translated("default")),
    ({"kind": "remote::llamacpp"}, translated("default")),
    ({"kind": "inline::llama-cpp"}, translated("default")),
    ({"provider": WithoutAddress()}, translated("default")),
    ({"provider": WithoutAddress(), "native": "auto"}, translated("default")),
    ({"provider": object()}, translated("default")),
]  # fmt: skip


@pytest.mark.parametrize(("row", "expected"), ROWS)
async def test_the_first_fact_that_applies_decides(row, expected):
    """Header, configuration, declaration, probe; a probe is sent only if nothing else decides."""
    assert await choose(**row) == expected


def test_each_reason_is_documented():
    """The reasons that the table can give, the list of reasons and the table in docs/native-lane.md are the same."""
    assert list(REASONS) == list(get_args(Reason.__value__))
    assert set(REASONS) == {reason for _, reason in LANES.values()}
    page = (Path(__file__).parents[4] / "docs" / "native-lane.md").read_text()
    table = page.split("| reason | meaning |\n| --- | --- |\n")[1].split("\n\n")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)) == REASONS


def test_each_row_of_the_table_is_tested():
    """Each lane and reason is the result of at least one row above."""
    tested = {(lane, reason) for _, (lane, reason, *_) in ROWS}
    assert tested == set(LANES.values())


def test_the_types_that_are_probed_without_configuration():
    """Their endpoints are known to follow the API."""
    assert set(PROBED_TYPES) == {"remote::ollama", "remote::vllm", "remote::anthropic"}
    assert set(ANTHROPIC_TYPES) == {"remote::anthropic"}


@pytest.mark.parametrize("header", ["", "Native", "native ", "both", "native, translated"])
async def test_a_header_with_an_unknown_lane_is_rejected(header):
    """The error names the valid values."""
    with pytest.raises(InvalidRequestError, match="x-messages-lane: send native or translated"):
        await choose(header=header)


@pytest.mark.parametrize("provider", [WithoutAddress(), Declaring(None), object()])
async def test_a_required_native_lane_without_an_address_is_an_error(provider):
    """It tells the client or the operator what to change; no message shows an address."""
    with pytest.raises(InvalidRequestError, match="'up' has no known Messages API; leave this header out"):
        await choose(header="native", provider=provider)
    with pytest.raises(ApiError, match=r"set native\.up\.base_url") as caught:
        await choose("on", provider=provider)
    assert caught.value.retryable is False


async def test_a_provider_declares_its_upstream_for_the_model_of_the_backend():
    """It is called once per request, and not if an earlier fact decides."""
    provider = Declaring(PREFERRED)
    await choose(provider=provider)
    assert provider.resource_ids == ["m"]
    await choose("off", provider=provider)
    await choose(header="translated", provider=provider)
    assert provider.resource_ids == ["m"]


async def test_an_engine_that_does_not_start_is_an_error_of_the_api():
    """Whatever the text of its exception."""
    with pytest.raises(MessagesError):
        await choose(provider=Declaring(RuntimeError("no such file: /secret")))


async def test_settings_of_one_provider_are_not_those_of_another():
    """The settings are found by the id of the provider."""
    lanes = LaneSelector({"other": NativeSettings(mode="on")}, Probes(300), Probing(NO), allow_header=False)
    route = await lanes.choose(Target("up/m", "up", VLLM, "m", provider=Provider()), Call("r"))
    assert (route.lane, route.reason) == ("translated", "probed")


async def test_a_probe_goes_to_the_upstream_that_requests_would_use():
    """With its credentials."""
    probe = Probing()
    await choose({"mode": "auto", "base_url": "http://set", "auth": "x-api-key"}, probe=probe)
    ((target, upstream),) = probe.probed
    assert (target.model_id, upstream.base_url, upstream.headers) == ("up/m", "http://set", {"x-api-key": "k"})


async def test_probe_results_are_kept_by_provider():
    """Another model of the provider is not probed again; another provider is."""
    probe = Probing()
    lanes = LaneSelector({}, Probes(300), probe, allow_header=False)
    for provider_id, model in (("up", "a"), ("up", "b"), ("down", "a")):
        await lanes.choose(Target(model, provider_id, VLLM, model, provider=Provider()), Call("r"))
    assert [target.provider_id for target, _ in probe.probed] == ["up", "down"]


class Log:
    def __init__(self):
        self.lines = []

    def info(self, _event, **fields):
        self.lines.append((fields["provider_id"], fields["lane"], fields["reason"]))


async def test_a_lane_is_logged_when_it_changes(monkeypatch):
    """Once per provider and not per request; a lane selected by header does not count."""
    monkeypatch.setattr(module, "logger", log := Log())
    probe = Probing()
    now = 0.0
    probes = Probes(300, lambda: now)
    lanes = LaneSelector({"set": NativeSettings(mode="off")}, probes, probe, allow_header=True)

    async def send(provider_id, header=None):
        headers = {"x-messages-lane": header} if header else {}
        await lanes.choose(Target("m", provider_id, VLLM, "m", provider=Provider()), Call("r", headers))

    for provider_id, header in (("up", None), ("up", None), ("set", None), ("up", "translated"), ("up", None)):
        await send(provider_id, header)
    assert log.lines == [("up", "native", "probed"), ("set", "translated", "configured")]
    probe.answer = NO
    probes.recheck_soon("up")
    now = 10.0
    await send("up")
    for _ in range(10):  # until the probe in the background has ended
        await asyncio.sleep(0)
    await send("up")
    assert log.lines[2:] == [("up", "translated", "probed")]


async def test_a_route_has_its_lane_and_whether_the_status_comes_first():
    """The status comes first on the native lane, unless the configuration allows pings before it."""
    for native, status_first in (("on", True), ({"mode": "on", "ping_before_status": True}, False), ("off", False)):
        lanes = LaneSelector(settings_of(native), Probes(300), Probing(), allow_header=False)
        route = await lanes.choose(Target("m", "up", VLLM, "m", provider=Provider()), Call("r"))
        assert route.status_first is status_first
        assert route.header == f"{route.lane}; reason=configured"
