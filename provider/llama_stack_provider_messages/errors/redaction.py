"""Redacts keys and addresses from an upstream's messages before a client reads them.

Upstreams repeat in their errors what they were called with and whom they call: the key that they reject, the URL of the
server behind a gateway. Clients show errors to users and write them to logs. There are two redactions, because neither
is enough alone:

by value (``redact_body``, ``redact_json``, ``redact_text``, ``redact_error``): the keys that were sent are known. They
    are replaced wherever they occur, also where JSON writes them with escapes, and where a text was cut inside of one.
    Everything else stays as it is, byte for byte, so that an error body can be passed on. Keys of less than eight
    characters are placeholders such as ``none``, which are words of the message, too.
by pattern (``redact_by_pattern``): for keys that are not known (those of a gateway) and for addresses. It applies to
    text that becomes the message of an error of ours.

    Incorrect API key provided: sk-proj-123456789      Incorrect API key provided: [redacted]
    connect to http://10.0.0.7:8000/v1 failed          connect to [address] failed
    prompt is too long for claude-sonnet-4-5           stays

A pattern that is too wide damages messages that clients and users act on, because names of models, tools and fields
look similar to keys. The difference: a key has a long run of mixed letters and digits between two separators, a name
does not. Both redactions take time linear in the length of a text: an upstream may echo a megabyte.

Where each is called, and where the known keys come from:

    error response of an upstream    response.py                                    by value
    error with status 200            response.py                                    by value
    error in a native stream         native/error_event.py, native/stream.py        by value
    error in a stream of remote      remote/client.py                               by value
    error in a translated stream     reply/stop_and_usage.py                        by value
    exception of a provider's SDK    exceptions.py                                  by value
    any error that is translated     body.py                                        by pattern

The values are ``Upstream.secrets`` for our own HTTP requests, ``Keys.secrets`` for those of a provider's SDK. Both have
the values of configured headers that hold keys (``headers.header_secrets``); the former has the upstream's host, too.
"""

import json
import re
from collections.abc import Collection
from typing import Any

from llama_stack_api_messages.errors import MessagesError, UpstreamError
from llama_stack_api_messages.json_bytes import loads_or_none

_SECRETS = r"""
    \bBearer\s+(?!(?:tokens?|auth\w*|schemes?|credentials?|keys?|headers?|is|was|not|missing|required)\b(?!\.\w))
        [^\s"',;]+                                # authorization values, not talk about them
    | \bBasic\s+(?=[\w+/]*(?:\d|[a-z][A-Z]|=))[\w+/]+={0,2}
    | (?i:(?<![\w-])(?:[\w-]*api[-_ ]?key|[\w-]*(?:access|auth|session|refresh)[-_]token|[\w-]*secret
        |[\w-]*passw(?:or)?d|[\w-]*subscription-key|token|pwd)
        (?:=\s*["']?[^\s"'&,;)\]}]+               # name=value
        |["']?\s*:\s*["']?(?!\d{1,7}\b)(?=[^\s"',;]*\d)[^\s"',;)\]}]{6,}))  # name: value, but no sentence or token id
    | \b(?:sk|pk|rk|key|gsk|xai|nvapi)[-_]        # keys by their usual prefixes, masked ones too
        (?=[\w*.-]{0,99}?(?:\*|\.\.\w|(?<![A-Za-z0-9])(?=[A-Za-z]*\d)[A-Za-z0-9]{8,}|[A-Za-z0-9]{20,}))[\w*.-]{4,}[\w*]
    | \b(?:AIza[\w-]{6,}|A(?:KIA|SIA)[0-9A-Z]{8,}|gh[oprsu]_[A-Za-z0-9]{6,}|github_pat_\w{6,}|glpat-[\w-]{6,}
        |xox[abeprs]-[\w-]{6,}|hf_[A-Za-z0-9]{10,})
    | \b[A-Fa-f0-9]{32,}\b                        # hex tokens
    | \bey[\w-]{10,}\.[\w-]+\.[\w-]*              # JSON web tokens
    | (?<![\w/+-])(?=[\w/+-]*?(?<![A-Za-z0-9])(?=[a-z0-9]*[A-Z])(?=[A-Za-z]*\d)[A-Za-z0-9]{16,})
        [\w/+-]{40,}={0,2}                        # base64 tokens
    """
