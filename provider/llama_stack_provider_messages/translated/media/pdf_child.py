"""The program that reads a PDF: bytes on stdin, ``{"pages": [...]}`` or ``{"problem": ...}`` in JSON on stdout.

It runs in a process of its own because a PDF is untrusted: a small one can decompress to gigabytes or keep a reader
busy for hours, and pypdf raises any exception. Whatever happens here, the server reads one result or nothing.
"""

import io
import json
import logging
import sys
from typing import Any

MAX_PAGES = 600
"""Limit of the Messages API."""
MAX_CHARACTERS = 8_000_000
"""Limit of the text of one PDF; more than fits into any context window."""
MAX_MEMORY_BYTES = 1 << 30
"""Limit of the address space; pypdf itself stops a compressed stream at 75 MB."""


def read(data: bytes) -> dict[str, Any]:
    """Return the text of each page, or the problem that prevents it.

    Raises:
        Exception: Of any class; the PDF is broken.
    """
    from pypdf import PdfReader

    if b"%PDF-" not in data[:1024]:
        return {"problem": "kind"}
    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted:
        return {"problem": "encrypted"}
    if len(reader.pages) > MAX_PAGES:
        return {"problem": "pages"}
    pages: list[str] = []
    characters = 0
    for page in reader.pages:
        # without what JSON or a database rejects: NUL, lone surrogates
        text = page.extract_text().replace("\0", "").encode(errors="replace").decode().strip()
        pages.append(text)
        characters += len(text)
        if characters > MAX_CHARACTERS:
            return {"problem": "length"}
    return {"pages": pages} if any(pages) else {"problem": "empty"}


def limit_resources(seconds: int) -> None:
    """Limit CPU time and memory of this process if the system can, so that it ends even if its parent is gone."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for limit, value in ((resource.RLIMIT_AS, MAX_MEMORY_BYTES), (resource.RLIMIT_CPU, seconds)):
        try:
            resource.setrlimit(limit, (value, value))
        except (OSError, ValueError):  # macOS has no limit of the address space
            continue


def main() -> None:
    """Read one PDF from stdin and write the result to stdout."""
    limit_resources(int(sys.argv[1]))
    logging.disable()
    sys.stdout.write(json.dumps(read(sys.stdin.buffer.read())))


if __name__ == "__main__":
    main()
