"""The code blocks of README.md and docs/."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        page: The file's path, from the root of the repository.
        language: The word after the fence.
        text: Its content, as printed.
    """

    page: str
    language: str
    text: str

    @property
    def is_run_yaml(self) -> bool:
        return self.language == "yaml" and "\nproviders:" in self.text


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of all pages in these languages, without repetitions of the same text."""
    found: dict[str, Block] = {}
    for path in PAGES:
        for language, text in _BLOCK.findall(path.read_text(encoding="utf-8")):
            if language in languages:
                found.setdefault(text, Block(path.relative_to(ROOT).as_posix(), language, text))
    return list(found.values())
