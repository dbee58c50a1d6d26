"""A running stack, as ``messages launch`` and ``messages doctor`` see it over HTTP."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import click

from llama_stack_provider_messages.upstream.this_machine import is_this_machine

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://127.0.0.1:8321"
"""Where `messages serve` and `llama stack run` listen by default."""
ANY_NAME = "messages-any-name"
"""A model name that no server has: it is answered only by ``default_model`` or a pattern that matches everything."""
REQUEST_SECONDS = 300.0
"""Timeout of one request: a backend may load its model first."""
GET_SECONDS, CONNECT_SECONDS = 60.0, 10.0
MAX_BODY_BYTES = 16 * 1024 * 1024
"""Larger bodies are not read to their end."""
MAX_LISTED_MODELS = 1000
"""Page size of the model list, the maximum of the API; further pages are not read."""
_TARGET = re.compile(r"(?P<alias>.+) \((?P<model>.+)\)")
"""The display name of an alias."""


class StackError(click.ClickException):
    """The stack cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model name that may be sent to the stack.

    Attributes:
        name: The name.
        model: The model it resolves to; the same as ``name`` unless it is an alias or answered by the default.
        window: Size of the context window in tokens; None if the stack does not say.
        output: Largest ``max_tokens``; None if the stack does not say.
    """

    name: str
    model: str
    window: int | None
    output: int | None


class RunningStack:
    """The HTTP client of a stack; a context manager, which closes its connections.

    Args:
        url: The base URL; a path that belongs to the API, such as ``/v1``, is removed.
        token: The bearer token; None if the stack needs none.
        seconds: Timeout of every request; None: ``GET_SECONDS`` for a GET request, ``REQUEST_SECONDS`` for others.

    Raises:
        StackError: The URL is not valid.
    """

    def __init__(self, url: str, token: str | None = None, seconds: float | None = None) -> None:
        import httpx

        self.url = base_url(url)
        try:
            httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise StackError(f"{url!r} is not a valid URL ({error}). Write it as {DEFAULT_URL}.") from None
        headers = {"anthropic-version": "2023-06-01"} | ({"authorization": f"Bearer {token}"} if token else {})
        self.seconds, self._get_seconds = seconds or REQUEST_SECONDS, seconds or GET_SECONDS
        timeout = httpx.Timeout(self.seconds, connect=min(self.seconds, CONNECT_SECONDS))
        trust_env = not is_this_machine(self.url)
        self.http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout, trust_env=trust_env, follow_redirects=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str, *, of_platform: bool = False) -> "httpx.Response":
        """Return the response to a GET request.

        Args:
            path: Path and query string.
            of_platform: Leave the API version out: a path that two APIs share is then the platform's own.

        Raises:
            StackError: No server answers at the URL, or not in time.
        """
        import httpx

        try:
            request = self.http.build_request("GET", path, timeout=self._get_seconds)
            if of_platform:
                del request.headers["anthropic-version"]
            response = self.http.send(request, stream=True)
            return read_response(response, self._get_seconds)
        except httpx.ReadTimeout:
            raise StackError(
                f"{self.url} accepts connections, but did not answer GET {path} in {self._get_seconds:g} s. Check that "
                "the backends in its run.yaml answer; the stack's log has the details."
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise StackError(
                f"No server answers at {self.url} ({reason}). Start one with `messages serve`, or give the right "
                "address (launch: --url)."
            ) from None

    def is_reachable(self) -> bool:
        """Return whether a server accepts connections at the URL."""
        import httpx

        try:
            with self.http.stream("GET", "/v1/health", timeout=self._get_seconds):
                return True
        except httpx.ConnectError:
            return False
        except httpx.HTTPError:
            return True  # the first real request says more

    def models(self) -> list[ListedModel]:
        """Return the models and aliases of the stack, ordered by name.

        Raises:
            StackError: The stack cannot be reached, requires authentication, or did not return a list.
        """
        entries = self._json(self.get(f"/v1/models?limit={MAX_LISTED_MODELS}")).get("data")
        if not isinstance(entries, list):
            raise StackError(
                f"{self.url}/v1/models is not a list of models. Check that --url is the address of a stack."
            )
        models = [listed_model(entry) for entry in entries if isinstance(entry, dict)]
        return sorted((model for model in models if model.name), key=lambda one: one.name)

    def check_messages_api(self) -> None:
        """Send an invalid request, which a server with a Messages API rejects.

        Raises:
            StackError: The server has no Messages API.
        """
        import httpx

        from llama_stack_provider_messages.errors.body import NO_ROUTE

        try:
            with self.http.stream("POST", "/v1/messages", json={}, timeout=self._get_seconds) as response:
                status = response.status_code
        except httpx.HTTPError:
            return  # the first real request says more
        if status in NO_ROUTE:
            raise StackError(
                f"{self.url} has no Messages API (POST /v1/messages has status {status}). Start "
                f"`messages serve --upstream {self.url}`, and launch the client on that stack."
            )

    def model(self, name: str) -> ListedModel | None:
        """Return the entry of a name, also one that only the default answers; None if it is not served.

        Raises:
            StackError: The stack cannot be reached or requires authentication.
        """
        response = self.get(f"/v1/models/{quote(name)}")
        return None if response.status_code == 404 else listed_model(self._json(response))

    def _json(self, response: "httpx.Response") -> dict[str, Any]:
        if response.status_code in (401, 403):
            raise StackError(
                f"{self.url} requires authentication (status {response.status_code}). Put the token into an "
                "environment variable and pass its name with --token-env."
            )
        try:
            value = response.json()
        except (ValueError, RecursionError):
            value = None
        if response.status_code != 200 or not isinstance(value, dict):
            raise StackError(
                f"GET {response.url.path} at {self.url} returned status {response.status_code} instead of JSON with "
                "status 200. `messages doctor` shows what is wrong."
            )
        return value


def read_response(
    response: "httpx.Response", seconds: float, on_part: Callable[[bytes], None] = lambda _part: None
) -> "httpx.Response":
    """Return a streamed response with its body, and close it.

    Args:
        response: The response.
        seconds: How long the body may take in all.
        on_part: Called with each part of the body as it arrives.

    Raises:
        httpx.HTTPError: The body is longer than ``MAX_BODY_BYTES``, takes too long, or breaks off.
    """
    import httpx

    end, parts, size = time.monotonic() + seconds, [], 0
    with contextlib.closing(response):
        for part in response.iter_raw():
            on_part(part)
            parts.append(part)
            size += len(part)
            if size > MAX_BODY_BYTES or time.monotonic() > end:
                what = (
                    f"is longer than {MAX_BODY_BYTES >> 20} MiB" if size > MAX_BODY_BYTES else f"takes {seconds:.0f} s"
                )
                raise httpx.ReadError(f"the response {what}", request=response.request)
    return httpx.Response(
        response.status_code, headers=response.headers, content=b"".join(parts), request=response.request
    )


def json_object(response: "httpx.Response", of_status: int = 200) -> dict[str, Any]:
    """Return the JSON object of a response with this status; empty if it is anything else."""
    try:
        value = response.json() if response.status_code == of_status else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def dicts(value: object) -> list[dict[str, Any]]:
    """Return the JSON objects in a value that should be a list of them."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def local_no_proxy(environ: Mapping[str, str], *hosts: str) -> dict[str, str]:
    """Return the variables with which a child process uses no proxy for hosts of this machine; empty without a proxy.

    Args:
        environ: Its environment.
        hosts: The hosts (default: all names of this machine).
    """
    before = environ.get("no_proxy") or environ.get("NO_PROXY")  # the first one wins in Python
    if before == "*" or not any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in environ):
        return {}
    added = hosts or ("localhost", "127.0.0.1", "::1")
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join([*filter(None, [before]), *added]))


