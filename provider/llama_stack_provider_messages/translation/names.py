"""Names of tools and ids of calls, as a backend can take them, and back.

Both directions are pure functions of the name or id, so that nothing has to be remembered between requests and a
prompt stays the same from turn to turn.

    tool of the client   -> itself, or its beginning and a hash where a backend would refuse it
    member of a toolset  -> ``computer__left_click``
    id of a backend      -> itself, or wrapped where the Messages API would refuse it; unwrapped when it comes back
    id of a client       -> itself, or a hash where the backend's form of ids is another
"""

import re
from base64 import b32encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

type IdForm = Literal["any", "short", "nine"]
"""See ``Profile.call_ids``."""

TOOLSET_NAMES = ("computer", "browser")
"""What the members of a toolset carry as ``toolset_name``."""

LONGEST_NAME = 64
"""OpenAI's limit for names of functions; the Messages API takes 128 characters."""

_LEGAL = re.compile(r"[a-zA-Z0-9_-]+")
_DIGEST = 12


@dataclass(frozen=True, slots=True)
class ClientName:
    """A tool as the client knows it.

    Args:
        name: Its name, or that of a toolset's member.
        toolset: The toolset the member belongs to.
    """

    name: str
    toolset: str | None = None


def backend_name(name: str, toolset: str | None = None) -> str:
    """Return the name a backend gets for a tool of the client, or for a member of a toolset.

    ``computer.left_click``, as references and older clients write it, is that member too: no other name holds a dot.
    """
    head, _, member = name.partition(".")
    if toolset is None and member and head in TOOLSET_NAMES:
        name, toolset = member, head
    whole = f"{toolset}__{name}" if toolset else name
    if len(whole) <= LONGEST_NAME and _LEGAL.fullmatch(whole):
        return whole
    beginning = re.sub(r"[^a-zA-Z0-9_-]", "_", whole)[: LONGEST_NAME - _DIGEST - 1]
    return f"{beginning}_{_hash(whole)[:_DIGEST]}"


_WRAPPED = "toolu_up_"
_LONGEST_ID = 8192
"""LiteLLM packs Gemini's thought signatures into ids, which were seen with 4572 characters (tau2-bench 559)."""


def client_id(upstream_id: str) -> str:
    """Return the id a client gets for a backend's; ``""`` when none can be made of it.

    The Messages API wants letters, digits, ``_`` and ``-``. Any other id is wrapped so that it can be read back:
    Kimi's template prints ``functions.name:0`` from the history, and a model that sees another form there calls no
    tools any more (llxprt-code 713, exo 2281). One that is too long to be carried along becomes a hash.
    """
    if len(upstream_id) > _LONGEST_ID:
        return f"toolu_{_hash(upstream_id)[:32]}"
    if not upstream_id or (_LEGAL.fullmatch(upstream_id) and not upstream_id.startswith(_WRAPPED)):
        return upstream_id
    try:
        return _WRAPPED + urlsafe_b64encode(upstream_id.encode()).decode().rstrip("=")
    except UnicodeEncodeError:
        return ""


def backend_id(call_id: str, form: IdForm = "any") -> str:
    """Return the id a backend gets for a client's: its own one, where the client got it from there."""
    return fitting_id(_unwrapped(call_id), form)


def fitting_id(call_id: str, form: IdForm) -> str:
    """Return an id in the form a backend takes, the same for the call and its result.

    OpenAI takes 40 characters (autogen 6377, camel 2215), Mistral exactly nine letters and digits (its error 3280).
    """
    if _FORMS[form].fullmatch(call_id):
        return call_id
    if form == "nine":
        return b32encode(bytes.fromhex(_hash(call_id))).decode()[:9].lower()
    return f"call_{_hash(call_id)[:32]}"


_FORMS: dict[str, re.Pattern[str]] = {
    "any": re.compile(r".*", re.DOTALL),
    "short": re.compile(r".{0,40}", re.DOTALL),
    "nine": re.compile(r"[a-zA-Z0-9]{9}"),
}


def _unwrapped(call_id: str) -> str:
    """Return what ``client_id`` wrapped; an id that only looks like it stays."""
    if not call_id.startswith(_WRAPPED):
        return call_id
    payload = call_id.removeprefix(_WRAPPED)
    try:
        original = urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
    except ValueError:
        return call_id
    return original if client_id(original) == call_id else call_id


def _hash(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()
