"""A session: one tape in use. It decides the step for each request and reports all mismatches at the end. Sans-IO.

  request                             replay            record             verify            live
  in ``exchanges``                    Replay            Record             Verify            Live
  in neither list                     Replay a 409      Record             Replay a 409      Live
  ambient call, not in ``exchanges``  Replay            Record             Replay            Live

An ambient call is one that a stack makes at startup and periodically, such as ``GET /v1/models``. The report omits
ambient calls. The tape stores them in a separate list, ``ambient``; a call that is in neither list gets a generated
response. An ambient call that is in ``exchanges`` is an exchange: it has to be played, and its last response is
replayed to further calls.

An adapter executes the step that ``step_for`` returns: it plays an exchange, or sends the request to the upstream and
passes the response to the ``Recording``.
"""

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

from messages_tape.errors import Action, Report, UnsafeTapeError
from messages_tape.format.model import Chunk, End, Exchange, Request, Response, Tape
from messages_tape.secrets.scan import hide, scan
from messages_tape.secrets.scrub import RawRequest, Rules
from messages_tape.secrets.secret_values import SecretValues

from .differences import explain, shape_diff
from .match import Playlist, keep_old_timings, key
from .steps import Live, Record, Recording, Replay, Step, Verify, left_early

AMBIENT = (
    "GET */models", "GET */models/*", "GET */health", "GET */version", "GET */props", "GET */api/tags",
    "POST */v1/messages {}",
)  # fmt: skip
"""Patterns of ambient calls: ``METHOD path`` or ``METHOD path body``."""
HINT = 'To record the tape again, run this with mode "rewrite" while the upstream can be reached.'


