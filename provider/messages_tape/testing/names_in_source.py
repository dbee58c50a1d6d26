"""Finds the tapes that tests name, and the tapes that no test names.

A tape that no test plays any more would stay in the repository for ever. A test names its tape in its source:
``@pytest.mark.tape("hello")``, ``use_tape(folder, "hello")``, ``open_tape(folder, "hello")`` or
``selection.select("hello")``. A run knows the names of the tests that it collected. For tests that it did not collect,
and for the command ``messages-tape``, the source is parsed without running it.

The name may also be computed, as in ``use_tape(folder, name)``, or a function that takes a name may be passed on under
another name. Such places are collected as ``computed``: they may name any tape, so then ``prune`` removes no tape, and
a run reports none.
"""

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from messages_tape.format.file import SUFFIX
from messages_tape.http.selection import AMBIENT_TAPE

_FUNCTIONS = {"use_tape": 1, "open_tape": 1, "select": 0}
"""Functions that take the name of a tape -> position of that argument."""
_UNIQUE_FUNCTIONS = ("use_tape", "open_tape")
"""Those whose name no other function has."""


@dataclass(frozen=True, slots=True)
class Named:
    """The tapes that tests name.

    Args:
        tapes: Upstream and name of each tape; with an empty upstream the name matches in any folder.
        computed: Places where the name is not a literal and known at run time only, such as ``tests/test_chat.py:12``.
    """

    tapes: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    computed: tuple[str, ...] = ()

    def __or__(self, other: "Named") -> "Named":
        return Named(self.tapes | other.tapes, self.computed + other.computed)

    def has(self, name: str) -> bool:
        """Return whether a test names a tape.

        Args:
            name: Its path under the folder of all tapes, without the suffix, such as ``vllm/hello``.
        """
        folder, _, rest = name.partition("/")
        steps = name.split("/")
        anywhere = {("", "/".join(steps[start:])) for start in range(len(steps))}
        return not self.tapes.isdisjoint(anywhere | {(folder, rest)})


def named_in(source: str, place: str) -> Named:
    """Return the tapes that a test module names.

    Args:
        source: Source code of the module.
        place: Path of the module, for messages.

    Raises:
        SyntaxError: The source is not valid Python.
    """
    found: set[tuple[str, str]] = set()
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    computed = [f"{place}:{line}" for line in _lines_passed_on(tree, [call.func for call in calls])]
    with_selections = "TapeSelection" in source or "Deck" in source  # `Deck` is its name in the earlier package
    for call in calls:
        for upstream, name in _named_by(call, with_selections):
            if upstream is None or name is None:
                computed.append(f"{place}:{call.lineno}")
            else:
                found.add((upstream, name))
    return Named(frozenset(found), tuple(computed))


def _lines_passed_on(tree: ast.AST, called: list[ast.expr]) -> Iterator[int]:
    """Yield the lines where a function that takes a tape name is renamed or passed on instead of called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (node.lineno for one in node.names if one.name in _UNIQUE_FUNCTIONS and one.asname)
        elif isinstance(node, ast.Name | ast.Attribute):
            takes_name = _is_marker(node) or _last_name(node) in _UNIQUE_FUNCTIONS
            if takes_name and node not in called:
                yield node.lineno


def _named_by(call: ast.Call, with_selections: bool) -> Iterator[tuple[str | None, str | None]]:
    """Yield the upstream and the tape name in a call's arguments; None where the argument is not a literal."""
    if _is_marker(call.func):
        upstream = _argument(call, None, "upstream")
        yield "" if upstream is None else _literal(upstream), _literal(_argument(call, 0, "name"))
    elif (function := _last_name(call.func)) in _FUNCTIONS:
        argument = _argument(call, _FUNCTIONS[function], "name")
        # `select` is a common name of other functions: a literal name, or a computed one where there are selections
        is_name = _literal(argument) is not None or (with_selections and not isinstance(argument, ast.Constant | None))
        if function != "select" or is_name:
            yield "", _literal(argument)


def _is_marker(function: ast.expr) -> bool:
    """Return whether this is ``pytest.mark.tape`` or ``mark.tape``."""
    return isinstance(function, ast.Attribute) and function.attr == "tape" and _last_name(function.value) == "mark"


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _argument(call: ast.Call, position: int | None, name: str) -> ast.expr | None:
    if position is not None and len(call.args) > position:
        return call.args[position]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _literal(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def tapes_under(folder: Path, upstreams: Iterable[str] = (".",)) -> list[Path]:
    """Return the tape files of some upstreams, by default of all.

    Args:
        folder: Folder of all tapes.
        upstreams: Its subfolders to search; missing ones are skipped.
    """
    return sorted(path for upstream in upstreams for path in (folder / upstream).rglob(f"*{SUFFIX}"))


def name_of(path: Path, folder: Path) -> str:
    """Return the name of a tape relative to the folder of all tapes, such as ``vllm/hello``."""
    return path.relative_to(folder).as_posix().removesuffix(SUFFIX)


def unnamed_tapes(tapes: Iterable[Path], folder: Path, named: Named) -> list[Path]:
    """Return the tapes that no test names; ambient tapes belong to all tests and are left out.

    Args:
        tapes: Tape files.
        folder: Folder of all tapes.
        named: The tapes that tests name.
    """
    return [path for path in tapes if path.name != f"{AMBIENT_TAPE}{SUFFIX}" and not named.has(name_of(path, folder))]


def named_by(places: Iterable[Path], invalid: Callable[[Path, SyntaxError], Named]) -> Named:
    """Return the tapes that the Python files of some files and folders name.

    Args:
        places: Files and folders; hidden subfolders, and files of other types, are left out.
        invalid: Called for a file that is not valid Python; returns what it counts as, or raises.
    """
    named = Named()
    for path in sorted({path for place in places for path in _sources(place)}):
        try:
            named |= named_in(path.read_text(encoding="utf-8", errors="replace"), path.as_posix())
        except SyntaxError as error:
            named |= invalid(path, error)
    return named


def _sources(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield from [place] if place.suffix == ".py" else []
        return
    for path in place.rglob("*.py"):
        if not any(part.startswith(".") or part == "node_modules" for part in path.relative_to(place).parts):
            yield path
