"""``messages check``: finds the mistakes in a run.yaml without starting the platform's server.

The platform's server needs half a minute to fail, and reports a mistake as a traceback, or not at all: a missing
``external_apis_dir``, an alias of a provider that does not exist. This module reads the file only. The names that
nothing knows are checked first (``known_names.py``), then the stack, the inference providers, the Messages provider and
the server. All mistakes of a file are found at once, and each is one line: a check is left out if it can only find the
consequence of a mistake that was reported before.
"""

import functools
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import click
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from llama_stack_provider_messages.config import BackendSettings, MessagesConfig
from llama_stack_provider_messages.local.config import LlamaCppConfig, check_engine, model_file_problems
from llama_stack_provider_messages.upstream.settings import NativeSettings
from messages_tape.testing.stack import distributions

from .known_names import API, IGNORED, advice_for, declared_apis, similar_name, suggestion, with_known_names
from .platform_source import SIMPLE_TYPES, Fields, platform_types, provider_fields, server_fields
from .run_config import DISABLED_IDS, Finding, RunConfig, expand_user, possible_values, read_run_config

DEFAULT_PORT = 8321
_NOT_A_MAPPING = "is not a mapping; write `name: value` lines, indented below it"
_PORT: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=1024, le=65535)])
"""What the platform accepts as ``server.port``; its option --port accepts lower ports as well."""
_OWN_MODULES = {
    "inline::llama-cpp": "llama_stack_provider_messages.local",
    "remote::messages": "llama_stack_provider_messages.remote",
}
"""Provider type of this package -> the ``module`` that its entry in run.yaml needs."""
_PACKAGES = {"remote::ollama": "ollama", "remote::anthropic": "anthropic"}
"""Provider type of the platform -> the package that it needs and the platform does not install; extra `starter`."""
ALL_INTERFACES = (None, "", "0.0.0.0", "::")  # noqa: S104 - recognized in order to warn
_ENTRY_MODELS: Mapping[str, type[BaseModel]] = {"backends": BackendSettings, "native": NativeSettings}
"""Field of the Messages provider's configuration -> the model of an entry of its mapping."""


