"""Scans a tape for credentials before it is saved.

Scrubbing has already replaced the known secrets. The scan finds the rest: keys in prompts and responses. A key may be
split over chunks by the connection, or over events by the model. Therefore a response is scanned twice: as its joined
bytes, and as the joined texts of its events.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from messages_tape.format.json_values import Path, dotted, leaves
from messages_tape.format.model import Exchange, Request, Response, Tape
from messages_tape.reading.responses import Document, body_of, documents

from .known import SecretValues

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
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
"""Kind of credential -> its pattern. A match directly after a letter or digit is part of another word and ignored."""
_LOOKS = re.compile(rf"(?<!{_WORD})(?:{'|'.join(f'(?:{pattern})' for pattern in CREDENTIALS.values())})")
_NAMES = {name: re.compile(pattern) for name, pattern in CREDENTIALS.items()}

_ESCAPED = re.compile(r"\\+(?:[nrtbf]|u00[01][0-9A-Fa-f])")
"""Escaped white space in JSON, also nested. The letter of the escape (n, r, t) is not part of the following word."""
_ESCAPED_CHARACTER = re.compile(r"\\+(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))")
"""Escaped characters of JSON, JavaScript and Python, also nested."""
_BEARER = re.compile(r"(?i)\bbearer\s+((?=\S*[0-9])[A-Za-z0-9._~+/=-]{16,})")
_IN_ADDRESS = re.compile(r"[a-z]://[^/\s:@\"'\\]+:([^/\s:@\"'\\]{3,})@")
_ASSIGNED = re.compile(
    r"(?i)(?:api[_-]?key|(?:access|auth|api|refresh|session)[_-]?token|(?:secret|access|private)[_-]?key|client[_-]?secret"
    r"|password|passwd|authorization)\\*[\"']?\s*[:=]\s*\\*[\"']?((?=[^\s\"'\\]*[0-9])[A-Za-z0-9_./+~=-]{12,})"
)
_VALUES = {"a bearer token": _BEARER, "an address with a password": _IN_ADDRESS, "a value given as a key": _ASSIGNED}
_PLACEHOLDER = re.compile(r"(?i)redacted|your[_-]|x{6}|\*{4}")

_SECRET_FIELD = re.compile(
    r"(?:apikey|apitoken|authtoken|accesstoken|refreshtoken|sessiontoken|bearertoken|authorizationtoken|authorization"
    r"|password|passwd|passphrase|secret|secretkey|secretaccesskey|privatekey|accesskey|credential)s?$"
)
_INNER_FIELD = re.compile(r"token|value|key")
_OUTER_FIELD = re.compile(r"auth|authorization|credentials?")
_LIKE_A_KEY = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])\S{8,}")
_SHORTEST_FIELD = 4


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


def looks(text: str, known: SecretValues, harmless: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the kind and length of each value in a text that looks like a credential; never the value itself."""
    forms = [*_forms(text)]
    if known.traces and (found := next(filter(None, map(known.traces.search, forms)), None)):
        yield f"a value that a request sent as a secret ({len(found[0])} characters)"
    yield from dict.fromkeys(kind for form in forms for kind in _kinds(form, harmless))


def _forms(text: str) -> Iterator[str]:
    """Yield a text as it is, then with escapes decoded and without the null bytes of UTF-16."""
    yield text
    if "\0" in text:
        yield text.replace("\0", "")
    if "\\" in text:
        spaced = _ESCAPED.sub(" ", text)
        plain = _ESCAPED_CHARACTER.sub(lambda found: chr(int(found[1] or found[2], 16)), spaced)
        yield from dict.fromkeys(form for form in (spaced, plain) if form != text)


def _kinds(text: str, harmless: frozenset[str]) -> Iterator[str]:
    for found in _LOOKS.finditer(text):
        if not _is_none(found[0], harmless):
            kind = next(name for name, pattern in _NAMES.items() if pattern.match(found[0]))
            yield f"{kind} ({len(found[0])} characters)"
    for kind, pattern in _VALUES.items():
        for found in pattern.finditer(text):
            if not _is_none(found[1], harmless):
                yield f"{kind} ({len(found[1])} characters)"


