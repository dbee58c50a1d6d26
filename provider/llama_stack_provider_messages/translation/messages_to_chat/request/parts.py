"""Constructors for parts of chat messages."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

type Part = dict[str, Any]


def text_part(text: str) -> Part:
    """Return a text part."""
    return {"type": "text", "text": text}


def image_part(url: str) -> Part:
    """Return an image part; the URL may be a data URL."""
    return {"type": "image_url", "image_url": {"url": url}}


def pdf_part(filename: str, data: str) -> Part:
    """Return a file part; OpenAI requires a name and a data URL (developers.openai.com/api/docs/guides/pdf-files).

    Args:
        filename: Shown to the model.
        data: The PDF in base64.
    """
    return {"type": "file", "file": {"filename": filename, "file_data": f"data:application/pdf;base64,{data}"}}


def joined(parts: Iterable[Part]) -> list[Part]:
    """Return the parts with adjacent texts joined by line breaks."""
    done: list[Part] = []
    for is_text, run in groupby(parts, lambda part: part["type"] == "text"):
        several = list(run)
        done += [text_part("\n".join(part["text"] for part in several))] if is_text else several
    return done
