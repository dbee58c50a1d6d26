"""What the platform accepts in a run.yaml, read from its source: importing it takes seconds.

The platform ignores a field that it does not know, so that a typo, or ``api_key`` for a provider that calls it
``api_token``, has no effect and no message. The fields of a configuration are those of a pydantic class and its bases,
under their aliases. A class that cannot be understood this way (a base that is not found, a validator that runs before,
a ``model_config``) has no known fields, and nothing is reported for it.
"""

import ast
import functools
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = "llama_stack"
_STACK, _SERVER = (f"{_PACKAGE}.core.datatypes.{name}" for name in ("StackConfig", "ServerConfig"))
_MAX_FOLLOWED = 8
"""Limit of imports and bases that are followed from one class."""
SIMPLE_TYPES: Mapping[str, type] = {kind.__name__: kind for kind in (int, float, bool)}
"""The types whose values are checked."""


@dataclass(frozen=True, slots=True)
class SourceField:
    """A field of a configuration.

    Attributes:
        kind: A key of ``SIMPLE_TYPES`` if it has one of these types, else empty.
        fields: The fields of the mapping that it takes; None if unknown.
    """

    kind: str
    fields: Mapping[str, "SourceField"] | None


type Fields = Mapping[str, SourceField]


def platform_types() -> set[str]:
    """Return the types of the platform's inference providers."""
    return set(re.findall(r'provider_type="((?:remote|inline)::[\w-]+)"', _registry()))


def platform_apis() -> set[str]:
    """Return the APIs of the platform that have providers; empty if unknown."""
    registry = _file_of(f"{_PACKAGE}.providers.registry.inference")
    return {file.stem for file in registry.parent.glob("[a-z]*.py")} if registry else set()


def stack_fields() -> Fields | None:
    """Return the fields at the top level of a run.yaml; None if unknown."""
    return _fields_of(_STACK)


def server_fields() -> Fields | None:
    """Return the fields of the section ``server``; None if unknown."""
    return _fields_of(_SERVER)


def provider_fields(kind: str) -> Fields | None:
    """Return the fields of ``config`` of an inference provider of the platform; None if unknown."""
    found = re.search(rf'provider_type="{re.escape(kind)}".*?config_class="([\w.]+)"', _registry(), re.DOTALL)
    return _fields_of(found[1]) if found else None


def _registry() -> str:
    source = _file_of(f"{_PACKAGE}.providers.registry.inference")
    return source.read_text(encoding="utf-8") if source else ""


def _file_of(module: str) -> Path | None:
    """Return the file of a module of the platform, without importing the packages around it."""
    top, *parts = module.split(".")
    spec = importlib.util.find_spec(top) if top == _PACKAGE else None
    for place in (spec.submodule_search_locations if spec else None) or ():
        path = Path(place).joinpath(*parts)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


@functools.cache
def _tree_of(module: str) -> tuple[ast.Module, bool] | None:
    """Return the source of a module, and whether it is a package."""
    file = _file_of(module)
    try:
        return (ast.parse(file.read_text(encoding="utf-8")), file.name == "__init__.py") if file else None
    except (SyntaxError, ValueError):
        return None


def _fields_of(name: str, followed: int = 0) -> dict[str, SourceField] | None:
    """Return the fields of a class, given as ``package.module.Class``, by the names that a run.yaml has."""
    members = _members_of(name, followed)
    return None if members is None else dict(members.values())


def _members_of(name: str, followed: int) -> dict[str, tuple[str, SourceField]] | None:
    """Return the attributes of a class, each with its name in a run.yaml; a subclass may give it another one."""
    module, _, class_name = name.rpartition(".")
    found = _tree_of(module)
    if not found or followed > _MAX_FOLLOWED:
        return None
    tree, is_package = found
    node = next((one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == class_name), None)
    if node is None:
        source = dict(_imported(tree, module, is_package=is_package)).get(class_name)
        return _members_of(source, followed + 1) if source else None
    members: dict[str, tuple[str, SourceField]] = {}
    for base in node.bases:
        is_model = isinstance(base, ast.Name) and base.id == "BaseModel"
        inherited = {} if is_model else _members_of(f"{module}.{ast.unparse(base)}", followed + 1)
        if inherited is None:
            return None
        members |= inherited
    for part in node.body:
        text = ast.unparse(part)
        if text.startswith("model_config") or re.search(r"@model_validator\(mode='(before|wrap)'", text):
            return None
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and not text.startswith("_"):
            alias = re.search(r"\balias='([^']+)'", ast.unparse(part.value) if part.value else "")
            kinds = ast.unparse(part.annotation).removesuffix(" | None")
            nested = _fields_of(f"{module}.{kinds}", followed + 1) if kinds.isidentifier() else None
            field = SourceField(kinds if kinds in SIMPLE_TYPES else "", nested)
            members[part.target.id] = (alias[1] if alias else part.target.id, field)
    return members


def _imported(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[tuple[str, str]]:
    """Yield the imported names of a module, each with what it stands for."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            base = module.split(".")[: (is_package - node.level) or None] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            yield from ((alias.asname or alias.name, f"{source}.{alias.name}") for alias in node.names)
