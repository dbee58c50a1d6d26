"""Tapes that no test names, whether a run or the source of the tests tells which ones they do."""

from collections.abc import Iterable
from pathlib import Path

from .deck import HOUSE
from .file import SUFFIX
from .naming import Named


def tapes_under(folder: Path, upstreams: Iterable[str] = (".",)) -> list[Path]:
    """Return the files of the tapes of some upstreams, by default of all.

    Args:
        folder: Of all tapes.
        upstreams: Folders in it, which need not be there.
    """
    return sorted(path for upstream in upstreams for path in (folder / upstream).rglob(f"*{SUFFIX}"))


def name_of(path: Path, folder: Path) -> str:
    """Return the name of a tape under the folder of all tapes, such as ``vllm/hello``."""
    return path.relative_to(folder).as_posix().removesuffix(SUFFIX)


def orphans(tapes: Iterable[Path], folder: Path, named: Named) -> list[Path]:
    """Return the tapes that no test names; those of ambient calls belong to all tests.

    Args:
        tapes: Files.
        folder: Of all tapes.
        named: What tests name.
    """
    return [path for path in tapes if path.name != f"{HOUSE}{SUFFIX}" and not named.has(name_of(path, folder))]
