"""Finds problems in the text of a tape file; each finding says how to fix it."""

import json
from collections.abc import Iterator

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from messages_tape.errors import TapeFormatError
from messages_tape.format.file import json_schema, load, parse
from messages_tape.format.json_values import dotted
from messages_tape.secrets.scan import scan, scan_text

FORMAT_REMEDY = "correct the file, or record the tape again"
_WIDTH = 100
LEAK_REMEDY = (
    "if it is real, revoke it; record the tape again with made-up values, or pass a value that is no secret with "
    "--harmless"
)


def review(text: str, harmless: frozenset[str] = frozenset()) -> list[str]:
    """Return one line per problem in a tape file; an empty list means the file is valid.

    Args:
        text: Text of the file.
        harmless: Values that look like credentials but are not secret.
    """
    return [*_format(text), *(f"{place}; {LEAK_REMEDY}" for place in secrets_in(text, harmless))]


def _format(text: str) -> Iterator[str]:
    try:
        load(text)
    except TapeFormatError as problem:
        yield f"{' '.join(str(problem).split())}; {FORMAT_REMEDY}"
        return
    for error in Draft202012Validator(json_schema()).iter_errors(parse(text)):
        broken = best_match([error])  # of several alternatives, the closest one
        # the rule only: the value may be secret
        rule = f"{broken.validator}: {json.dumps(broken.validator_value)}"[:_WIDTH]
        yield f"{dotted(tuple(broken.absolute_path))}: against the JSON Schema ({rule}); {FORMAT_REMEDY}"


def secrets_in(text: str, harmless: frozenset[str] = frozenset()) -> list[str]:
    """Return the places in a tape file that look like credentials; see ``scan``."""
    try:
        found = scan(load(text), harmless=harmless)
    except TapeFormatError:
        found = []
    return found or scan_text(text, harmless=harmless)  # covers comments and invalid tapes
