"""Finds out what server an upstream is, by its own answers.

Nothing is generated, so it costs nothing. Three questions, in this order:

    GET /v1/models                 its models, and how it takes the key (as Bearer token, or as x-api-key)
    GET a path of one kind only    the server: see ``KINDS``; the content of the response decides, because some servers
                                   answer 200 to every path
    POST /v1/messages with {}      whether it speaks the Messages API (see ``routing/probe.py``)

A server of a known kind is used with the settings of its kind, and the stack itself probes its Messages API. An unknown
one with a Messages API becomes a ``remote::messages``, one with a list of models an OpenAI-like backend.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import click
import httpx

from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_provider_messages.routing.probe import verdict
from llama_stack_provider_messages.upstream.this_machine import is_this_machine

from .running_stack import read_response

_TIMEOUT_SECONDS = 10.0
_VERSION = {"anthropic-version": "2023-06-01"}
_REFUSED = (401, 403)
_NO_CHAT = re.compile(r"embed|rerank|whisper|tts|moderation|dall-e", re.IGNORECASE)
"""Names of models that do not chat; a default model is chosen among the others."""

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of server is recognized by, and how a run.yaml names it.

    Attributes:
        title: Its name for users.
        paths: Paths that only this kind answers with ``is_answer``.
        is_answer: Whether a JSON body of one of the paths is from this kind.
        provider_type: Type of the inference provider.
        key_field: The provider's field for the key.
        like: The preset of its profile, if the provider type does not select it.
        native: Whether requests are passed through if the server speaks the Messages API, and the type does not say so.
    """

    title: str
    paths: tuple[str, ...] = ()
    is_answer: Callable[[Json], bool] = lambda _: False
    provider_type: str = "remote::openai"
    key_field: str = "api_key"
    like: str | None = None
    native: bool = False


KINDS: Mapping[str, Kind] = {
    "llama-cpp": Kind(
        "llama.cpp",
        ("/props",),
        lambda body: "default_generation_settings" in body,
        provider_type="remote::llama-cpp-server",
    ),
    "sglang": Kind(
        "SGLang", ("/get_server_info", "/server_info"), lambda body: "model_path" in body, like="sglang", native=True
    ),
    "lmstudio": Kind(
        "LM Studio",
        ("/api/v0/models",),
        lambda body: any("state" in entry for entry in _entries(body) or []),
        like="lmstudio",
        native=True,
    ),
    # not remote::ollama, which needs a package of its own
    "ollama": Kind("Ollama", ("/api/version",), lambda body: "version" in body, like="ollama", native=True),
    "vllm": Kind(
        "vLLM",
        ("/version",),
        lambda body: "version" in body,
        provider_type="remote::vllm",
        key_field="api_token",
    ),
    "messages": Kind("a server with the Messages API", provider_type="remote::messages"),
    "openai": Kind("an OpenAI-like server"),
}
"""Provider id -> kind, in the order in which they are tried: some answer the path of a later one, too."""


@dataclass(frozen=True, slots=True)
class Detected:
    """An upstream that answered.

    Attributes:
        kind: Key of ``KINDS``.
        base_url: Base URL as the kind's provider takes it.
        models: The models that it lists, in its order.
        auth: How it takes the key: ``bearer`` or ``x-api-key``.
    """

    kind: str
    base_url: str
    models: list[str] = field(default_factory=list)
    auth: str = "bearer"

    @property
    def default_model(self) -> str | None:
        """Return the first model that is not one for embeddings, speech or the like; None if it lists none."""
        return next((name for name in self.models if not _NO_CHAT.search(name)), None)


def detect(url: str, key: str | None = None, key_env: str | None = None) -> Detected:
    """Return what the server at a URL is.

    Args:
        url: Its base URL, with or without ``/v1``.
        key: Its API key.
        key_env: The environment variable that the key is from, for messages.

    Raises:
        click.ClickException: It does not answer, refuses the key, or speaks neither API.
    """
    root = re.sub(r"(/v1)?(/messages|/chat/completions|/models)?/*$", "", url.strip())
    if not re.match(r"https?://[^/\s]+", root):
        raise click.ClickException(f"--upstream: {url} is not an http or https URL; write http://HOST:PORT")
    if "@" in root.split("/")[2]:
        raise click.ClickException("--upstream: the URL has a password; use --upstream-key-env, or remove it")
    try:
        httpx.URL(root)
    except httpx.InvalidURL as error:
        raise click.ClickException(f"--upstream: {url} is not a valid URL ({error}); write http://HOST:PORT") from None
    with httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=not is_this_machine(root)) as client:
        server = _Server(client, root, key)
        try:
            base, models, refused = server.models()
            kind = server.kind()
            if not kind and server.speaks_messages():
                kind = "messages"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            text = f"--upstream: no answer from {root} ({reason}); start the server, or correct the URL"
            raise click.ClickException(text) from None
    if refused and not models:
        advice = f"correct the value of {key_env}" if key else "name the variable with its key: --upstream-key-env NAME"
        raise click.ClickException(f"--upstream: {root} answers {refused} without a valid key; {advice}")
    if kind == "messages":
        return Detected(kind, root, models or [], server.auth)
    if models is None:
        text = f"--upstream: {root} has neither /v1/messages nor a list at /v1/models; correct the URL"
        raise click.ClickException(text)
    return Detected(kind or "openai", base, models, server.auth)


