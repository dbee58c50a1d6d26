"""Writes the YAML of tapes: one chunk per line, multi-line texts as block scalars, the same bytes on every machine.

The output is a subset of YAML 1.2 that YAML 1.1 readers parse to the same values: any text that such a reader could
parse as another type is quoted.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_UNPRINTABLE = r"\x00-\x09\x0b-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff"
"""Also characters that editors do not show or treat as a line break."""
_NOT_IN_BLOCKS = re.compile(rf"[{_UNPRINTABLE}]|[^\S\n]\n|[^\S\n]\Z")
_ESCAPED = re.compile(rf'[{_UNPRINTABLE}\n"\\]')
_NAMED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]{0,127}")
_RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""Plain scalars that YAML 1.1 does not read as text."""


def emit(tree: Mapping[str, Any]) -> str:
    """Return a mapping as a YAML document.

    Args:
        tree: Nested mappings with string keys, lists, tuples, strings, finite numbers, booleans and None.
    """
    return "".join(f"{line}\n" for line in _mapping(tree))


def _mapping(tree: Mapping[str, Any]) -> Iterator[str]:
    for key, value in tree.items():
        name = _text(key)
        if not _nests(value):
            yield from _leaf(f"{name}: ", value)
        elif isinstance(value, Mapping):
            yield f"{name}:"
            yield from (f"  {line}" for line in _mapping(value))
        else:
            yield f"{name}:"
            yield from _sequence(value)


def _sequence(items: Iterable[Any]) -> Iterator[str]:
    for item in items:
        if _nests(item):
            lines = _mapping(item) if isinstance(item, Mapping) else _sequence(item)
            yield f"- {next(lines)}"
            yield from (f"  {line}" for line in lines)
        else:
            yield from _leaf("- ", item)


def _nests(value: Any) -> bool:  # noqa: ANN401 - any tree
    """Return whether a value is written on several lines; a list that begins with a number (a chunk) takes one line."""
    if isinstance(value, list | tuple):
        return bool(value) and (isinstance(value[0], bool) or not isinstance(value[0], int | float))
    return isinstance(value, Mapping) and bool(value)


def _leaf(lead: str, value: object) -> Iterator[str]:
    if isinstance(value, str) and _is_block(value):
        text = value.removesuffix("\n")
        yield f"{lead}{'|' if text != value else '|-'}"
        yield from (f"  {line}" if line else "" for line in text.split("\n"))
    else:
        yield lead + _flow(value)


def _is_block(text: str) -> bool:
    """Return whether a text can be a block scalar without loss, even if an editor strips trailing white space."""
    if "\n" not in text or text[0] in " \n" or text.endswith("\n\n"):
        return False
    return not _NOT_IN_BLOCKS.search(text)


def _flow(value: object) -> str:
    match value:
        case str():
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(_quoted(item) if isinstance(item, str) else _flow(item) for item in value)}]"
        case Mapping():
            return f"{{{', '.join(f'{_text(key)}: {_flow(item)}' for key, item in value.items())}}}"
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case float():
            return _float(value)
        case int():
            return str(value)
    raise TypeError(f"a tape cannot hold {type(value).__name__}")


def _float(value: float) -> str:
    """Return a number as text, with the decimal point that YAML 1.1 requires before an exponent."""
    mantissa, mark, exponent = repr(value).partition("e")
    return f"{mantissa}{'' if '.' in mantissa or not mark else '.0'}{mark}{exponent}"


def _text(value: str) -> str:
    plain = _PLAIN.fullmatch(value) and value.lower() not in _RESERVED
    return value if plain else _quoted(value)


def _quoted(value: str) -> str:
    return f'"{_ESCAPED.sub(_escape, value)}"'


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    return _NAMED.get(char) or (f"\\x{ord(char):02x}" if char <= "\xff" else f"\\u{ord(char):04x}")
