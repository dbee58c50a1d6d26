"""Translates exceptions into errors of the Messages API: of inference providers, and of our own HTTP requests.

Providers (``translate_failure``) raise what their SDKs raise: openai's tree, httpx's or httpx2's (openai 2 does not
catch them when a connection dies in the middle of a stream), the platform's own, and bare ValueErrors. Our own HTTP
client (``connection_failure``) raises httpx's. The message of an exception reaches the client only without keys and
addresses: through ``translate_error``, or as a message of the platform that contains none. All others go to the log.
"""

import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import openai
from pydantic import ValidationError

from llama_stack_api_messages.error_response import CompletionError
from llama_stack_api_messages.errors import (
    ApiError,
    AuthenticationError,
    BadGatewayError,
    GatewayTimeoutError,
    InvalidRequestError,
    MessagesError,
    NotFoundError,
    PermissionDeniedError,
    error_for_status,
)
from llama_stack_provider_messages.headers import header_secrets
from llama_stack_provider_messages.stack import (
    AccessDeniedError,
    AuthenticationRequiredError,
    ModelNotFoundError,
    ModelTypeError,
    configured_headers,
    get_logger,
)

from .body import REFUSED_KEY, translate_error
from .redaction import redact_body, redact_by_pattern, redact_error, redact_json, redact_text
from .response import unexpected_status

logger = get_logger(__name__)

_UNEXPECTED_BODY = (AttributeError, IndexError, KeyError, RecursionError, TypeError, json.JSONDecodeError, UnicodeError)
"""Raised by the openai SDK and its callers when an upstream responds with 200 and an unexpected body, such as HTML, or
JSON that is nested too deeply."""