@click.command("check")
@click.argument("file", metavar="RUN.YAML", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Find mistakes in a run.yaml, without starting a server.

    Prints one line for each: the path in the file, what is wrong, what to do. Exits with 1 if there are any. As
    `messages run` does, it sets MESSAGES_APIS_DIR, unless it is set.

    \b
    Example:
      messages check run.yaml
    """  # noqa: D301 - click's mark for text that is not wrapped
    set_apis_dir()
    found = check(read_run_config(file))
    for finding in found:
        click.echo(f"{file}: {finding}")
    if found:
        sys.exit(1)
    click.echo(f"{file}: no mistakes found")


def set_apis_dir() -> None:
    """Set the environment variable MESSAGES_APIS_DIR, with which run.yamls find the declaration of the API."""
    os.environ.setdefault("MESSAGES_APIS_DIR", str(distributions() / "apis.d"))


def check(config: RunConfig, *, allow_all_interfaces: bool = False) -> list[Finding]:
    """Return all findings about a run.yaml, including those of reading it.

    Args:
        config: The file.
        allow_all_interfaces: Accept a server that listens on all interfaces without authentication.
    """
    if not config.content:
        return config.findings or [Finding("", "is empty; begin with `version: 2`")]
    config, found = with_known_names(config)
    found = [*config.findings, *found]
    reported = {finding.path for finding in found}
    checks = (_stack, _inference, _messages, functools.partial(_server, allow_all_interfaces=allow_all_interfaces))
    return found + [finding for one in checks for finding in one(config) if finding.path not in reported]


def _stack(config: RunConfig) -> Iterator[Finding]:
    content = config.content
    if "version" not in content:
        yield Finding("version", "missing; add `version: 2`")
    if not content.get("distro_name") and not content.get("image_name"):
        yield Finding("distro_name", "missing; add a name of your choice, such as `distro_name: messages`")
    apis = content.get("apis", [])
    if not isinstance(apis, list) or (apis and API not in apis):  # the platform derives missing ones from `providers`
        yield Finding("apis", f"does not list {API}; write `apis: [inference, models, {API}]`")
    if not isinstance(content.get("providers"), dict):
        yield Finding("providers", "missing or not a mapping; add `inference` and `messages` with their providers")
    yield from _external_apis(content.get("external_apis_dir"))


def _external_apis(value: object) -> Iterator[Finding]:
    path, remedy = "external_apis_dir", "set it to the folder that `messages apis-dir` prints"
    if not isinstance(value, str):
        yield Finding(path, f"missing, so that the stack does not know the Messages API; {remedy}")
        return
    folder = Path(expand_user(value))
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises an error for a name that is too long
        yield Finding(path, f"no folder at {folder}; {remedy}")
    elif API not in declared_apis(value):
        yield Finding(path, f"no file in {folder} declares the API `{API}`; {remedy}")


def _provider_list(config: RunConfig, api: str, example: str) -> Iterator[Finding]:
    """Report an API without an enabled provider, and providers without an id; ``example`` is a provider to add."""
    path, entries = f"providers.{api}", config.mapping("providers").get(api)
    if entries is not None and not isinstance(entries, list):
        yield Finding(path, "is not a list; write one `- provider_id: NAME` for each provider")
        return
    for number, entry in enumerate(entries or ()):
        if not isinstance(entry, dict) or "provider_id" not in entry:
            yield Finding(f"{path}[{number}]", "no provider_id; add one")
    if not entries and config.mapping("providers"):
        yield Finding(path, f"no provider; add {example}")
    elif entries and all(
        isinstance(entry, dict) and entry.get("provider_id", entry) in DISABLED_IDS for entry in entries
    ):
        yield Finding(path, "all providers are disabled by their environment variables; set that of one")


def _inference(config: RunConfig) -> Iterator[Finding]:
    yield from _provider_list(config, "inference", "one, so that there is a model to serve")
    providers = config.providers("inference")
    ids = [str(entry["provider_id"]) for _, entry in providers]
    # types that need no module; unknown if there are some from external_providers_dir
    types = set() if config.content.get("external_providers_dir") else platform_types()
    for number, (path, entry) in enumerate(providers):
        if ids[number] in ids[:number]:
            yield Finding(f"{path}.provider_id", f"{ids[number]} is the id of an earlier provider; give it another id")
        yield from _inference_provider(path, entry, types)


def _inference_provider(path: str, entry: Mapping[str, Any], known: set[str]) -> Iterator[Finding]:
    kind, module = entry.get("provider_type"), entry.get("module")
    if not isinstance(kind, str):
        yield Finding(f"{path}.provider_type", "missing; write a type such as remote::vllm")
    elif kind in _OWN_MODULES and not module:
        yield Finding(path, f"{kind} needs its module; add `module: {_OWN_MODULES[kind]}`")
    elif (package := _PACKAGES.get(kind)) and importlib.util.find_spec(package) is None:
        text = f"{kind} needs the package {package}: pip install 'llama-stack-provider-messages[starter]'"
        yield Finding(path, text)
    elif not module and known and kind not in known:
        advice = suggestion(kind, known) or "name the package of another provider as `module`"
        yield Finding(f"{path}.provider_type", f"{kind} is not a type of the platform; {advice}")
        kind = similar_name(kind, known)  # whose configuration is checked below
    if isinstance(module, str):
        yield from _module(f"{path}.module", module.split("==")[0])
    config = entry.get("config")
    address = config.get("base_url") if isinstance(config, dict) else None
    if isinstance(address, str) and address and "://" not in address and "${" not in address:
        yield Finding(
            f"{path}.config.base_url", f"{address} has no scheme; write http://{address} or https://{address}"
        )
    if kind == "inline::llama-cpp":
        yield from _engine(path, entry)
    elif isinstance(kind, str) and not module and kind in known:
        yield from _fields(f"{path}.config", config, provider_fields(kind))


def _module(path: str, name: str) -> Iterator[Finding]:
    """Report a module that cannot be imported; no module is imported, because that can take seconds."""
    parts = f"{name}.provider".split(".")
    try:
        spec = importlib.util.find_spec(parts[0])
        for end in range(2, len(parts) + 1):
            places = spec.submodule_search_locations if spec else None
            spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:end]), places) if places else None
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        yield Finding(path, f"{name} cannot be imported; install its package, or correct the name")


def _engine(path: str, entry: Mapping[str, Any]) -> Iterator[Finding]:
    settings, findings = _validated(LlamaCppConfig, entry.get("config"), f"{path}.config")
    yield from findings
    try:
        check_engine()
    except ValueError as error:
        yield Finding(path, str(error))
    yield from (Finding(f"{path}.config.{field}", problem) for field, problem in model_file_problems(settings))


def _messages(config: RunConfig) -> Iterator[Finding]:
    yield from _provider_list(config, API, "`- {provider_id: builtin, provider_type: inline::builtin}`")
    providers = config.providers(API)
    for path, _ in providers[1:]:
        yield Finding(path, "a stack uses one Messages provider, and this would replace the first; remove one")
    for path, entry in providers[:1]:
        kind, module = entry.get("provider_type"), entry.get("module")
        if isinstance(module, str):
            yield from _module(f"{path}.module", module.split("==")[0])
        if kind != "inline::builtin":
            if not isinstance(kind, str) or not (module or config.content.get("external_providers_dir")):
                yield Finding(f"{path}.provider_type", f"{kind} is not known; write inline::builtin")
            continue
        yield from _validated(MessagesConfig, entry.get("config"), f"{path}.config")[1]
        if isinstance(entry.get("config"), dict):
            yield from _references(config, entry["config"], f"{path}.config")


def _references(config: RunConfig, settings: Mapping[str, Any], path: str) -> Iterator[Finding]:
    """Report ids of providers that the file does not have, and model names without a provider.

    Args:
        config: The file.
        settings: The configuration of the Messages provider; it may have invalid values, which are reported elsewhere.
        path: Its path.
    """
    enabled = [str(entry["provider_id"]) for _, entry in config.providers("inference")]
    listed = config.raw["providers"].get("inference") if enabled else None
    entries = [entry for entry in listed or () if isinstance(entry, dict)]
    if not enabled or not all("provider_id" in entry for entry in entries):
        return  # for which there is a finding already
    ids = {name for entry in entries for name in possible_values(entry["provider_id"])}
    types = {str(entry.get("provider_type")) for entry in entries}
    types |= {similar_name(kind, platform_types()) for kind in types}

    def names(field: str) -> dict[Any, Any]:
        return value if isinstance(value := settings.get(field), dict) else {}

    used = [(f"{field}.{name}", str(name)) for field in ("native", "wire") for name in names(field)]
    used += [(f"backends.{name}", str(name).partition("/")[0]) for name in names("backends") if str(name) not in types]
    for place, provider in used:
        if provider not in ids:
            yield Finding(f"{path}.{place}", _unknown_provider(provider, enabled))
    models = {f"aliases.{name}": model for name, model in names("aliases").items()}
    for place, model in {**models, "default_model": settings.get("default_model")}.items():
        if not isinstance(model, str) or not model:
            continue
        provider, slash, _ = model.partition("/")
        if not slash:
            text = f"{model} has no provider; write PROVIDER_ID/{model}, with one of {', '.join(enabled)}"
            yield Finding(f"{path}.{place}", text)
        elif provider not in enabled:
            text = f"{provider} is disabled by its environment variable; set it, or name another provider"
            yield Finding(f"{path}.{place}", text if provider in ids else _unknown_provider(provider, enabled))


def _unknown_provider(name: str, enabled: Sequence[str]) -> str:
    advice = suggestion(name, enabled) or f"the providers are {', '.join(enabled)}"
    return f"no inference provider has the id {name}; {advice}"


def server_port(config: RunConfig) -> int:
    """Return the port of a run.yaml; raise a ValueError if the platform does not accept it."""
    return _PORT.validate_python(config.mapping("server").get("port", DEFAULT_PORT))


def _fields(path: str, value: object, known: Fields | None) -> Iterator[Finding]:
    """Report fields that the platform does not know, which it ignores, and invalid numbers."""
    if known is None or value is None:
        return
    if not isinstance(value, dict):
        yield Finding(path, _NOT_A_MAPPING)
        return
    for name, part in value.items():
        where, field = f"{path}.{name}" if path else str(name), known.get(str(name))
        if field is None:
            yield Finding(where, f"{IGNORED}; {advice_for(name, known)}")
        elif field.fields and isinstance(part, dict):
            yield from _fields(where, part, field.fields)
        elif field.kind and part is not None:
            try:
                TypeAdapter(SIMPLE_TYPES[field.kind]).validate_python(part)
            except ValidationError:
                yield Finding(where, f"{part} is not of the type {field.kind}; correct the value")


def _server(config: RunConfig, *, allow_all_interfaces: bool) -> Iterator[Finding]:
    server = config.mapping("server")
    other = {name: part for name, part in server.items() if name != "port"}  # which is checked more strictly below
    yield from _fields("server", other, server_fields())
    try:
        server_port(config)
    except ValueError:
        text = "is not a port of the platform; write a number from 1024 to 65535"
        yield Finding("server.port", f"{server['port']} {text}")
    if allow_all_interfaces:
        return
    host = server.get("host")
    if host in ALL_INTERFACES and not config.mapping("server", "auth", "provider_config"):
        text = f"{host} listens on all interfaces" if host else "missing, so that the stack listens on all interfaces"
        yield Finding("server.host", f"{text} without authentication; set it to 127.0.0.1, or configure server.auth")


def _validated[M: BaseModel](model: type[M], value: object, path: str) -> tuple[M, list[Finding]]:
    """Return the configuration without its invalid fields, and what is wrong with those."""
    if not isinstance(value, dict | None):
        return model(), [Finding(path, _NOT_A_MAPPING)]
    try:
        return model.model_validate(value or {}), []
    except ValidationError as error:
        errors = error.errors()
        invalid = {item["loc"][0] for item in errors}
        rest = model.model_validate({name: part for name, part in (value or {}).items() if name not in invalid})
        return rest, [_invalid(model, path, item["loc"], item["type"], item["msg"]) for item in errors]


def _invalid(model: type[BaseModel], path: str, loc: tuple[int | str, ...], kind: str, text: str) -> Finding:
    where = ".".join([path, *map(str, loc)])
    if kind == "extra_forbidden":
        known = _ENTRY_MODELS[str(loc[0])] if len(loc) > 1 else model
        return Finding(where, f"unknown field; {advice_for(loc[-1], known.model_fields)}")
    if kind == "dict_type":
        return Finding(where, _NOT_A_MAPPING)
    return Finding(where, f"{text.removeprefix('Value error, ')}; correct the value")
