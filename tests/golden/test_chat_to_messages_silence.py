"""Nothing of a chat request is lost in silence.

Every member of every golden case is taken out in turn. What it says must show: in the body, in the form of the answer,
in what is disclosed as dropped, or as a 400. The members that may say nothing stand in ``SILENT`` with the reason.
"""

import copy
import json
from fnmatch import fnmatchcase

import pytest

from support.chat_cases import NAMES, load, merged, result_of

TAG = "the other members say it"
DEFAULT = "it is the default"
NOTED = "the whole is disclosed"
ALIAS = "another field says the same and counts"
FILTERED = "the request allows other tools only"

SILENT: dict[str, str] = {
    "*.type": TAG,
    "*.prompt_cache_breakpoint.mode": TAG,
    "*.prompt_cache_breakpoint.ttl": "of a breakpoint that is disclosed, or lives shorter because of one before it",
    "messages.*.audio.id": "the transcript says what was said",
    "messages.*.reasoning_content": ALIAS,
    "messages.*.reasoning_details.*": NOTED,
    "messages.*.name": "of a result, whose call says it",
    "messages.*.arguments": "no arguments",
    "messages.*.detail": DEFAULT,
    "max_tokens": ALIAS,
    "max_completion_tokens": ALIAS,
    "moderation.*": NOTED,
    "prediction.*": NOTED,
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
    "reasoning_effort": "a model that cannot think does not",
    "response_format.json_schema.strict": "a schema always holds",
    "response_format.json_schema.name": "there is no schema to name",
    "*.$schema": "it says nothing of an answer",
    "tools.*.function.*": FILTERED,
    "tools.*.custom.description": FILTERED,
}
"""Paths, with ``*`` for any characters -> why nothing shows."""


def members(value, path=()):
    """Yield the paths of all members that say something."""
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
    """Return the members of a case whose absence changes nothing."""
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


def test_every_member_shows_is_disclosed_or_is_refused(unseen):
    assert [entry for entry in unseen if not reasons(entry)] == []


def test_silence_is_the_exception_and_used(unseen):
    assert {pattern for entry in unseen for pattern in reasons(entry)} == set(SILENT)