class StatusError(Exception):
    """An error response of a chat completions backend; ``translate_failure`` turns it into the client's error.

    Args:
        status: The HTTP status; None if an error came with status 200.
        body: The body, decoded or not.
        headers: The response headers.
    """

    def __init__(self, status: int | None, body: object, headers: Mapping[str, str]) -> None:
        super().__init__(f"the backend answered {status or 'an error with status 200'}")
        self.status_code = status
        self.body = body
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Keys:
    """The API keys of a backend.

    Attributes:
        configured: The operator's key.
        used: The key used for the current request.
        others: Values that look like keys in the headers that the operator configured.
    """

    configured: str | None = field(default=None, repr=False)
    used: str | None = field(default=None, repr=False)
    others: tuple[str, ...] = field(default=(), repr=False)

    @property
    def from_request(self) -> bool:
        """Return whether the request has its own key, in its provider data.

        If the operator's key is refused, the client must not get a 401: it would start a new login, in vain.
        """
        return bool(self.used) and self.used != self.configured

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the keys, which must be redacted."""
        return tuple(filter(None, [self.configured, self.used, *self.others]))


NO_KEYS = Keys()


def keys_of(provider: Any) -> Keys:  # noqa: ANN401 - providers have no common type
    """Return the keys that an inference provider uses for the current request."""
    others = tuple(header_secrets(configured_headers(provider)))
    try:
        used = provider._get_api_key_from_config_or_provider_data()  # noqa: SLF001 - as in ``address_of``
        configured, used = (key if isinstance(key, str) and key else None for key in (provider.get_api_key(), used))
    except (AttributeError, ValueError):  # it has no keys, or no keys per request
        return Keys(others=others)
    return Keys(configured, used, others)


def check_key_and_headers(provider: Any, provider_id: str) -> None:  # noqa: ANN401 - as above
    """Reject a key or a configured header that cannot be sent, before either lane or a probe sends it.

    Raises:
        MessagesError: The key for this request, or a value in ``network.headers``, has a line end, or another character
            that is not printable ASCII.
    """
    keys = keys_of(provider)
    key = keys.used or ""
    what = "" if key.isascii() and key.isprintable() and key == key.strip() else "the key"
    for name, value in configured_headers(provider).items() if not what else ():
        if not (value.isascii() and value.replace("\t", " ").isprintable()):
            what = f"the header '{name}'"
    if not what:
        return
    problem = f"{what} for the backend '{provider_id}' has a line end, or another character that a header cannot carry"
    if what == "the key" and keys.from_request:
        raise InvalidRequestError(f"x-llamastack-provider-data: {problem}; send the key without it")
    raise ApiError(f"In the configuration, {problem}; its operator has to correct it", retryable=False)


def translate_failure(error: Exception, provider_id: str, keys: Keys = NO_KEYS, *, model: str = "") -> MessagesError:
    """Return the client's error for a failed call of an inference provider; log the cause.

    Args:
        error: The exception that the call raised.
        provider_id: Id of the inference provider, which the message may show.
        keys: The keys of the backend; redacted, because its messages may contain them.
        model: The backend's name of the model, for the log.
    """
    translated = error if isinstance(error, MessagesError) else _translate(error, provider_id, keys.secrets)
    failure = redact_error(translated, keys.secrets)
    status = getattr(error, "status_code", None)
    if keys.from_request and status in REFUSED_KEY and type(failure) is ApiError:
        failure = error_for_status(status)(
            f"The backend '{provider_id}' refused the key in x-llamastack-provider-data; check it, or leave it out"
        )
    logger.warning(
        "upstream failed",
        provider_id=provider_id,
        model=model,
        status=failure.status_code,
        kind=type(error).__name__,
        cause=redact_by_pattern(redact_text(str(error.__cause__ or error), keys.secrets))[:500],
    )
    return failure


def _translate(error: Exception, provider_id: str, secrets: tuple[str, ...]) -> MessagesError:
    """Return the error for an exception of an SDK, of the platform, or of validation."""
    if isinstance(error, openai.APIStatusError | StatusError | CompletionError):
        return _translate_response(error, provider_id, secrets)
    if isinstance(error, openai.APITimeoutError) or _is_a(error, "TimeoutException"):
        return GatewayTimeoutError(f"The backend '{provider_id}' did not answer in time")
    if isinstance(error, openai.APIConnectionError) or _is_a(error, "TransportError"):
        return BadGatewayError(f"The connection to the backend '{provider_id}' failed")
    if isinstance(error, openai.APIError):
        return translate_error(None, redact_json(error.body or error.message, secrets))
    if isinstance(error, AccessDeniedError | PermissionError):
        return PermissionDeniedError("The stack's access rules do not allow this; ask its operator")
    if isinstance(error, AuthenticationRequiredError):
        return AuthenticationError("This stack requires authentication; send valid credentials")
    if isinstance(error, ModelNotFoundError):
        return NotFoundError(f"model: {redact_by_pattern(str(error))}")
    if isinstance(error, ModelTypeError):
        return InvalidRequestError(str(error))
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return InvalidRequestError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")
    return _translate_other(error, provider_id)


def _translate_response(
    error: openai.APIStatusError | StatusError | CompletionError, provider_id: str, secrets: tuple[str, ...]
) -> MessagesError:
    if failure := unexpected_status(error.status_code, provider_id):
        return failure
    body = redact_body(error.body, secrets) if isinstance(error.body, bytes) else redact_json(error.body, secrets)
    headers = error.response.headers if isinstance(error, openai.APIStatusError) else error.headers
    return translate_error(error.status_code, body, headers, now=datetime.now(UTC))


def _translate_other(error: Exception, provider_id: str) -> MessagesError:
    """Return the error for an exception that no class tells apart: built-in ones, and those of other SDKs."""
    if isinstance(error, _UNEXPECTED_BODY):
        return BadGatewayError(f"The backend '{provider_id}' did not answer with a chat completion")
    if isinstance(error, ValueError):
        text = redact_by_pattern(str(error))
        if text.startswith("API key not provided"):
            return AuthenticationError(text)
        return translate_error(InvalidRequestError.status_code, text)
    if isinstance(error, NotImplementedError):
        return InvalidRequestError(f"The backend '{provider_id}' does not serve chat completions")
    if isinstance(status := getattr(error, "status_code", None), int):
        return translate_error(status, str(error))
    return ApiError(f"The backend '{provider_id}' failed: {type(error).__name__}")


def _is_a(error: Exception, name: str) -> bool:
    """Return whether an exception is of this httpx class; httpx2 has the same names, and either may be missing."""
    return any(cls.__name__ == name and cls.__module__.startswith("httpx") for cls in type(error).__mro__)


def connection_failure(error: Exception, provider_id: str) -> MessagesError:
    """Return the error for a failed HTTP exchange; its message contains no addresses.

    Args:
        error: The exception of httpx.
        provider_id: Id of the upstream's provider, for the message.
    """
    backend = f"The backend '{provider_id}'"
    if isinstance(error, httpx.PoolTimeout):
        return GatewayTimeoutError(f"{backend} has no connection free; try again")
    if isinstance(error, httpx.TimeoutException):
        return GatewayTimeoutError(f"{backend} did not answer in time")
    if isinstance(error, httpx.ConnectError):
        return BadGatewayError(f"{backend} cannot be reached: {_connect_failure(error)}")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return BadGatewayError(f"{backend} cannot be reached: its base URL is not a valid URL", retryable=False)
    if isinstance(error, httpx.DecodingError):
        return BadGatewayError(f"{backend} sent a body that does not match its content-encoding")
    if isinstance(error, httpx.ProxyError):
        return BadGatewayError(f"{backend} cannot be reached: the proxy refused")
    return BadGatewayError(f"{backend} broke the connection before its answer was complete")


def _connect_failure(error: BaseException | None) -> str:
    """Return why a connection could not be made, by the causes of an exception."""
    while error:
        if isinstance(error, socket.gaierror):
            return "its host name is not known"
        if isinstance(error, ssl.SSLError):
            return "TLS failed; check its certificate and the network settings of the provider"
        if isinstance(error, ConnectionRefusedError):
            return "it refused the connection; is it running?"
        error = error.__cause__ or error.__context__
    return "no connection"