class Session:
    """Plays or records one tape.

    Args:
        name: Name of the tape.
        tape: The tape to play; when recording, the tape to replace, whose ignore lists and facts are kept.
        action: Whether to play, record, compare or relay.
        rules: Which headers and fields are kept on the tape.
        ambient: Ambient calls, as patterns of ``METHOD path`` or ``METHOD path body``.
        hint: Advice for the user about a request that is not on the tape.

    Attributes:
        requests: The requests so far, without ambient calls.
        tape: The tape to play or to replace.
    """

    def __init__(
        self,
        name: str,
        tape: Tape,
        action: Action,
        *,
        rules: Rules | None = None,
        ambient: Iterable[str] = AMBIENT,
        hint: str = HINT,
    ) -> None:
        self.name = name
        self.action = action
        self.tape = tape
        self.requests: list[RawRequest] = []
        self._rules = rules or Rules()
        self._patterns = tuple(ambient)
        self._hint = hint
        self._strong_secrets: set[str] = set()  # changed by update() only: two threads may add at once
        self._weak_secrets: set[str] = set()
        self._playlist = Playlist(tape.exchanges, tape.ignore)
        self._ambient = _by_key(tape.ambient, tape)
        self._recordings: list[Recording] = []
        self._ambient_recordings: dict[str, Recording] = {}
        self._unexpected: dict[str, int] = {}
        self._client_waited: list[str] = []
        self._client_left: list[str] = []
        self._notes: list[str] = []
        self._differences: list[str] = []

    def step_for(self, raw: RawRequest, at: float) -> Step:
        """Return the step for a request.

        Args:
            raw: The request.
            at: When it arrived; see ``Recording``.
        """
        is_ambient = self.is_ambient(raw)
        if not is_ambient:
            self.requests.append(raw)
        if self.action is Action.LIVE:
            return Live()
        found = self._rules.secret_values(raw)
        self._strong_secrets.update(found.strong)
        self._weak_secrets.update(found.weak)
        request = self._rules.request(raw, self.secret_values)
        if self.action is Action.RECORD:
            recording = Recording(raw, at)
            if is_ambient:
                self._ambient_recordings[key(request, self.tape.ignore)] = recording
            else:
                self._recordings.append(recording)
            return Record(recording)
        number = self._playlist.take(request)
        if number is None and is_ambient:
            number = self._playlist.last(request)
        if number is not None:
            replay = Replay(self.tape.exchanges[number], f"exchange {number + 1}")
            return replay if self.action is Action.REPLAY else Verify(Recording(raw, at), replay)
        if is_ambient:
            recorded = self._ambient.get(key(request, self.tape.ignore))
            return Replay(recorded or self._generated_ambient(request), "an ambient call")
        return self._mismatch_response(request)

    def is_ambient(self, raw: RawRequest) -> bool:
        """Return whether a request is an ambient call."""

        def fits(method: str, path: str = "*", body: str = "") -> bool:
            same_call = fnmatchcase(raw.method, method) and fnmatchcase(raw.path, path)
            return same_call and (not body or raw.body.strip() == body.encode())

        return any(fits(*pattern.split(" ", 2)) for pattern in self._patterns)

    def has_ambient(self, raw: RawRequest) -> bool:
        """Return whether an ambient call is on the tape; others get a generated response."""
        return key(self._rules.request(raw, self.secret_values), self.tape.ignore) in self._ambient

    def has_exchange(self, raw: RawRequest) -> bool:
        """Return whether a request, ambient or not, matches an exchange of the tape being played."""
        return self._plays and self._playlist.matches(self._rules.request(raw, self.secret_values))

    def client_waited(self, replay: Replay) -> None:
        """Record a failure: the client kept waiting where the recorded client disconnected."""
        request = replay.exchange.request
        self._client_waited.append(
            f"{replay.label} ({request.method} {request.path}): the recorded client disconnected at this point, but "
            "this client waited for more"
        )

    def client_closed(self, replay: Replay, taken: int, *, certain: bool) -> None:
        """Record a failure or a note if a client closed a response early, where the recorded client read to the end.

        Clients that close a response after its last event have not left early.

        Args:
            replay: The exchange being played.
            taken: How many chunks the client received.
            certain: Whether ``taken`` is exact; then it is a failure, else a note. A server sends ahead and detects a
                disconnect late.
        """
        exchange = replay.exchange
        counts = exchange.end.how == "complete" and any(exchange is one for one in self.tape.exchanges)
        if not counts or not exchange.response or not left_early(exchange.response, taken):
            return
        request = exchange.request
        (self._client_left if certain else self._notes).append(
            f"{replay.label} ({request.method} {request.path}): the recorded client stayed to the end, "
            f"but this client disconnected at chunk {taken} of {len(exchange.response.chunks)}"
        )

    def add_differences(self, step: Verify) -> None:
        """Add to the report how the shape of the live response differs from the recorded response."""
        live = step.recording.exchange(self._rules, self.secret_values, 1)
        request = step.replay.exchange.request
        label = f"{step.replay.label} ({request.method} {request.path})"
        self._differences += [hide(f"{label}: {line}") for line in shape_diff(step.replay.exchange, live)]

    def recorded(self, old: Tape | None = None, /, **facts: str) -> Tape | None:
        """Return the recorded tape, or None if nothing was recorded.

        Args:
            old: The tape to replace; by default the one the session was opened with.
            facts: Facts about the upstream; see ``Upstream``. The default model is that of the first request with one.

        Raises:
            UnsafeTapeError: The tape holds a value that looks like a credential.
        """
        old = old or self.tape
        if not self._recordings and not self._ambient_recordings:
            return None
        exchanges = self._exchanges(self._recordings)
        ambient = [one for one in self._exchanges(self._ambient_recordings.values()) if one.response]
        calls = _by_key(old.ambient, old) | _by_key(ambient, old)
        upstream = old.upstream.model_copy(update={name: value for name, value in facts.items() if value})
        if not upstream.model:
            upstream = upstream.model_copy(update={"model": next(iter(_models_in(exchanges)), "")})
        update = {"upstream": upstream, "exchanges": exchanges, "ambient": tuple(calls.values())}
        tape = keep_old_timings(old.model_copy(update=update), old)
        if findings := scan(tape, self.secret_values, self._rules.harmless):
            raise UnsafeTapeError(self.name, findings)
        return tape

    @property
    def statuses(self) -> list[int]:
        """The status codes of the recorded responses, without ambient calls; 0 where there was no response."""
        return [recording.status for recording in self._recordings]

    @property
    def secret_values(self) -> SecretValues:
        """Secret values found in the requests so far."""
        return SecretValues(frozenset(self._strong_secrets), frozenset(self._weak_secrets))

    @property
    def harmless(self) -> frozenset[str]:
        """Values that look like credentials but are not secret."""
        return self._rules.harmless

    @property
    def unplayed(self) -> list[int]:
        """The positions of the exchanges not played yet."""
        return self._playlist.unplayed if self._plays else []

    def report(self) -> Report:
        """Return the report of the session so far."""
        requests = ((number, self.tape.exchanges[number].request) for number in self.unplayed)
        return Report(
            tape=self.name,
            action=self.action,
            exchanges=len(self.tape.exchanges) if self._plays else len(self._recordings),
            unplayed=tuple(
                f"exchange {number + 1} ({request.method} {request.path}) was not played"
                for number, request in requests
            ),
            unexpected=tuple(
                f"{text}\n({count} times)" if count > 1 else text for text, count in self._unexpected.items()
            ),
            stayed=tuple(self._client_waited),
            left=tuple(self._client_left),
            notes=tuple(self._notes),
            differences=tuple(dict.fromkeys(self._differences)),
        )

    @property
    def _plays(self) -> bool:
        return self.action in (Action.REPLAY, Action.VERIFY)

    def _exchanges(self, recordings: Iterable[Recording]) -> tuple[Exchange, ...]:
        values = self.secret_values
        return tuple(one.exchange(self._rules, values, number) for number, one in enumerate(recordings, 1))

    def _generated_ambient(self, request: Request) -> Exchange:
        """Return a generated response to an ambient call: model list, model entry, route probe or health check."""
        if request.path.endswith("/models"):
            names = dict.fromkeys([*filter(None, [self.tape.upstream.model]), *_models_in(self.tape.exchanges)])
            return _generated(request, {"object": "list", "data": [_model_entry(name) for name in names]})
        if request.method == "POST":  # probes whether the route exists
            exists = any(exchange.request.path == request.path for exchange in self.tape.exchanges)
            kind = "invalid_request_error" if exists else "not_found_error"
            body = {"type": "error", "error": {"type": kind, "message": "generated by the tape"}}
            return _generated(request, body, 400 if exists else 404)
        _, found, name = request.path.partition("/models/")
        return _generated(request, _model_entry(unquote(name)) if found else {"status": "ok"})

    def _mismatch_response(self, request: Request) -> Replay:
        """Return the 409 for a request that is not on the tape; SDKs of both APIs show its message and do not retry."""
        text = (
            f'{request.method} {request.path} is not on tape "{self.name}".\n'
            f"{hide(explain(request, self.tape, self._playlist.unplayed))}\n{self._hint}"
        )
        self._unexpected[text] = self._unexpected.get(text, 0) + 1
        error = {"type": "tape_mismatch", "code": "tape_mismatch", "message": text}
        exchange = _generated(request, {"type": "error", "error": error}, 409, **{"x-should-retry": "false"})
        return Replay(exchange, "a request that is not on the tape")


def _by_key(exchanges: Iterable[Exchange], tape: Tape) -> dict[str, Exchange]:
    return {key(exchange.request, tape.ignore): exchange for exchange in exchanges}


def _models_in(exchanges: Iterable[Exchange]) -> list[str]:
    """Return the distinct ``model`` values of the request bodies, in order."""
    bodies = (exchange.request.body for exchange in exchanges)
    named = (body.value.get("model") for body in bodies if body and isinstance(body.value, dict))
    return [*dict.fromkeys(model for model in named if isinstance(model, str))]


def _model_entry(name: str) -> dict[str, Any]:
    """Return the response body of ``GET /v1/models/<name>``."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "tape"}


def _generated(request: Request, body: Any, status: int = 200, **headers: str) -> Exchange:  # noqa: ANN401 - any JSON
    """Return an exchange with a JSON response that no upstream sent."""
    data = json.dumps(body).encode()
    fields = {"content-type": "application/json", "content-length": str(len(data)), **headers}
    response = Response(status=status, headers=fields, chunks=(Chunk(0.0, data),))
    return Exchange(request=request, response=response, end=End(how="complete"))
