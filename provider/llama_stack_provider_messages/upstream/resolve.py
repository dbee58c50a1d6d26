"""Resolves the upstream of a model: its address and the credentials for the request."""

from llama_stack_api_messages import MessagesUpstream, SpeaksMessages
from llama_stack_provider_messages.errors.exceptions import translate_failure
from llama_stack_provider_messages.headers import CREDENTIALS
from llama_stack_provider_messages.stack import Target, connection_of

from .address import Upstream
from .settings import NativeSettings

ANTHROPIC_TYPES = frozenset({"remote::anthropic"})


async def declared_by(target: Target) -> MessagesUpstream | None:
    """Return the upstream that a provider declares; None if it declares none.

    Raises:
        MessagesError: The provider's engine does not start.
    """
    if not isinstance(target.provider, SpeaksMessages):
        return None
    try:
        return await target.provider.messages_upstream(target.resource_id)
    except RuntimeError as error:  # an engine did not start
        raise translate_failure(error, target.provider_id) from error


def upstream_of(target: Target, settings: NativeSettings, declared: MessagesUpstream | None) -> Upstream | None:
    """Return the upstream with the credentials of this request; None if no base URL is known.

    Args:
        target: The model.
        settings: The operator's settings, which win.
        declared: The upstream that the provider declares; without it, the provider's base URL and key are used.
    """
    connection = None if declared else connection_of(target.provider)
    base_url = settings.base_url or (declared.base_url if declared else connection.base_url if connection else None)
    if base_url is None:
        return None
    anthropic = _is_anthropic(target, settings, declared)
    headers = (
        dict(declared.headers)
        if declared
        else _credentials(connection.key if connection else None, settings, anthropic)
    )
    own_key = declared.secret if declared else None
    if settings.forward_client_auth:
        headers = {name: value for name, value in headers.items() if name not in CREDENTIALS and value != own_key}
    secret = own_key or headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ") or None
    base_url = base_url.rstrip("/").removesuffix("/v1")
    return Upstream(target.provider_id, base_url, headers, settings, anthropic, secret)


def _is_anthropic(target: Target, settings: NativeSettings, declared: MessagesUpstream | None) -> bool:
    if settings.anthropic is not None:
        return settings.anthropic
    if declared and declared.anthropic is not None:
        return declared.anthropic
    return target.provider_type in ANTHROPIC_TYPES


def _credentials(key: str | None, settings: NativeSettings, anthropic: bool) -> dict[str, str]:
    if key is None:
        return {}
    auth = settings.auth or ("x-api-key" if anthropic else "bearer")
    return {"x-api-key": key} if auth == "x-api-key" else {"authorization": f"Bearer {key}"}
