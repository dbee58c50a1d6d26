"""Checks what no linter knows: layers, sizes, pure modules, broad excepts, and what must not be published.

Prints each finding with its place and ends with 1 if there is one.
"""

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
API, PROVIDER = "llama_stack_api_messages", "llama_stack_provider_messages"
SOURCES = {API: ROOT / "api" / API, PROVIDER: ROOT / "provider" / PROVIDER}

TAPE_CORE = [
    f"{PROVIDER}.tape.{name}"
    for name in (
        "answers", "chat_fold", "differ", "documents", "emit", "errors", "file", "final", "http_rules",
        "json_body", "known", "match", "model", "naming", "paths", "recording", "render", "report", "review",
        "scan", "scrub", "session", "settle", "shape", "steps",
    )
]  # fmt: skip
"""The half of the harness that knows no network and no files; the other half imports it, never the other way round."""

LAYERS = [
    [f"{API}.errors", f"{API}.models"],
    [
        f"{API}.streaming.sse",
        f"{API}.json_members",
        f"{API}.json_bytes",
        f"{API}.ids",
        f"{API}.limits",
        f"{API}.request_body",
    ],
    [f"{PROVIDER}.translation", f"{PROVIDER}.sse", f"{PROVIDER}.fold", f"{PROVIDER}.aliases"],
    [f"{PROVIDER}.relay", f"{PROVIDER}.repair"],
    [f"{PROVIDER}.native_settings"],
    TAPE_CORE,
    [f"{PROVIDER}.config"],
    [f"{API}"],
    [f"{PROVIDER}.stack"],
    [
        f"{PROVIDER}.failures",
        f"{PROVIDER}.signing",
        f"{PROVIDER}.local",
        f"{PROVIDER}.backends",
        f"{PROVIDER}.profiles",
        f"{PROVIDER}.catalog",
        f"{PROVIDER}.media",
        f"{PROVIDER}.probe",
        f"{PROVIDER}.pools",
        f"{PROVIDER}.tape",
    ],
    [
        f"{PROVIDER}.clients",
    ],
    [f"{PROVIDER}.counting"],
    [f"{PROVIDER}.exchange"],
    [f"{PROVIDER}.upstreams", f"{PROVIDER}.frames"],
    [f"{PROVIDER}.translated", f"{PROVIDER}.native", f"{PROVIDER}.lanes", f"{PROVIDER}.remote"],
    [f"{PROVIDER}.impl"],
    [
        f"{PROVIDER}.provider",
        PROVIDER,
        f"{PROVIDER}.pytest_plugin",
        f"{PROVIDER}.pytest_findings",
        f"{PROVIDER}.pytest_options",
        f"{PROVIDER}.pytest_orphans",
    ],
]
"""Innermost first; a module imports only from its own layer and from those before it."""
PURE = [
    f"{PROVIDER}.translation",
    f"{PROVIDER}.relay",
    f"{PROVIDER}.repair",
    f"{PROVIDER}.sse",
    f"{PROVIDER}.fold",
    f"{API}.streaming.sse",
    f"{API}.json_members",
    f"{API}.json_bytes",
    f"{API}.ids",
    f"{API}.limits",
    f"{API}.models",
    *TAPE_CORE,
]
IMPURE = {"asyncio", "httpx", "httpx2", "time", "uuid", "random", "secrets", "logging", "openai", "os"}
PLATFORM = ("llama_stack", "llama_stack_api")
SEAMS = (f"{API}.stack", f"{PROVIDER}.stack", f"{PROVIDER}.remote.stack")
"""The modules that import the platform."""

MAX_FUNCTION, MEDIAN_FUNCTION, P90_FUNCTION, MAX_FILE, BROAD_EXCEPTS = 50, 8, 25, 300, {API: 1, PROVIDER: 2}
LONG_FILES = {"api/llama_stack_api_messages/models/__init__.py": "names what it re-exports, and nothing else"}
"""Files of up to 400 lines, with the reason."""
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|farm)/")


