"""The native lane: passes the client's bytes to an upstream that speaks the Messages API, and its bytes back."""

import asyncio
import json
import re
from typing import Any, Literal

import httpx

from llama_stack_api_messages import Call, MessageReply, RequestBody, StreamReply
from llama_stack_api_messages.api import new_id
from llama_stack_api_messages.errors import BadGatewayError, InvalidRequestError, MessagesError, UpstreamError
from llama_stack_api_messages.json_bytes import encode_json
from llama_stack_api_messages.json_members import Member
from llama_stack_api_messages.models import CountTokensRequest, CreateMessageRequest, PromptRequest
from llama_stack_provider_messages.errors.body import NO_ROUTE
from llama_stack_provider_messages.errors.redaction import redacted_error
from llama_stack_provider_messages.errors.response import not_a_message, success_members
from llama_stack_provider_messages.headers import COUNT_HEADER, forwarded_headers, returned_headers
from llama_stack_provider_messages.routing.probe import Probes
from llama_stack_provider_messages.routing.route import Backend, Route
from llama_stack_provider_messages.stack import Platform, Target, get_logger
from llama_stack_provider_messages.translation.dropped import dropped_header, dropped_text
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import estimate_json
from llama_stack_provider_messages.upstream.address import Upstream
from llama_stack_provider_messages.upstream.client import UpstreamClient, UpstreamRequest, is_event_stream, read_body
from llama_stack_provider_messages.upstream.state import Cooldown

from .model_name import ModelNameRewriter, echoed
from .observer import usage_of
from .repair import StreamRepair, repair_message
from .request import PROMPT_FIELDS, Outgoing, native_request, window_limit
from .stream import RequestMetrics, relayed, repaired

logger = get_logger(__name__)

_PROBE_SECONDS = 8.0
"""Timeout of a probe. The first request waits for it, so it is shorter than the ten seconds until the first ping."""
_MESSAGES, _COUNT = "/v1/messages", "/v1/messages/count_tokens"
_SIGNATURE = re.compile(r"signature.{0,60}thinking|thinking.{0,60}signature", re.IGNORECASE | re.DOTALL)
"""``Invalid `signature` in `thinking` block``: a signature of another model or organisation, or an invented one
(codex2api 613)."""


class NativeBackend:
    """Serves requests through the Messages API of the backend itself.

    Args:
        platform: Records the metrics.
        client: Sends requests to upstreams.
        probes: The probe results; an unexpected failure shortens their lifetime.
        translated: Counts tokens if the upstream cannot.
    """

    def __init__(self, platform: Platform, client: UpstreamClient, probes: Probes, translated: Backend) -> None:
        self._platform = platform
        self._client = client
        self._probes = probes
        self._translated = translated
        self._without_counter = Cooldown()

    async def count(self, body: RequestBody[CountTokensRequest], call: Call, route: Route) -> MessageReply:
        """Return the upstream's own token count, or an estimate if it has no such endpoint."""
        asked = (route.target.provider_id, route.target.resource_id)
        if self._without_counter.active(asked):
            return await self._estimate(body, call, route)
        try:
            response, _ = await self._accepted(_COUNT, body, call, route)
        except UpstreamError as error:
            if not _is_no_route(error):
                raise
            self._without_counter.start(asked)
            return await self._estimate(body, call, route)
        data = await read_body(response, route.target.provider_id)
        _expect("input_tokens", data, _upstream(route))
        headers = returned_headers(response.headers, own_request_id=_upstream(route).settings.own_request_id)
        return MessageReply(data, {**headers, COUNT_HEADER: "exact"})

    async def _estimate(self, body: RequestBody[CountTokensRequest], call: Call, route: Route) -> MessageReply:
        """Return the token count of the translated request; if it cannot be translated, estimate from its JSON."""
        try:
            reply = await self._translated.count(body, call, route)
        except InvalidRequestError:
            places = dict(body.members)
            if "messages" not in places:
                raise
            parts = [body.data[slice(*places[name])] for name in PROMPT_FIELDS if name in places]
            reply = MessageReply(encode_json({"input_tokens": sum(map(estimate_json, parts))}))
        return MessageReply(reply.body, {**reply.headers, COUNT_HEADER: "estimate"})

    async def probe(self, target: Target, upstream: Upstream) -> tuple[int, bytes]:
        """Probe an upstream for a Messages API; return status and body of its response, status 0 if there is none."""
        request = UpstreamRequest(_MESSAGES, b"{}", forwarded_headers({}, frozenset(), credentials=False), short=True)
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                response = await self._client.send(target, upstream, request)
                return response.status_code, await read_body(response, upstream.provider_id)
        except (MessagesError, TimeoutError) as error:
            logger.info("probe failed", provider_id=upstream.provider_id, reason=str(error))
            return 0, b""

    async def close(self) -> None:
        """Close the connections."""
        await self._probes.close()
        await self._client.close()

    async def create(self, body: RequestBody[CreateMessageRequest], call: Call, route: Route) -> MessageReply:
        """Return the reply to a non-streaming request; see ``Messages.create_message``."""
        tally = RequestMetrics(self._platform, route.target, call, stream=False)
        try:
            response, asked = await self._accepted(_MESSAGES, body, call, route)
            data = await read_body(response, route.target.provider_id)
            found = _expect("content", data, _upstream(route))
            tally.end(usage_of(data, found), success=True)
        finally:
            tally.end({}, success=False)
        if _upstream(route).settings.repair:
            answer = _repaired(data, body.model, route)
        else:
            answer = echoed(data, found, body.model)
        return MessageReply(answer, _reply_headers(response, asked, route))

    async def stream(self, body: RequestBody[CreateMessageRequest], call: Call, route: Route) -> StreamReply:
        """Return the reply to a streaming request, once the upstream has accepted it."""
        tally = RequestMetrics(self._platform, route.target, call, stream=True)
        accepted = None
        try:
            accepted = await self._accepted_stream(body, call, route)
        finally:
            if accepted is None:
                tally.end({}, success=False)
        response, asked = accepted
        mend = _upstream(route).settings.repair
        if mend:
            frames = repaired(response, StreamRepair(body.model, new_id, call.request_id), tally, _upstream(route))
        else:
            frames = relayed(response, ModelNameRewriter(body.model), tally, _upstream(route))
        await anext(frames)  # from here on, closing it closes the response
        return StreamReply(frames, _reply_headers(response, asked, route), relayed=not mend)

    async def _accepted_stream(
        self, body: RequestBody[CreateMessageRequest], call: Call, route: Route
    ) -> tuple[httpx.Response, Outgoing]:
        response, asked = await self._accepted(_MESSAGES, body, call, route)
        if is_event_stream(response):
            return response, asked
        _expect("content", await read_body(response, route.target.provider_id), _upstream(route))
        raise not_a_message(route.target.provider_id)

    async def _accepted(
        self, path: str, body: RequestBody[Any], call: Call, route: Route
    ) -> tuple[httpx.Response, Outgoing]:
        """Return the upstream's response and the accepted request, after one retry with a changed request if needed."""
        asked = _outgoing(body, route)
        try:
            return await self._ask(path, asked, call, route), asked
        except UpstreamError as refusal:
            again = _again(refusal, body, route)
            if again is None or again.data == asked.data:
                raise
            logger.info(
                "retrying with a changed request",
                request_id=call.request_id,
                dropped=dropped_text(again.dropped),
                refusal=refusal.message,
            )
            return await self._ask(path, again, call, route), again

    async def _ask(self, path: str, asked: Outgoing, call: Call, route: Route) -> httpx.Response:
        upstream = _upstream(route)
        further = frozenset(name.lower() for name in upstream.settings.forward_headers)
        headers = forwarded_headers(call.headers, further, credentials=upstream.settings.forward_client_auth)
        request = UpstreamRequest(path, asked.data, headers, call.query)
        try:
            return await self._client.send_ok(route.target, upstream, request)
        except MessagesError as error:
            if (_is_no_route(error) and path == _MESSAGES) or isinstance(error, BadGatewayError):
                self._probes.doubt(upstream.provider_id)
            logger.warning(
                "upstream failed",
                request_id=call.request_id,
                provider_id=upstream.provider_id,
                status=error.status_code,
                message=error.message[:500],
            )
            raise


