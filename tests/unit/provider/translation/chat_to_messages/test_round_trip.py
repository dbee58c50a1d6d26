"""A conversation that is sent to another stack of ours arrives there as the same conversation.

Equal means: the same roles in the same order, the same text (parts joined), the same calls with the same ids, names
and arguments, the same results. The tests do not generate what the Messages API lacks: blank texts, names of users,
two consecutive messages of one role, arguments other than objects.
"""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.chat_to_messages import (
    ReplyOptions,
    TranslationOptions,
    translate_request,
    translate_response,
)
from llama_stack_provider_messages.translation.messages_to_chat import Profile, TranslationContext
from llama_stack_provider_messages.translation.messages_to_chat import ReplyOptions as MessagesReplyOptions
from llama_stack_provider_messages.translation.messages_to_chat import translate_request as translate_to_chat
from llama_stack_provider_messages.translation.messages_to_chat import translate_response as translate_back
from support.histories import assert_legal, read_back

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
inputs = st.dictionaries(
    st.sampled_from("abc"), st.integers() | texts | st.none() | st.lists(st.booleans()), max_size=3
)
names = st.from_regex(r"\A[a-zA-Z0-9_-]{1,64}\Z")
called_tools = st.lists(st.tuples(names, inputs, texts), max_size=3)
rounds = st.lists(st.tuples(texts, st.none() | texts, called_tools), max_size=4)


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


def joined_turns(messages):
    """Return role, joined text, call id and calls of each message: equal if only the parts of a text differ."""
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


@settings(max_examples=60)
@given(st.none() | texts, rounds)
def test_a_conversation_survives_the_round_trip(system, turns):
    messages = conversation(system, turns)
    done = translate_request({"model": "m", "messages": messages}, TranslationOptions("upstream"))
    assert_legal(done.body)
    assert not done.dropped
    assert joined_turns(read_back(done.body)["messages"]) == joined_turns(messages)


@settings(max_examples=60)
@given(st.none() | texts, rounds)
def test_the_prompt_of_a_turn_begins_with_the_prompt_of_the_turn_before(system, turns):
    """The upstream's prefix cache requires it."""
    messages = conversation(system, turns)
    full = translate_request({"messages": messages}, TranslationOptions("upstream")).body["messages"]
    for end, message in enumerate(messages):
        if message["role"] == "user" and end:
            part = translate_request({"messages": messages[: end + 1]}, TranslationOptions("upstream")).body["messages"]
            assert full[: len(part)] == part


def messages_of(system, turns):
    """Return the fields of a Messages request: results are in the turn after their calls, before the user's text."""
    messages, results = [], []
    for number, (question, answer, called) in enumerate(turns):
        messages.append({"role": "user", "content": [*results, text_block(question)]})
        uses = [use(f"toolu_{number}_{index}", name, value) for index, (name, value, _) in enumerate(called)]
        results = [result(block["id"], text) for block, (_, _, text) in zip(uses, called, strict=True)]
        answered = [text_block(answer or "done")] if answer or not uses else []
        messages.append({"role": "assistant", "content": [*answered, *uses]})
    messages.append({"role": "user", "content": [*results, text_block("last")]})
    tools = [{"name": "a", "description": "d", "input_schema": {"type": "object", "properties": {"a": {}}}}]
    fields = {"messages": messages, "tools": tools, "tool_choice": {"type": "auto"}, "temperature": 0.5, "top_p": 0.25}
    return fields | ({"system": [text_block(system)]} if system else {})


def text_block(text):
    return {"type": "text", "text": text}


def use(call_id, name, value):
    return {"type": "tool_use", "id": call_id, "name": name, "input": value}


def result(call_id, text):
    return {"type": "tool_result", "tool_use_id": call_id, "content": text}


def joined_request(body):
    """Return turns with joined texts, system prompt and settings: equal if only the blocks of a text differ."""
    turns = []
    for message in body["messages"]:
        blocks = message["content"] if isinstance(message["content"], list) else [text_block(message["content"])]
        texts = "".join(block["text"] for block in blocks if block["type"] == "text")
        calls = [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
        results = [
            (block["tool_use_id"], joined(block["content"])) for block in blocks if block["type"] == "tool_result"
        ]
        turns.append((message["role"], texts, calls, results))
    system = joined(body.get("system"))
    names = ("tools", "temperature", "top_p")
    return turns, system, [body.get(name) for name in names]


@settings(max_examples=60)
@given(st.none() | texts, rounds)
def test_a_request_survives_the_round_trip(system, turns):
    """Messages request -> chat request -> Messages request."""
    fields = messages_of(system, turns)
    request = CreateMessageRequest.model_validate({"model": "m", "max_tokens": 99, **fields})
    chat = translate_to_chat(request, TranslationContext(Profile())).fields
    done = translate_request({"model": "m", **chat}, TranslationOptions("upstream"))
    assert joined_request(done.body) == joined_request(fields)
    assert done.body["max_tokens"] == 99
    assert not done.dropped


thinking_blocks = st.lists(st.tuples(texts, texts), max_size=2)


@settings(max_examples=60)
@given(
    thinking_blocks,
    st.none() | texts,
    st.lists(st.tuples(names, inputs), max_size=3),
    st.sampled_from(["end_turn", "max_tokens"]),
)
def test_a_response_survives_the_round_trip(thinking, text, called, reason):
    """Thinking texts are joined: their signatures are not sent in these fields. Counts and stop reason are kept."""
    content = [{"type": "thinking", "thinking": text, "signature": signature} for text, signature in thinking]
    content += [text_block(text)] if text else []
    content += [use(f"toolu_{index}", name, value) for index, (name, value) in enumerate(called)]
    usage = {"input_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 7}
    stop = "tool_use" if called and reason == "end_turn" else reason
    message = {"id": "msg_1", "content": content, "stop_reason": stop, "usage": usage}
    completion = translate_response(message, ReplyOptions("m"), created=0)
    back = translate_back(completion, MessagesReplyOptions("m"), lambda prefix: f"{prefix}1")
    texts_by_type = {"thinking": "", "text": ""}
    for block in back["content"]:
        if block["type"] in texts_by_type:
            texts_by_type[block["type"]] += block[block["type"]]
    assert texts_by_type == {"thinking": "".join(text for text, _ in thinking), "text": text or ""}
    calls = [(block["id"], block["name"], block["input"]) for block in back["content"] if block["type"] == "tool_use"]
    assert calls == [(f"toolu_{index}", name, value) for index, (name, value) in enumerate(called)]
    assert {name: back["usage"][name] for name in usage} == usage
    assert back["stop_reason"] == ("tool_use" if called else stop)
