"""Translates tool names and tool call ids into forms that backends accept, and back.

Both directions are pure functions of the name or id: no state is kept between requests, and a prompt stays the same
from turn to turn.

    client's tool name   -> unchanged, or a prefix of it plus a hash if a backend would reject it
    toolset member       -> ``computer__left_click``
    backend's call id    -> unchanged, or wrapped if the Messages API would reject it; unwrapped when it comes back
    client's call id     -> unchanged, or a hash if the backend requires another form of ids
"""

import re
from base64 import b32encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

type IdForm = Literal["any", "short", "nine"]
"""See ``Profile.call_ids``."""

TOOLSET_NAMES = ("computer", "browser")
"""Values of ``toolset_name`` on the calls of toolset members."""

MAX_NAME_CHARACTERS = 64
"""OpenAI's limit for function names, in characters; the Messages API allows 128."""

_VALID = re.compile(r"[a-zA-Z0-9_-]+")
_VALID_NAME = re.compile(rf"[a-zA-Z0-9_-]{{1,{MAX_NAME_CHARACTERS}}}")
_DIGEST_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class ClientName:
    """The client's name of a tool.

    Args:
        name: The tool's name, or the name of a toolset member.
        toolset: The toolset of a member.
    """

    name: str
    toolset: str | None = None


def backend_name(name: str, toolset: str | None = None) -> str:
    """Return the backend's name for a client's tool or for a toolset member.

    ``computer.left_click``, the form in references and from older clients, also names a member: no other name has a
    dot.
    """
    if toolset is None:
        head, _, member = name.partition(".")
        if member and head in TOOLSET_NAMES:
            name, toolset = member, head
    whole = f"{toolset}__{name}" if toolset else name
    if _VALID_NAME.fullmatch(whole):
        return whole
    beginning = re.sub(r"[^a-zA-Z0-9_-]", "_", whole)[: MAX_NAME_CHARACTERS - _DIGEST_CHARACTERS - 1]
    return f"{beginning}_{_hash(whole)[:_DIGEST_CHARACTERS]}"


_WRAPPED_PREFIX = "toolu_up_"
_MAX_ID_CHARACTERS = 8192
"""LiteLLM packs Gemini's thought signatures into ids; ids of 4572 characters occur (tau2-bench 559)."""


def client_id(upstream_id: str) -> str:
    """Return the client's id for a backend's call id; ``""`` when the id is unusable.

    The Messages API allows letters, digits, ``_`` and ``-``. Any other id is wrapped reversibly: Kimi's template prints
    ``functions.name:0`` from the history, and a model that sees another form there stops calling tools
    (llxprt-code 713, exo 2281). An id that is too long to wrap becomes a hash.
    """
    if len(upstream_id) > _MAX_ID_CHARACTERS:
        return f"toolu_{_hash(upstream_id)[:32]}"
    if not upstream_id or (_VALID.fullmatch(upstream_id) and not upstream_id.startswith(_WRAPPED_PREFIX)):
        return upstream_id
    try:
        return _WRAPPED_PREFIX + urlsafe_b64encode(upstream_id.encode()).decode().rstrip("=")
    except UnicodeEncodeError:
        return ""


def backend_id(call_id: str, form: IdForm = "any") -> str:
    """Return the backend's id for a client's call id: the backend's original id if ``client_id`` wrapped it."""
    return fitting_id(_unwrapped(call_id), form)


def fitting_id(call_id: str, form: IdForm) -> str:
    """Return an id in the form a backend accepts, the same for the call and its result.

    OpenAI allows 40 characters (autogen 6377, camel 2215), Mistral exactly nine letters and digits (its error 3280).
    """
    if form == "any" or _FORMS[form].fullmatch(call_id):
        return call_id
    if form == "nine":
        return b32encode(bytes.fromhex(_hash(call_id))).decode()[:9].lower()
    return f"call_{_hash(call_id)[:32]}"


_FORMS: dict[str, re.Pattern[str]] = {
    "short": re.compile(r".{0,40}", re.DOTALL),
    "nine": re.compile(r"[a-zA-Z0-9]{9}"),
}


def _unwrapped(call_id: str) -> str:
    """Return the id that ``client_id`` wrapped; an id that only looks wrapped is returned unchanged."""
    if not call_id.startswith(_WRAPPED_PREFIX):
        return call_id
    payload = call_id.removeprefix(_WRAPPED_PREFIX)
    try:
        original = urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
    except ValueError:
        return call_id
    return original if client_id(original) == call_id else call_id


def _hash(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()
