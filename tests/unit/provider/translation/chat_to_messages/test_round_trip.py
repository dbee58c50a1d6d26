"""A conversation that goes to a stack behind this one arrives there as the same conversation.

Equal means: the same roles in the same order, the same text (parts joined), the same calls with the same ids, names
and arguments, the same results. What the Messages API cannot hold is not generated: blank texts, names of users, two
messages of one role in a row, arguments that are no objects.
"""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_provider_messages.translation.chat_to_messages import Options, translate_request
from support.histories import assert_legal, read_back

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
inputs = st.dictionaries(
    st.sampled_from("abc"), st.integers() | texts | st.none() | st.lists(st.booleans()), max_size=3
)
names = st.from_regex(r"\A[a-zA-Z0-9_-]{1,64}\Z")
asked = st.lists(st.tuples(names, inputs, texts), max_size=3)
rounds = st.lists(st.tuples(texts, st.none() | texts, asked), max_size=4)


def call(call_id, name, value):
    arguments = json.dumps(value, ensure_ascii=False)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def conversation(system, turns):
    """Return messages whose calls all have their results."""
    messages = [{"role": "system", "content": system}] if system else []
    for number, (question, answer, called) in enumerate(turns):
        messages.append({"role": "user", "content": question})
        ids = [f"call_{number}_{index}" for index in range(len(called))]
        calls = [call(call_id, name, value) for call_id, (name, value, _) in zip(ids, called, strict=True)]
        if calls:
            messages.append({"role": "assistant", "content": answer, "tool_calls": calls})
            messages += [
                {"role": "tool", "tool_call_id": call_id, "content": result}
                for call_id, (_, _, result) in zip(ids, called, strict=True)
            ]
        messages.append({"role": "assistant", "content": answer or "done"})
    return [*messages, {"role": "user", "content": "last"}]


def told(messages):
    """Return what a conversation says, however its parts are cut."""
    return [
        (
            message["role"],
            joined(message.get("content")),
            message.get("tool_call_id"),
            [
                (made["id"], made["function"]["name"], json.loads(made["function"]["arguments"]))
                for made in calls(message)
            ],
        )
        for message in messages
    ]


def calls(message):
    return message.get("tool_calls") or ()


def joined(content):
    return content if isinstance(content, str) else "".join(part["text"] for part in content or ())


@settings(deadline=None, max_examples=60)
@given(st.none() | texts, rounds)
def test_a_conversation_comes_back_as_it_was(system, turns):
    messages = conversation(system, turns)
    done = translate_request({"model": "m", "messages": messages}, Options("upstream"))
    assert_legal(done.body)
    assert not done.dropped
    assert told(read_back(done.body)["messages"]) == told(messages)


@settings(deadline=None, max_examples=60)
@given(st.none() | texts, rounds)
def test_the_prompt_of_a_turn_begins_with_that_of_the_turn_before(system, turns):
    """The prefix cache of the upstream lives on it."""
    messages = conversation(system, turns)
    whole = translate_request({"messages": messages}, Options("upstream")).body["messages"]
    for end, message in enumerate(messages):
        if message["role"] == "user" and end:
            part = translate_request({"messages": messages[: end + 1]}, Options("upstream")).body["messages"]
            assert whole[: len(part)] == part
