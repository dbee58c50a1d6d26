"""Pages an answer draws on."""

import pytest

from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import StreamTranslator, translate_response
from support.streams import completion, delta_chunk, form, id_maker, translate

TEXT = "Oslo is the capital."
CITED = {"start_index": 0, "end_index": 4, "url": "https://a.example", "title": "A"}


def unary(*annotations, content=TEXT, **message):
    record = {"role": "assistant", "content": content, "annotations": list(annotations), **message}
    choice = {"index": 0, "finish_reason": "stop", "message": record}
    return translate_response(completion({"choices": [choice]}), form(), id_maker())


@pytest.mark.parametrize(
    ("change", "cited", "title"),
    [
        ({}, "Oslo", "A"),
        ({"content": "The page says so."}, "The page says so.", "A"),
        ({"title": None}, "Oslo", None),
        ({"end_index": 0}, "", "A"),
        ({"start_index": None}, "", "A"),
        ({"start_index": -3}, "", "A"),
    ],
)
def test_an_annotation_is_a_citation_of_the_text(change, cited, title):
    """The page's own words if it brings them, else the words it is about."""
    message = unary({"type": "url_citation", "url_citation": CITED | change})
    citation = {
        "type": "web_search_result_location",
        "cited_text": cited,
        "url": "https://a.example",
        "title": title,
        "encrypted_index": "",
    }
    assert message["content"] == [{"type": "text", "text": TEXT, "citations": [citation]}]


def test_the_flat_form_is_read_too():
    assert unary({"type": "url_citation", **CITED})["content"][0]["citations"][0]["cited_text"] == "Oslo"


@pytest.mark.parametrize("annotation", [{"type": "file_citation"}, {"url_citation": {"title": "x"}}, "x", None])
def test_what_has_no_address_is_no_citation(annotation):
    assert unary(annotation)["content"] == [{"type": "text", "text": TEXT}]


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_stream_cites_the_same_wherever_the_annotation_comes(place):
    """Before the words it is about, with them, or after the last of them."""
    pieces = [{"content": "Os"}, {"content": "lo is the"}, {"content": " capital."}]
    pieces.insert(place, {"annotations": [{"type": "url_citation", "url_citation": CITED}]})
    events = translate([*(delta_chunk(**piece) for piece in pieces), delta_chunk("stop")])
    assert fold(events) == unary({"type": "url_citation", "url_citation": CITED})
    (delta,) = [event["delta"] for event in events if event.get("delta", {}).get("type") == "citations_delta"]
    assert delta["citation"]["cited_text"] == "Oslo"


def test_a_call_behind_the_text_does_not_lose_the_citation():
    """The text's block closes when the call begins."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    first = delta_chunk(content=TEXT, annotations=[{"url_citation": CITED}], tool_calls=[call])
    translator = StreamTranslator(form(), id_maker())
    events = translator.feed(first) + translator.feed(delta_chunk("stop")) + translator.finish()
    assert fold(events)["content"][0]["citations"][0]["cited_text"] == "Oslo"
