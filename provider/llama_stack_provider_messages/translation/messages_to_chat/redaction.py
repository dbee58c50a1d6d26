"""Keys and addresses out of an upstream's words, before a client reads them.

Names of models, tools and fields look much like keys. What tells them apart is a long run of letters and digits
between two separators: keys have one, names do not.
"""

import re

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
    | (?<![\d.])(?<!==)(?<!version[ :=])\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b  # IPv4
    | \[[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*(?:%\w+)?\](?::\d+)?  # IPv6 as a host
    | (?<![\w:])(?=[0-9a-f:]*\d)(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*)?::[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*(?![\w:])
    | (?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])
    | \blocalhost(?::\d+)?\b
    | \b(?:[a-z0-9_-]{1,63}\.){1,9}(?:com|net|org|io|ai|dev|app|cloud|local|internal|lan|svc|cluster|corp)\b(?::\d+)?
    | (?:(?<=\bto\s)|(?<=\bat\s)|(?<=\bfrom\s)|(?<=\bhost\s)|(?<=\breach\s))[a-z][\w.-]*:\d{2,5}\b(?!-)  # service:port
    | (?<![\w.-])[a-z]\w*(?:[.-]\w+)+(?<!\.py)(?<!-length)(?<!-tokens):\d{4,5}\b(?!-)
    | \bhost=\S+                                  # as Python's HTTP clients print them
    """
_HIDDEN = re.compile(f"(?P<redacted>{_SECRETS})|(?i:(?P<address>{_ADDRESSES}))", re.VERBOSE)
"""One pattern, so that of a key inside a URL and the URL around it the one that begins first is hidden whole."""
_LONGEST = 8000
"""No message needs more, and the patterns must not be given pages to search."""


def redact(text: str) -> str:
    """Return the beginning of a text without keys, tokens, URLs and host names."""
    return _HIDDEN.sub(lambda found: f"[{found.lastgroup}]", text[:_LONGEST])