def hide(text: str) -> str:
    """Return a text for display, with values that look like credentials replaced by ``REDACTED``."""
    return _LOOKS.sub("REDACTED", text)


def scan(tape: Tape, known: SecretValues | None = None, harmless: frozenset[str] = frozenset()) -> list[str]:
    """Return the places that look like credentials, such as ``exchange 2, response body: ...``; empty if clean.

    Args:
        tape: The scrubbed tape.
        known: The secrets that the requests of this recording sent.
        harmless: Values that look like credentials but are not secret.
    """
    known = known or SecretValues()
    found: dict[str, None] = {}
    for name, exchanges in (("exchange", tape.exchanges), ("ambient exchange", tape.ambient)):
        for number, exchange in enumerate(exchanges, 1):
            found |= {f"{name} {number}, {line}": None for line in _scan_exchange(exchange, known, harmless)}
    rest = tape.model_copy(update={"exchanges": (), "ambient": ()}).model_dump()
    found |= {
        f"{dotted(path)}: {kind}": None for path, text in leaves(rest) for kind in looks(str(text), known, harmless)
    }
    return list(found)


def scan_text(text: str, known: SecretValues | None = None, harmless: frozenset[str] = frozenset()) -> list[str]:
    """Return the places in the text of a file, by line; this covers text outside the model, such as comments."""
    known = known or SecretValues()
    lines = enumerate(text.split("\n"), 1)
    return [f"line {number}: {kind}" for number, line in lines for kind in looks(line, known, harmless)]


def _scan_exchange(exchange: Exchange, known: SecretValues, harmless: frozenset[str]) -> Iterator[str]:
    places = [*_request_texts(exchange.request), ("end", exchange.end.message)]
    if exchange.response:
        said = documents(exchange.response)
        places += _response_texts(exchange.response, said)
        yield from _fields("response", (leaf for one in said for leaf in leaves(one.value)))
    body = exchange.request.body
    if body and body.form == "json":
        yield from _fields("request", leaves(body.value))
    for place, headers in (("request", exchange.request.headers), ("response", _headers(exchange.response))):
        if headers.get("content-encoding", "identity") != "identity":
            yield f"{place} body: nobody can read it, it is packed with {headers['content-encoding']}"
    for place, text in places:
        for form in dict.fromkeys([text, unquote(text)]):
            yield from (f"{known.blank(hide(place))}: {kind}" for kind in looks(form, known, harmless))


def _headers(response: Response | None) -> dict[str, str]:
    return response.headers if response else {}


def _fields(place: str, found: Iterable[tuple[Path, object]]) -> Iterator[str]:
    for path, value in found:
        if not path or not is_secret_field(path[-1]) or not isinstance(value, str):
            continue
        if len(value) >= _SHORTEST_FIELD and not _PLACEHOLDER.search(value):
            yield f"{place} body, {hide(dotted(path))}: a field for secrets with {len(value)} characters in it"


def _request_texts(request: Request) -> Iterator[tuple[str, str]]:
    yield from (("request path", request.path), ("request query", request.query))
    yield from ((f"request header {name}", value) for name, value in request.headers.items())
    if request.body is None:
        return
    if request.body.form == "json":
        found = [*leaves(request.body.value)]
        yield from ((f"request body, {dotted(path)}", str(value)) for path, value in found)
        yield "request body, its keys", "\n".join({str(key): None for path, _ in found for key in path})
    else:
        value = request.body.value
        yield "request body", value if isinstance(value, str) else value.decode("utf-8", "replace")


def _response_texts(response: Response, said: list[Document]) -> Iterator[tuple[str, str]]:
    yield from ((f"response header {name}", value) for name, value in response.headers.items())
    yield "response body", body_of(response).decode("utf-8", "replace")
    for path, text in put_together(said).items():
        yield f"response body, {path} put together", text


def put_together(said: Iterable[Document]) -> dict[str, str]:
    """Return the joined texts of documents by path: all deltas of a content block become one text."""
    texts: dict[str, list[str]] = defaultdict(list)
    for document in said:
        for path, text in _texts(document.value, ()):
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


def _is_none(value: str, harmless: frozenset[str]) -> bool:
    return value in harmless or bool(_PLACEHOLDER.search(value))