def module_name(path: Path, package: str) -> str:
    """Return the dotted name of a source file."""
    parts = path.relative_to(SOURCES[package].parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> int:
    """Return the number of a module's layer: that of its longest listed prefix."""
    best = max((name for names in LAYERS for name in names if module == name or module.startswith(f"{name}.")), key=len)
    return next(number for number, names in enumerate(LAYERS) if best in names)


def imports(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield line and absolute name of each import, those of type checking and inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            base = base[: len(base) - node.level + is_package] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def import_findings(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield imports that point outwards, reach the platform past its seam, or make a pure module impure."""
    pure = any(module == name or module.startswith(f"{name}.") for name in PURE)
    for line, name in imports(tree, module, is_package=is_package):
        top = name.split(".")[0]
        if top in SOURCES and layer(name) > layer(module) and not _inside_function(tree, line):
            yield line, f"imports {name} from an outer layer"
        if top in PLATFORM and module not in SEAMS:
            yield line, f"imports {name}; only stack.py imports the platform"
        if pure and top in IMPURE:
            yield line, f"imports {name}; this module is pure"


def _inside_function(tree: ast.AST, line: int) -> bool:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return any(node.lineno <= line <= (node.end_lineno or 0) for node in functions)


def function_sizes(tree: ast.AST) -> Iterator[tuple[int, str, int]]:
    """Yield line, name and length without docstring of each function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield node.lineno, node.name, (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def broad_excepts(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of handlers that catch everything."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            names = {part.id for part in ast.walk(node.type) if isinstance(part, ast.Name)} if node.type else {""}
            if names & {"", "Exception", "BaseException"}:
                yield node.lineno


def source_findings(package: str) -> Iterator[str]:
    """Yield the findings of one package."""
    sizes: list[int] = []
    broad: list[str] = []
    for path in sorted(SOURCES[package].rglob("*.py")):
        shown, text = path.relative_to(ROOT).as_posix(), path.read_text()
        tree, module = ast.parse(text), module_name(path, package)
        limit = 400 if shown in LONG_FILES else MAX_FILE
        if (lines := text.count("\n")) > limit:
            yield f"{shown}: {lines} lines, at most {limit}"
        yield from (
            f"{shown}:{line}: {what}"
            for line, what in import_findings(tree, module, is_package=path.name == "__init__.py")
        )
        for line, name, size in function_sizes(tree):
            sizes.append(size)
            if size > MAX_FUNCTION:
                yield f"{shown}:{line}: {name} has {size} lines, at most {MAX_FUNCTION}"
        broad += [f"{shown}:{line}" for line in broad_excepts(tree)]
    if len(broad) > BROAD_EXCEPTS[package]:
        yield f"{package}: {len(broad)} broad excepts, at most {BROAD_EXCEPTS[package]}: {', '.join(broad)}"
    if sizes and (median := statistics.median(sizes)) > MEDIAN_FUNCTION:
        yield f"{package}: the median function has {median} lines, at most {MEDIAN_FUNCTION}"
    if len(sizes) > 1 and (p90 := statistics.quantiles(sizes, n=10)[-1]) > P90_FUNCTION:
        yield f"{package}: nine in ten functions have up to {p90} lines, at most {P90_FUNCTION}"


def published_findings() -> Iterator[str]:
    """Yield paths of one machine, names of registries in lock files, and non-ASCII source in tracked files."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        try:
            text = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATH.search(line) and name != "scripts/check_structure.py":
                yield f"{name}:{number}: a path of one machine"
            if (name.endswith(".lock") and "://" in line) or (name.endswith("-lock.json") and '"resolved"' in line):
                yield f"{name}:{number}: a lock file names a registry"
        if name.endswith(".py") and not text.isascii():
            yield f"{name}: not ASCII"


def main() -> int:
    """Print all findings."""
    findings = [*(item for package in SOURCES for item in source_findings(package)), *published_findings()]
    print("\n".join(findings) or "structure: ok")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
