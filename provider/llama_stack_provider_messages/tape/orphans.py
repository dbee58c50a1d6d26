"""Tapes that no test plays."""

from collections.abc import Iterable
from pathlib import Path

from .deck import HOUSE
from .file import SUFFIX


def orphans(folder: Path, used: Iterable[tuple[str, str]]) -> list[tuple[str, str, Path]]:
    """Return upstream, name and file of each tape that nobody uses, of the upstreams that anybody uses.

    Args:
        folder: Of the upstreams' folders.
        used: Upstream and name of each tape that has a test; a name may be empty, for an upstream without any.
    """
    names: dict[str, set[str]] = {}
    for upstream, name in used:
        names.setdefault(upstream, {HOUSE}).add(name)
    found = [
        (upstream, path.relative_to(folder / upstream).as_posix().removesuffix(SUFFIX), path)
        for upstream in sorted(names)
        for path in sorted((folder / upstream).rglob(f"*{SUFFIX}"))
    ]
    return [one for one in found if one[1] not in names[one[0]]]
