"""The native lane: passes the client's bytes to an upstream that speaks the Messages API, and its bytes back.

The upstream gets the client's body with a few members edited in place (``request.py``). Its response goes back
unchanged except for the model name, or repaired if the operator configured that. For two errors of an upstream the
request is changed and sent once more: a rejected signature of a thinking block, and a ``max_tokens`` above the context
window.
"""

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
from llama_stack_provider_messages.errors.redaction import redact_error
from llama_stack_provider_messages.errors.response import not_a_message, success_members
from llama_stack_provider_messages.headers import COUNT_HEADER, forwarded_headers, returned_headers
from llama_stack_provider_messages.routing.lanes import Lane, NativeRoute, TranslatedRoute
from llama_stack_provider_messages.routing.probe import Probes
from llama_stack_provider_messages.stack import Platform, Target, get_logger
from llama_stack_provider_messages.translation.dropped import dropped_header, dropped_text
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import estimate_json
from llama_stack_provider_messages.upstream.address import Upstream
from llama_stack_provider_messages.upstream.client import (
    UpstreamClient,
    UpstreamRequest,
    is_event_stream,
    read_body,
    read_error_body,
)
from llama_stack_provider_messages.upstream.metrics import RequestMetrics, log_failure
from llama_stack_provider_messages.upstream.state import Cooldown

from .model_name import ModelNameRewriter, with_client_model
from .observer import usage_of
from .repair import StreamRepair, repair_message
from .request import PROMPT_FIELDS, Outgoing, native_request, retry_max_tokens
from .stream import relayed, repaired

logger = get_logger(__name__)

_PROBE_SECONDS = 8.0
"""Timeout of a probe. The first request waits for it, so it is shorter than the ten seconds until the first ping."""
_MESSAGES, _COUNT = "/v1/messages", "/v1/messages/count_tokens"
_SIGNATURE = re.compile(r"signature.{0,60}thinking|thinking.{0,60}signature", re.IGNORECASE | re.DOTALL)
"""``Invalid `signature` in `thinking` block``: a signature of another model or organisation, or an invented one
(codex2api 613)."""


