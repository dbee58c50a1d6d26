"""Finds the tapes that test sources name: ``@pytest.mark.tape("hello")``, ``use_tape(folder, "hello")``."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

_FUNCTIONS = {"use_tape": 1, "open_tape": 1, "select": 0}
"""Functions that take the name of a tape -> position of that argument."""
_NAMED_FUNCTIONS = ("use_tape", "open_tape")


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
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    computed = [f"{place}:{line}" for line in _passed_on(tree, called)]
    with_selections = any(name in source for name in ("TapeSelection", "Deck", "deck"))  # `Deck` is its earlier name
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        for upstream, name in _named_by(call, with_selections):
            if upstream is None or name is None:
                computed.append(f"{place}:{call.lineno}")
            else:
                found.add((upstream, name))
    return Named(frozenset(found), tuple(computed))


def _passed_on(tree: ast.AST, called: list[ast.expr]) -> Iterator[int]:
    """Yield the lines where a function that takes a tape name is renamed or passed on instead of called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (node.lineno for one in node.names if one.name in _NAMED_FUNCTIONS and one.asname)
        elif isinstance(node, ast.Name | ast.Attribute) and _takes_name(node) and node not in called:
            yield node.lineno


def _takes_name(node: ast.expr) -> bool:
    return _is_marker(node) or _last_name(node) in _NAMED_FUNCTIONS


def _named_by(call: ast.Call, with_selections: bool) -> Iterator[tuple[str | None, str | None]]:
    """Yield the upstream and the tape name in a call's arguments; None where the argument is not a literal."""
    if _is_marker(call.func):
        upstream = _argument(call, None, "upstream")
        yield "" if upstream is None else _literal(upstream), _literal(_argument(call, 0, "name"))
    elif (function := _last_name(call.func)) in _FUNCTIONS:
        argument = _argument(call, _FUNCTIONS[function], "name")
        told = _literal(argument) is not None or (with_selections and not isinstance(argument, ast.Constant | None))
        if function != "select" or told:  # `select` is a common name of other functions
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
