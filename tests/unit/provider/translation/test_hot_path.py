"""What a streamed token costs."""

from pydantic import BaseModel

from llama_stack_api_messages.sse import encode_event
from llama_stack_provider_messages.translation.messages_to_chat import StreamTranslator
from llama_stack_provider_messages.translation.messages_to_chat.text_filter import TextFilter
from support.streams import delta_chunk, form, id_maker, usage_chunk

CHUNKS = [
    delta_chunk(role="assistant", content="Hel"),
    delta_chunk(content="lo"),
    delta_chunk(reasoning_content="Hm"),
    delta_chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}]),
    delta_chunk("tool_calls"),
    usage_chunk(prompt_tokens=3, completion_tokens=2),
]


def test_text_without_stop_sequences_is_not_searched(monkeypatch):
    """Who asks for no stop sequence pays nothing for those who do."""
    translator = StreamTranslator(form(), id_maker())
    translator.feed(CHUNKS[0])
    monkeypatch.setattr(TextFilter, "add", None)
    assert [event["delta"]["text"] for _ in range(3) for event in translator.feed(CHUNKS[1])] == ["lo"] * 3


def test_no_pydantic_object_is_built_per_chunk(monkeypatch):
    """Events are plain dicts, encoded once; with models forbidden the whole stream still comes out."""
    translator = StreamTranslator(form(), id_maker())

    def forbidden(*_args, **_values):
        raise AssertionError("a model is built on the hot path")

    for name in ("__init__", "model_construct", "model_validate", "model_dump"):
        monkeypatch.setattr(BaseModel, name, forbidden)
    events = [event for chunk in CHUNKS for event in translator.feed(chunk)] + translator.finish()
    assert {type(event) for event in events} == {dict}
    assert b"".join(map(encode_event, events)).endswith(b'data: {"type":"message_stop"}\n\n')
