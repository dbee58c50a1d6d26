"""Scans a tape for credentials before it is saved.

Scrubbing has already replaced the secrets that were sent as such. The scan finds the rest: keys in prompts and
responses, and secrets in another encoding. A finding names the place and the kind of a value, never the value.

A key may also be inside base64, hex or gzip: each text is scanned again with these undone once (``encoded.py``).

A key may be split over chunks by the connection, or over events by the model: ``sk-01`` and ``23456789`` in two deltas.
Therefore a response is scanned twice: as its joined bytes, and as the joined texts of its events. Every text is also
scanned with its escapes and percent-encoding decoded.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from messages_tape.format.json_values import Path, dotted, leaves
from messages_tape.format.model import Exchange, Tape
from messages_tape.reading.responses import Document, body_of, documents

from .encoded import decoded_parts, decompressed
from .secret_values import SecretValues

_WORD = r"[A-Za-z0-9_-]"
CREDENTIALS = {
    "a key that begins with sk-": rf"sk-{_WORD}{{12,}}|[sr]k_(?:live|test)_{_WORD}{{12,}}",
    "a key of a model provider": r"(?:gsk_|csk-|nvapi-|pplx-|xai-|r8_|tgp_v1_|fw_|hf_)[A-Za-z0-9_-]{20,}",
    "a Google key": r"AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}",
    "an AWS key": r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "a GitHub token": r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}",
    "a token of a service": r"glpat-[A-Za-z0-9_-]{16,}|xox[abeprs]-[A-Za-z0-9-]{10,}|pypi-[A-Za-z0-9_-]{30,}"
    r"|npm_[A-Za-z0-9]{30,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|tvly-(?=[A-Za-z-]*[0-9])[A-Za-z0-9-]{20,}",
    "a JSON web token": r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}",
    "an Azure key": r"[A-Za-z0-9]{52}JQQJ9[9D][A-Za-z0-9]{26}(?![A-Za-z0-9])",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
"""Kind of credential -> its pattern. A match directly after a letter or digit is part of another word and ignored."""
_CREDENTIAL = re.compile(
    rf"(?=[A-Za-z0-9-])(?<!{_WORD})(?:{'|'.join(f'(?:{pattern})' for pattern in CREDENTIALS.values())})"
)
"""It begins with the characters that a match can begin with, as do the longer patterns below: ten times faster."""
_KINDS = {kind: re.compile(pattern) for kind, pattern in CREDENTIALS.items()}

_ESCAPED = re.compile(r"\\+(?:[nrtbf]|u00[01][0-9A-Fa-f])")
"""Escaped white space in JSON, also nested. The letter of the escape (n, r, t) is not part of the following word."""
_ESCAPED_CHARACTER = re.compile(r"\\+(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))")
"""Escaped characters of JSON, JavaScript and Python, also nested."""
_BEARER = re.compile(r"(?i)\bbearer\s+((?=\S*[0-9])[A-Za-z0-9._~+/=-]{16,})")
_IN_ADDRESS = re.compile(r"[a-z]://[^/\s:@\"'\\]+:([^/\s:@\"'\\]{3,})@")
_ASSIGNED = re.compile(
    r"(?=[acprsACPRS])(?i:api[_-]?key|(?:access|auth|api|refresh|session)[_-]?token|(?:secret|access|private)[_-]?key"
    r"|client[_-]?secret|password|passwd|authorization)\\*[\"']?\s*[:=]\s*\\*[\"']?((?=[^\s\"'\\]*[0-9])[A-Za-z0-9_./+~=-]{12,})"
)
_NAMED = re.compile(
    r"(?=[acfpsACFPS])(?i:(?:api|access|secret|subscription|account|function|auth|private|shared)[ _-]?"
    r"(?:key|token|secret)|\bsecret|\bpassword|\bcredentials?|\baws)(?:\W{1,6}(?i:is|was|value|of|for))?\W{1,6}"
    r"([0-9A-Fa-f]{32}|(?=[a-z0-9/+]*[A-Z])(?=[A-Z0-9/+]*[a-z])(?=[A-Za-z/+]*[0-9])[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=_-])"
)
"""Keys without a prefix, directly after the name of a key: 32 hex digits (Azure and others), 40 characters (AWS)."""
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+=_.-])((?=[A-Za-z0-9]*[/+])[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=_.-])")
_CLASSES = re.compile(r"[a-z]+|[A-Z]+|[0-9]+|[/+]+")
_MIN_RANDOM_CHANGES = 18
"""Changes between the four classes in 40 characters: 25 on average if they are random, at most 15 in paths."""
_VALUES = {
    "a bearer token": _BEARER,
    "an address with a password": _IN_ADDRESS,
    "a value given as a key": _ASSIGNED,
    "a value after the name of a key": _NAMED,
    "a secret key of AWS": _AWS_SECRET,
}
_PLACEHOLDER = re.compile(r"(?i)redacted|your[_-]|x{6}|\*{4}")

_SECRET_FIELD = re.compile(
    r"(?:apikey|subscriptionkey|accountkey|apitoken|authtoken|accesstoken|refreshtoken|sessiontoken|bearertoken|authorizationtoken|authorization"
    r"|password|passwd|passphrase|secret|secretkey|secretaccesskey|privatekey|accesskey|credential)s?$"
)
"""Names of JSON fields for secrets, without separators.