class _Server:
    """The questions to one server.

    Attributes:
        auth: How it takes the key.
    """

    def __init__(self, client: httpx.Client, root: str, key: str | None) -> None:
        self._client = client
        self._root = root
        self._key = key
        self.auth = "bearer"

    def models(self) -> tuple[str, list[str] | None, int]:
        """Return the base URL of the list of models, the list, and the status if the key was refused.

        Raises:
            httpx.HTTPError: The server does not answer.
        """
        refused = 0
        for auth in ("bearer", "x-api-key") if self._key else ("bearer",):
            self.auth = auth
            for base in (f"{self._root}/v1", self._root):
                response = self._ask("GET", f"{base}/models")
                if response.status_code in _REFUSED:
                    refused = response.status_code
                    break
                body = loads_or_none(response.content)
                if response.is_success and isinstance(body, dict) and (entries := _entries(body)) is not None:
                    names = [str(entry["id"]) for entry in entries if "id" in entry]
                    return base, [name for name in names if is_literal(name)], 0
        return f"{self._root}/v1", None, refused

    def kind(self) -> str:
        """Return the kind that the server shows by an answer of its own; empty if it shows none."""
        for name, kind in KINDS.items():
            for path in kind.paths:
                response = self._ask("GET", self._root + path)
                body = loads_or_none(response.content) if response.is_success else None
                if isinstance(body, dict) and kind.is_answer(body):
                    return name
        return ""

    def speaks_messages(self) -> bool:
        """Return whether the server has a Messages endpoint."""
        response = self._ask("POST", f"{self._root}/v1/messages", b"{}")
        return verdict(response.status_code, response.content) is True

    def _ask(self, method: str, url: str, body: bytes | None = None) -> httpx.Response:
        """Return a response whose body was read within the bounds of ``read_response``."""
        request = self._client.build_request(method, url, content=body, headers=self._headers())
        return read_response(self._client.send(request, stream=True), _TIMEOUT_SECONDS)

    def _headers(self) -> dict[str, str]:
        headers = {**_VERSION, "content-type": "application/json"}
        if not self._key:
            return headers
        return headers | (
            {"x-api-key": self._key} if self.auth == "x-api-key" else {"authorization": f"Bearer {self._key}"}
        )


def is_literal(text: str) -> bool:
    """Return whether a text means itself in a run.yaml: in one with ``${env.NAME}`` the platform puts a variable."""
    return text.isprintable() and "${" not in text


def _entries(body: Json) -> list[Json] | None:
    """Return the entries of a list of models; None if the body is not one."""
    data = body.get("data")
    return [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else None


def provider_entry(found: Detected, key_env: str | None) -> Json:
    """Return the entry of run.yaml for an upstream; the key is a reference to its environment variable."""
    kind = KINDS[found.kind]
    entry: Json = {"provider_id": found.kind, "provider_type": kind.provider_type}
    config: Json = {"base_url": found.base_url}
    if found.kind == "messages":
        entry["module"] = "llama_stack_provider_messages.remote"
    key = f"${{env.{key_env}}}" if key_env else None
    if key or kind.provider_type == "remote::openai":  # whose client does not start without one
        config[kind.key_field] = key or "none"
    if key and found.kind == "messages":
        config["auth"] = found.auth
    return {**entry, "config": config}


def messages_settings(found: Detected, default_model: str) -> Json:
    """Return the configuration of the Messages provider for an upstream."""
    kind = KINDS[found.kind]
    settings: Json = {"default_model": f"{found.kind}/{default_model}"}
    if kind.like:
        settings["backends"] = {found.kind: {"like": kind.like}}
    if kind.native:
        settings["native"] = {found.kind: "auto"}
    return settings