_ADDRESSES = r"""
    \b[a-z][a-z0-9+.-]{0,15}://[^\s"'<>)\]]+           # URLs
    | \('[\w.:%-]{1,253}',\s?\d{1,5}(?:,\s?\d{1,10}){0,2}\)  # an address of a socket, as Python prints it
    | (?<![\w.-])[\w.-]{1,253}\sport\s\d{2,5}\b  # connect to gpu-node-07 port 8000
    | (?:(?<=\bENOTFOUND\s)|(?<=\bEAI_AGAIN\s)|(?<=\bno\ssuch\shost:\s))[\w.-]+
    | (?<=\blookup\s)[\w.-]+(?=\son\s|:\s)
    | (?<![\d.])(?<!==)(?<!version[ :=])\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b  # IPv4
    | \[[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*(?:%\w+)?\](?::\d+)?  # IPv6 as a host
    | (?<![\w:])(?=[0-9a-f:]*\d)(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*)?::[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*(?![\w:])
    | (?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])
    | \blocalhost(?::\d+)?\b
    | \b(?:[a-z0-9_-]{1,63}\.){1,9}(?:com|net|org|io|ai|dev|app|cloud|local|internal|lan|svc|cluster|corp)\b(?::\d+)?
    | (?:(?<=\bto\s)|(?<=\bat\s)|(?<=\bfrom\s)|(?<=\bhost\s)|(?<=\breach\s))[a-z][\w.-]*:\d{2,5}\b(?!-)  # service:port
    | (?<![\w.-])[a-z]\w*(?:[.-]\w+)+(?<!\.py)(?<!-length)(?<!-tokens):(?:\d{4,5}|443)\b(?!-)
    | \bhost=\S+                                  # as Python's HTTP clients print them
    """
_HIDDEN = re.compile(f"(?P<redacted>{_SECRETS})|(?i:(?P<address>{_ADDRESSES}))", re.VERBOSE)
"""One pattern for both: if a URL contains a key, the match that begins first is redacted completely."""
_MAX_TEXT_CHARS = 8000
"""Limit of a message, which bounds the time of the patterns."""


def redact_by_pattern(text: str) -> str:
    """Return the first ``_MAX_TEXT_CHARS`` characters of a text, with keys, tokens, URLs and host names redacted."""
    return _HIDDEN.sub(lambda found: f"[{found.lastgroup}]", text[:_MAX_TEXT_CHARS])


_REDACTED = "[redacted]"
_JSON_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A JSON string, or a truncated one at the end of the text, so that no byte is searched twice."""
_LENIENT = json.JSONDecoder(strict=False)
_MIN_SECRET_CHARS = 8

type Secrets = Collection[str]


def redact_body(body: bytes, secrets: Secrets) -> bytes:
    """Return an upstream's body with the given keys redacted, also where JSON escapes write them differently.

    Only the strings that contain a key are rewritten. The body may be truncated; the time is linear in its length.
    """
    secrets = _long_secrets(secrets)
    encoding = json.detect_encoding(body)
    utf8 = encoding.startswith("utf-8")
    text = body.decode("utf-8", "surrogateescape") if utf8 else body.decode(encoding, "replace")
    if "\\" not in text and not any(secret in text for secret in secrets):
        return body
    clean = _JSON_STRING.sub(lambda found: _redacted_string(found[0], secrets), text)
    if loads_or_none(text) is None:
        clean = redact_text(clean, secrets)
    return body if clean == text else clean.encode("utf-8", "surrogateescape" if utf8 else "replace")


def redact_json(value: Any, secrets: Secrets) -> Any:  # noqa: ANN401 - any JSON
    """Return decoded JSON with the given keys redacted."""
    return json.loads(_JSON_STRING.sub(lambda found: _redacted_string(found[0], secrets), json.dumps(value)))


def redact_error[E: MessagesError](error: E, secrets: Secrets) -> E:
    """Redact the given keys from an error's message and raw body; return the same error."""
    error.message = redact_text(error.message, secrets)
    error.args = (error.message,)  # what ``str(error)`` and a traceback show
    if isinstance(error, UpstreamError) and error.raw:
        error.raw = redact_body(error.raw, secrets)
    return error


def _redacted_string(string: str, secrets: Secrets) -> str:
    """Return a JSON string, which may be truncated, with the keys redacted; unchanged if it has none or is invalid."""
    for end in ("", '"'):
        try:
            value = _LENIENT.decode(string + end)
        except ValueError:
            continue
        clean = redact_text(value, secrets)
        return string if clean == value else json.dumps(clean)[: -len(end) or None]
    return string


def redact_text(text: str, secrets: Secrets) -> str:
    """Return a text with the given keys redacted, also a key that the end of the text has cut off."""
    for secret in _long_secrets(secrets):
        text = text.replace(secret, _REDACTED)
        cut = next((end for end in range(len(secret) - 1, _MIN_SECRET_CHARS - 1, -1) if text.endswith(secret[:end])), 0)
        text = text[:-cut] + _REDACTED if cut else text
    return text


def _long_secrets(secrets: Secrets) -> list[str]:
    """Return the secrets that are long enough to redact, longest first, because one may be part of another."""
    return sorted((secret for secret in secrets if len(secret) >= _MIN_SECRET_CHARS), key=len, reverse=True)