Headers (``secret_values.py``), query parameters (``scrub.py``) and assignments in text (``_ASSIGNED``) have patterns of
their own, because a name means different things in them: ``key`` and ``token`` are secrets in a header or a query, but
ordinary fields in a body; and in text only the long names are clear enough.
"""
_INNER_FIELD = re.compile(r"token|value|key")
_OUTER_FIELD = re.compile(r"auth|authorization|credentials?")
_LIKE_A_KEY = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])\S{8,}")
_MIN_FIELD_CHARACTERS = 4


def is_secret_field(name: str | int) -> bool:
    """Return whether the name of a JSON field is that of a secret."""
    return isinstance(name, str) and bool(_SECRET_FIELD.search(re.sub(r"[\s_-]", "", name.lower())))


def is_secret_path(path: Path) -> bool:
    """Return whether a leaf of a JSON body is a secret, judged by its key or by its key and the parent's."""
    names = [str(step).lower() for step in path if isinstance(step, str)]
    if not names:
        return False
    inner = len(names) > 1 and bool(_INNER_FIELD.fullmatch(names[-1]) and _OUTER_FIELD.fullmatch(names[-2]))
    return is_secret_field(names[-1]) or names[-1] in ("cookie", "set-cookie") or inner


def is_secret_leaf(path: Path, leaf: object) -> bool:
    """Return whether a leaf is a secret, judged by its path and value.

    Below a field for secrets every value that looks like a key is a secret. Plain words are not, nor are the
    descriptions of a JSON Schema property with such a name.
    """
    above = any(
        is_secret_field(step) and "properties" not in path[max(0, place - 1) : place]
        for place, step in enumerate(path[:-1])
    )
    return is_secret_path(path) or (above and isinstance(leaf, str) and bool(_LIKE_A_KEY.fullmatch(leaf)))


