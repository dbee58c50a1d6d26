"""Generated responses, which no upstream sent: rejections, and default responses to ambient calls."""

import json
from collections.abc import Iterable
from typing import Any

from messages_tape.format.model import Chunk, End, Exchange, Request, Response


def models_of(exchanges: Iterable[Exchange]) -> list[str]:
    """Return the distinct ``model`` values of the request bodies, in order."""
    bodies = (exchange.request.body for exchange in exchanges)
    named = (body.value.get("model") for body in bodies if body and isinstance(body.value, dict))
    return [*dict.fromkeys(model for model in named if isinstance(model, str))]


def model_entry(name: str) -> dict[str, Any]:
    """Return the response body of ``GET /v1/models/<name>``."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "tape"}


def model_list(names: Iterable[str]) -> dict[str, Any]:
    """Return the response body of ``GET /v1/models``."""
    return {"object": "list", "data": [model_entry(name) for name in names]}


def made_up(request: Request, body: Any, status: int = 200, **headers: str) -> Exchange:  # noqa: ANN401 - any JSON
    """Return an exchange with a generated JSON response."""
    data = json.dumps(body).encode()
    fields = {"content-type": "application/json", "content-length": str(len(data)), **headers}
    response = Response(status=status, headers=fields, chunks=(Chunk(0.0, data),))
    return Exchange(request=request, response=response, end=End(how="complete"))


def refusal(request: Request, text: str) -> Exchange:
    """Return the 409 for a request that is not on the tape; SDKs of both APIs show its message and do not retry."""
    error = {"type": "tape_mismatch", "code": "tape_mismatch", "message": text}
    return made_up(request, {"type": "error", "error": error}, 409, **{"x-should-retry": "false"})