def _upstream(route: Route) -> Upstream:
    if route.upstream is None:
        raise TypeError("this route leads to no upstream")
    return route.upstream


def _again(refusal: UpstreamError, body: RequestBody[PromptRequest], route: Route) -> Outgoing | None:
    """Return the changed request for a retry after an error response, None if no change here would help."""
    if refusal.status_code != 400:
        return None
    if _SIGNATURE.search(refusal.message):
        return _outgoing(body, route, all_thinking=True)
    room = window_limit(refusal.message, body)
    return None if room is None else _outgoing(body, route, max_tokens=room)


def _outgoing(
    body: RequestBody[PromptRequest], route: Route, *, all_thinking: bool = False, max_tokens: int | None = None
) -> Outgoing:
    upstream = _upstream(route)
    billing = upstream.settings.strip_billing_header
    strip: Literal["none", "own", "all"] = "all" if all_thinking else "own" if upstream.anthropic else "none"
    return native_request(
        body,
        route.target.resource_id,
        strip_billing=not upstream.anthropic if billing is None else billing,
        strip_thinking=strip,
        max_tokens=max_tokens,
    )


def _is_no_route(error: MessagesError) -> bool:
    """Return whether the upstream lacks the endpoint; for an unknown model it sends an API error body instead."""
    return isinstance(error, UpstreamError) and error.status_code in NO_ROUTE and error.raw is None


def _expect(name: str, data: bytes, upstream: Upstream) -> list[Member]:
    """Return the top-level members of a successful response body; see ``success_members``."""
    if (found := success_members(data, name, upstream.secrets)) is None:
        raise not_a_message(upstream.provider_id)
    return found


def _repaired(data: bytes, model: str, route: Route) -> bytes:
    try:
        return encode_json(repair_message(json.loads(data), model, new_id))
    except MessagesError as error:
        raise redacted_error(error, _upstream(route).secrets) from None
    except (ValueError, RecursionError):
        raise not_a_message(route.target.provider_id) from None


def _reply_headers(response: httpx.Response, asked: Outgoing, route: Route) -> dict[str, str]:
    if asked.dropped:
        logger.info("dropped on the native lane", model=route.target.model_id, dropped=dropped_text(asked.dropped))
    carried = returned_headers(response.headers, own_request_id=_upstream(route).settings.own_request_id)
    return {**carried, **dropped_header(asked.dropped)}