class NativeLane:
    """Serves requests through the Messages API of the backend itself.

    Args:
        platform: Records the metrics.
        client: Sends requests to upstreams.
        probes: The probe results; an unexpected failure shortens their lifetime.
        translated: Counts tokens if the upstream cannot.
    """

    def __init__(
        self, platform: Platform, client: UpstreamClient, probes: Probes, translated: Lane[TranslatedRoute]
    ) -> None:
        self._platform = platform
        self._client = client
        self._probes = probes
        self._translated = translated
        self._without_counter = Cooldown()

    async def reply(
        self, body: RequestBody[CreateMessageRequest], call: Call, route: NativeRoute
    ) -> MessageReply | StreamReply:
        """Return the upstream's reply; a stream once the upstream has accepted the request."""
        upstream, repair = route.upstream, route.upstream.settings.repair
        metrics = RequestMetrics(self._platform, route.target, call, stream=body.stream)
        try:
            response, sent = await self._send_with_retry(_MESSAGES, body, call, route)
            if not body.stream:
                data = await read_body(response, upstream.provider_id)
                found = _expect("content", data, upstream)
                metrics.end(usage_of(data, found), success=True)
            else:
                await _expect_events(response, upstream)
        except MessagesError as error:
            metrics.fail(error)
            raise
        except BaseException:
            metrics.end({}, success=False)
            raise

        headers = _reply_headers(response, sent, route)
        if not body.stream:
            message = _repaired(data, body.model, route) if repair else with_client_model(data, found, body.model)
            return MessageReply(message, headers)
        if repair:
            frames = repaired(response, StreamRepair(body.model, new_id, call.request_id), metrics, upstream)
        else:
            frames = relayed(response, ModelNameRewriter(body.model), metrics, upstream)
        await anext(frames)  # starts the generator (its first item is empty), so that closing it closes the response
        return StreamReply(frames, headers, relayed=not repair)

    async def _send_with_retry(
        self, path: str, body: RequestBody[Any], call: Call, route: NativeRoute
    ) -> tuple[httpx.Response, Outgoing]:
        """Return the upstream's response and the accepted request, after one retry with a changed request if needed."""
        request = _edited_request(body, route)
        try:
            return await self._send(path, request, call, route), request
        except UpstreamError as error:
            changed = _changed_request(error, body, route)
            if changed is None or changed.data == request.data:
                raise
            logger.info(
                "retrying with a changed request",
                request_id=call.request_id,
                dropped=dropped_text(changed.dropped),
                upstream_error=error.message,
            )
            return await self._send(path, changed, call, route), changed

    async def _send(self, path: str, sent: Outgoing, call: Call, route: NativeRoute) -> httpx.Response:
        """Return the upstream's successful response; after a failure, probe again soon if the lane may be wrong."""
        upstream = route.upstream
        further = frozenset(name.lower() for name in upstream.settings.forward_headers)
        headers = forwarded_headers(call.headers, further, credentials=upstream.settings.forward_client_auth)
        request = UpstreamRequest(path, sent.data, headers, call.query)
        try:
            return await self._client.send_ok(route.target, upstream, request)
        except MessagesError as error:
            if (_is_no_route(error) and path == _MESSAGES) or isinstance(error, BadGatewayError):
                self._probes.recheck_soon(upstream.provider_id)
            raise

    async def count(self, body: RequestBody[CountTokensRequest], call: Call, route: NativeRoute) -> MessageReply:
        """Return the upstream's own token count, or an estimate if it has no such endpoint."""
        model = (route.target.provider_id, route.target.resource_id)
        if self._without_counter.active(model):
            return await self._estimate(body, call, route)
        try:
            response, _ = await self._send_with_retry(_COUNT, body, call, route)
            data = await read_body(response, route.target.provider_id)
            _expect("input_tokens", data, route.upstream)
        except MessagesError as error:
            log_failure(error, route.target, call)
            if not _is_no_route(error):
                raise
            self._without_counter.start(model)
            return await self._estimate(body, call, route)
        headers = returned_headers(response.headers, own_request_id=route.upstream.settings.own_request_id)
        return MessageReply(data, {**headers, COUNT_HEADER: "exact"})

    async def _estimate(self, body: RequestBody[CountTokensRequest], call: Call, route: NativeRoute) -> MessageReply:
        """Return the token count of the translated request; if it cannot be translated, estimate from its JSON."""
        try:
            reply = await self._translated.count(body, call, TranslatedRoute(route.target, route.reason))
        except InvalidRequestError:
            places = dict(body.members)
            if "messages" not in places:
                raise
            parts = [body.data[slice(*places[name])] for name in PROMPT_FIELDS if name in places]
            reply = MessageReply(encode_json({"input_tokens": sum(map(estimate_json, parts))}))
        return MessageReply(reply.body, {**reply.headers, COUNT_HEADER: "estimate"})

    async def probe(self, target: Target, upstream: Upstream) -> tuple[int, bytes]:
        """Probe an upstream for a Messages API; return status and body of its response; status 0 without a response."""
        request = UpstreamRequest(_MESSAGES, b"{}", forwarded_headers({}, frozenset(), credentials=False), short=True)
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                response = await self._client.send(target, upstream, request)
                return response.status_code, await read_error_body(response)
        except (MessagesError, TimeoutError) as error:
            logger.info("probe failed", provider_id=upstream.provider_id, reason=str(error))
            return 0, b""

    async def close(self) -> None:
        """Close the connections."""
        await self._probes.close()
        await self._client.close()


def _changed_request(error: UpstreamError, body: RequestBody[PromptRequest], route: NativeRoute) -> Outgoing | None:
    """Return the changed request for a retry after an error response, None if no change here would help."""
    if error.status_code != 400:
        return None
    if _SIGNATURE.search(error.message):
        return _edited_request(body, route, all_thinking=True)
    room = retry_max_tokens(error.message, body)
    return None if room is None else _edited_request(body, route, max_tokens=room)


def _edited_request(
    body: RequestBody[PromptRequest], route: NativeRoute, *, all_thinking: bool = False, max_tokens: int | None = None
) -> Outgoing:
    upstream = route.upstream
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


async def _expect_events(response: httpx.Response, upstream: Upstream) -> None:
    """Raise an error if a response is not an event stream: the one in its body, if it has one."""
    if not is_event_stream(response):
        _expect("content", await read_body(response, upstream.provider_id), upstream)
        raise not_a_message(upstream.provider_id)


def _repaired(data: bytes, model: str, route: NativeRoute) -> bytes:
    try:
        return encode_json(repair_message(json.loads(data), model, new_id))
    except MessagesError as error:
        raise redact_error(error, route.upstream.secrets) from None
    except (ValueError, RecursionError):
        raise not_a_message(route.target.provider_id) from None


def _reply_headers(response: httpx.Response, sent: Outgoing, route: NativeRoute) -> dict[str, str]:
    if sent.dropped:
        logger.info("dropped on the native lane", model=route.target.model_id, dropped=dropped_text(sent.dropped))
    carried = returned_headers(response.headers, own_request_id=route.upstream.settings.own_request_id)
    return {**carried, **dropped_header(sent.dropped)}
