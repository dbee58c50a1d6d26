"""``url_citation`` annotations -> citations in the form of the Messages API's web search.

OpenAI's search models and OpenRouter's web plug-in annotate the text of a response with its sources. A stream may send
an annotation before the text it covers, so annotations are resolved when the text is complete.
"""

from typing import Any

from llama_stack_provider_messages.translation.fields import field, list_field, text_field


def url_citations(annotations: list[Any], text: str) -> list[dict[str, Any]]:
    """Return the citations for annotations; those without a URL are ignored.

    Args:
        annotations: Annotations of a message or of all deltas so far.
        text: The backend's text, to which their indexes refer.
    """
    records = [field(annotation, "url_citation") or annotation for annotation in annotations]
    return [_citation(record, text) for record in records if text_field(record, "url")]


def annotations_of(record: object) -> list[Any]:
    """Return the annotations of a message or delta."""
    return list_field(record, "annotations")


def _citation(record: object, text: str) -> dict[str, Any]:
    return {
        "type": "web_search_result_location",
        "cited_text": text_field(record, "content") or _slice(record, text),
        "url": text_field(record, "url"),
        "title": text_field(record, "title") or None,
        "encrypted_index": "",
    }


def _slice(record: object, text: str) -> str:
    start, end = field(record, "start_index"), field(record, "end_index")
    if isinstance(start, int) and isinstance(end, int) and 0 <= start < end:
        return text[start:end]
    return ""