def base_url(text: str) -> str:
    """Return a base URL without the paths that clients append themselves; ``http://`` is the default scheme."""
    url = text.strip() if "://" in text else f"http://{text.strip()}"
    return re.sub(r"(/v1(/messages)?)?/*$", "", url)


def token_of(variable: str | None) -> str | None:
    """Return the token in an environment variable; None without a variable.

    Raises:
        click.UsageError: The variable is not set.
    """
    if variable is None:
        return None
    if token := os.environ.get(variable):
        return header_value(token, variable)
    raise click.UsageError(f"--token-env: the environment variable {variable} is not set; export it first.")


def header_value(secret: str, variable: str) -> str:
    """Return a secret without white space around it, such as the line end of a mounted file.

    Raises:
        click.ClickException: A header cannot carry it; the message does not contain it.
    """
    secret = secret.strip()
    if not (secret.isascii() and secret.isprintable()):
        raise click.ClickException(f"the value of {variable} has characters that a header cannot carry; correct it.")
    return secret


def listed_model(entry: dict[str, Any]) -> ListedModel:
    """Return an entry of the model list; numbers that are missing or not positive are None."""
    name = str(entry.get("id", ""))
    target = _TARGET.fullmatch(str(entry.get("display_name", "")))
    window, output = (
        value if isinstance(value := entry.get(field), int) and value > 0 else None
        for field in ("max_input_tokens", "max_tokens")
    )
    return ListedModel(name, target["model"] if target and target["alias"] == name else name, window, output)
