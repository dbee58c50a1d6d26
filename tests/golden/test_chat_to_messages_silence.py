"""No part of a chat request is dropped silently.

Every member of every golden case is removed in turn. The result must change: the body, the reply options, the log of
dropped parts, or the error. ``SILENT`` lists the members that may have no effect, with the reason.
"""

import copy
import json
from fnmatch import fnmatchcase

import pytest

from support.chat_cases import NAMES, load, merged, result_of

TAG = "other members have the same information"
DEFAULT = "it is the default"
LOGGED = "the whole object is logged as dropped"
ALIAS = "another field with the same meaning is used"
FILTERED = "the request allows other tools only"

SILENT: dict[str, str] = {
    "*.type": TAG,
    "*.prompt_cache_breakpoint.mode": TAG,
    "*.prompt_cache_breakpoint.ttl": "the breakpoint is dropped, or an earlier one shortens its lifetime",
    "messages.*.audio.id": "the transcript is used",
    "messages.*.reasoning_content": ALIAS,
    "messages.*.reasoning_details.*": LOGGED,
    "messages.*.name": "the call of the result has the name",
    "messages.*.arguments": "the arguments are empty",
    "messages.*.detail": DEFAULT,
    "max_tokens": ALIAS,
    "max_completion_tokens": ALIAS,
    "moderation.*": LOGGED,
    "prediction.*": LOGGED,
    "modalities": DEFAULT,
    "n": DEFAULT,
    "top_p": DEFAULT,
    "verbosity": DEFAULT,
    "tool_choice": DEFAULT,
    "function_call": DEFAULT,
    "response_format": DEFAULT,
    "functions.*.parameters": DEFAULT,
    "tools.*.custom.format": DEFAULT,
    "parallel_tool_calls": DEFAULT,
    "reasoning_effort": "the model does not support thinking",
    "response_format.json_schema.strict": "a schema is always enforced",
    "response_format.json_schema.name": "a format without a schema has no name",
    "*.$schema": "it does not affect the response",
    "tools.*.function.*": FILTERED,
    "tools.*.custom.description": FILTERED,
}
"""Path, with ``*`` for any characters -> why the member has no effect."""


def members(value, path=()):
    """Yield the paths of all non-empty members."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        if isinstance(value, dict) and inner not in (None, False, 0, "", [], {}):
            yield (*path, key)
        yield from members(inner, (*path, key))


def without(chat, path):
    chat = copy.deepcopy(chat)
    holder = chat
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return chat


def silent(case):
    """Return the members of a case without an effect."""
    expected = json.dumps(result_of(case))
    if '"error"' in expected[:10]:
        return []
    found = [path for path in members(case["chat"]) if json.dumps(result_of(lacking(case, path))) == expected]
    return [".".join(map(str, path)) for path in found]


def lacking(case, path):
    return {**case, "chat": without(case["chat"], path)}


@pytest.fixture(scope="module")
def unseen():
    cases = {name: load(name) for name in NAMES}
    return [
        f"{path} in {name}/{variant}"
        for name, case in cases.items()
        for variant, changes in case.get("variants", {"": {}}).items()
        for path in silent(merged(case, changes))
    ]


def reasons(entry):
    return [pattern for pattern in SILENT if fnmatchcase(entry.partition(" in ")[0], pattern)]


def test_every_member_has_an_effect_is_logged_or_is_rejected(unseen):
    assert [entry for entry in unseen if not reasons(entry)] == []


def test_every_exception_is_used(unseen):
    assert {pattern for entry in unseen for pattern in reasons(entry)} == set(SILENT)
