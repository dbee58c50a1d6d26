"""Checks the import rules: the order of packages, no import cycles, and packages without I/O ("pure").

A room is a package listed in ``ROOMS``. A module belongs to the innermost room that contains it. It may import from its
own room and from rooms earlier in the list.
"""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
API, PROVIDER, TAPE = "llama_stack_api_messages", "llama_stack_provider_messages", "messages_tape"
DIRECTIONS = [f"translation.{name}" for name in ("messages_to_chat", "chat_to_messages")]
ROOMS = [API, f"{API}.streaming", f"{API}.routes", f"{PROVIDER}.stack"]
ROOMS += [f"{PROVIDER}.{name}" for name in ("headers", "errors", "translation")]
ROOMS += [f"{PROVIDER}.{name}{room}" for name in DIRECTIONS for room in ("", ".backend", ".reply", ".request")]
ROOMS += [f"{PROVIDER}.{room}" for room in ("upstream", "routing", "native", "translated", "remote", "local")]
TAPE_CORE = [f"{TAPE}.{room}" for room in ("format", "reading", "secrets", "core")]
ROOMS += [TAPE, *TAPE_CORE, *(f"{TAPE}.{room}" for room in ("files", "http", "testing", "cli"))]
ROOMS += [PROVIDER, f"{PROVIDER}.cli"]
SEPARATE = [[f"{PROVIDER}.{name}" for name in pair] for pair in (DIRECTIONS, ["native", "translated"])]
PURE = [f"{API}.models", f"{PROVIDER}.headers", f"{PROVIDER}.translation", f"{PROVIDER}.native.repair", *TAPE_CORE]
IMPURE = {"asyncio", "httpx", "httpx2", "time", "uuid", "random", "secrets", "logging", "openai", "os", "pathlib"}
PLATFORM, PLATFORM_ROOMS = {"llama_stack", "llama_stack_api"}, {API, f"{PROVIDER}.stack"}


def innermost(module: str, rooms: list[str]) -> str:
    """Return the innermost of ``rooms`` that contains a module, or an empty string."""
    return max((room for room in rooms if f"{module}.".startswith(f"{room}.")), key=len, default="")


def imports(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield the line and the absolute name of each import, except those under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: (is_package - node.level) or None] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from imports(node, module, is_package=is_package)


def import_findings(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield imports that break a rule; the ``__init__`` of a room may import from the rooms inside it."""
    own = innermost(module, ROOMS)
    for line, name in imports(tree, module, is_package=is_package):
        top, other = name.split(".")[0], innermost(name, ROOMS)
        if other and ROOMS.index(other) > ROOMS.index(own) and not (is_package and innermost(name, [module])):
            yield line, f"imports {name}; {own} is a lower room than {other}"
        if any(len({innermost(own, pair), innermost(other, pair)} - {""}) == 2 for pair in SEPARATE):
            yield line, f"imports {name}; {own} and {other} must not import each other"
        if top in PLATFORM and own not in PLATFORM_ROOMS:
            yield line, f"imports {name}; only stack/ imports the platform"
        if top in IMPURE and innermost(module, PURE):
            yield line, f"imports {name}; this room is pure"


def findings() -> Iterator[str]:
    """Yield all findings."""
    graph: dict[str, set[str]] = {}
    for path in sorted(path for top in ("api", "provider") for path in (ROOT / top).rglob("*.py")):
        tree, is_package, parts = ast.parse(path.read_text()), path.name == "__init__.py", path.relative_to(ROOT).parts
        module, where = ".".join(parts[1:])[: -len(".__init__.py" if is_package else ".py")], "/".join(parts)
        yield from (f"{where}:{line}: {what}" for line, what in import_findings(tree, module, is_package=is_package))
        names = [name for _, name in imports(tree, module, is_package=is_package)]
        graph[module] = {*names, *(name.rpartition(".")[0] for name in names)} - {module}
    try:
        TopologicalSorter({module: found & graph.keys() for module, found in graph.items()}).prepare()
    except CycleError as error:
        yield f"a cycle of imports: {' -> '.join(error.args[1])}"


if __name__ == "__main__":
    print("\n".join(found := [*findings()]) or "structure: ok")
    sys.exit(bool(found))