def credentials_in(text: str, secret_values: SecretValues, harmless: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the kind and length of each value in a text that looks like a credential; never the value itself.

    The text is searched as it is, and with base64, hex and gzip undone once.
    """
    plain = list(_credentials_in(text, secret_values, harmless))
    yield from plain
    known = set(plain)
    for encoding, decoded in decoded_parts(text):
        for kind in _credentials_in(decoded, secret_values, harmless):
            if (finding := f"{kind}, in {encoding}") not in known:
                known.add(finding)
                yield finding


def _credentials_in(text: str, secret_values: SecretValues, harmless: frozenset[str]) -> Iterator[str]:
    """Yield the findings in a text as it is, and with its escapes decoded."""
    forms = [text]
    if "\0" in text:
        forms.append(text.replace("\0", ""))  # UTF-16
    if "\\" in text:
        spaced = _ESCAPED.sub(" ", text)
        decoded = _ESCAPED_CHARACTER.sub(lambda found: chr(int(found[1] or found[2], 16)), spaced)
        forms += dict.fromkeys(form for form in (spaced, decoded) if form != text)
    traces = secret_values.traces
    if traces and (found := next(filter(None, map(traces.search, forms)), None)):
        yield f"a value that a request sent as a secret ({len(found[0])} characters)"
    kinds: dict[str, None] = {}
    for form in forms:
        for found in _CREDENTIAL.finditer(form):
            if not _is_harmless(found[0], harmless):
                kind = next(kind for kind, pattern in _KINDS.items() if pattern.match(found[0]))
                kinds[f"{kind} ({len(found[0])} characters)"] = None
        for kind, pattern in _VALUES.items():
            for found in pattern.finditer(form):
                is_secret = pattern is not _AWS_SECRET or len(_CLASSES.findall(found[1])) > _MIN_RANDOM_CHANGES
                if is_secret and not _is_harmless(found[1], harmless):
                    kinds[f"{kind} ({len(found[1])} characters)"] = None
    yield from kinds


def _is_harmless(value: str, harmless: frozenset[str]) -> bool:
    return value in harmless or bool(_PLACEHOLDER.search(value))


def hide(text: str) -> str:
    """Return a text for display, with values that look like credentials replaced by ``REDACTED``."""
    return _CREDENTIAL.sub("REDACTED", text)


def scan(tape: Tape, secret_values: SecretValues | None = None, harmless: frozenset[str] = frozenset()) -> list[str]:
    """Return the places that look like credentials, such as ``exchange 2, response body: ...``; empty if clean.

    Args:
        tape: The scrubbed tape.
        secret_values: The secrets that the requests of this recording sent.
        harmless: Values that look like credentials but are not secret.
    """
    values = secret_values or SecretValues()
    found: dict[str, None] = {}
    for name, exchanges in (("exchange", tape.exchanges), ("ambient exchange", tape.ambient)):
        for number, exchange in enumerate(exchanges, 1):
            found |= {f"{name} {number}, {line}": None for line in _scan_exchange(exchange, values, harmless)}
    rest = tape.model_copy(update={"exchanges": (), "ambient": ()}).model_dump()
    for path, text in leaves(rest):
        found |= {f"{dotted(path)}: {kind}": None for kind in credentials_in(str(text), values, harmless)}
    return list(found)


def scan_text(
    text: str, secret_values: SecretValues | None = None, harmless: frozenset[str] = frozenset()
) -> list[str]:
    """Return the places in the text of a file, by line; this covers text outside the model, such as comments."""
    values = secret_values or SecretValues()
    lines = enumerate(text.split("\n"), 1)
    return [f"line {number}: {kind}" for number, line in lines for kind in credentials_in(line, values, harmless)]


def _scan_exchange(exchange: Exchange, secret_values: SecretValues, harmless: frozenset[str]) -> Iterator[str]:
    request, response = exchange.request, exchange.response
    places = [("request path", request.path), ("request query", request.query)]
    places += [(f"request header {name}", value) for name, value in request.headers.items()]
    if request.body and request.body.form == "json":
        found = [*leaves(request.body.value)]
        places += [(f"request body, {dotted(path)}", str(value)) for path, value in found]
        places.append(("request body, its keys", "\n".join({str(key): None for path, _ in found for key in path})))
        yield from _secret_fields("request", found)
    elif request.body:
        value = request.body.value
        places.append(("request body", value if isinstance(value, str) else _body_text(value)))
    places.append(("end", exchange.end.message))
    if response:
        events = documents(response)
        places += [(f"response header {name}", value) for name, value in response.headers.items()]
        places.append(("response body", _body_text(body_of(response))))
        places += [(f"response body, {path} joined", text) for path, text in joined_texts(events).items()]
        yield from _secret_fields("response", (leaf for event in events for leaf in leaves(event.value)))
    for side, headers in (("request", request.headers), ("response", response.headers if response else {})):
        if headers.get("content-encoding", "identity") != "identity":
            yield f"{side} body: cannot be scanned, it is compressed with {headers['content-encoding']}"
    for place, text in places:
        for form in dict.fromkeys([text, unquote(text)]):
            kinds = credentials_in(form, secret_values, harmless)
            yield from (f"{secret_values.blank(hide(place))}: {kind}" for kind in kinds)


def _body_text(body: bytes) -> str:
    """Return the text of a body, decompressed if it is gzip, whatever its headers say."""
    return (decompressed(body) or body).decode("utf-8", "replace")


def _secret_fields(side: str, found: Iterable[tuple[Path, object]]) -> Iterator[str]:
    """Yield the fields of a JSON body that are named like a secret and contain a text."""
    for path, value in found:
        if not path or not is_secret_field(path[-1]) or not isinstance(value, str):
            continue
        if len(value) >= _MIN_FIELD_CHARACTERS and not _PLACEHOLDER.search(value):
            yield f"{side} body, {hide(dotted(path))}: a field for secrets with {len(value)} characters in it"


def joined_texts(events: Iterable[Document]) -> dict[str, str]:
    """Return the joined texts of documents by path: all deltas of a content block become one text."""
    texts: dict[str, list[str]] = defaultdict(list)
    for event in events:
        for path, text in _texts(event.value, ()):
            texts[dotted(path)].append(text)
    return {path: "".join(parts) for path, parts in texts.items()}


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:  # noqa: ANN401 - any JSON value
    """Yield path and value of each string; ``index``, not the position in a list, identifies an item across events."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, path)
    elif isinstance(value, dict):
        at = value.get("index")
        path = (*path, at) if isinstance(at, int) else path
        for key, item in value.items():
            yield from _texts(item, (*path, key))
