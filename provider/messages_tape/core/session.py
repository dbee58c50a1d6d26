"""A session: one tape in use. It decides the step for each request and reports all mismatches at the end. Sans-IO.

  request        replay              record             verify                live
  on the tape    Play                Record             Compare               Relay
  not on it      Play a 409          -                  Play a 409            -
  ambient        Play, repeatable    Record, unordered  Play, repeatable      Relay

An ambient call that is also among the exchanges of the tape is played from there, and can be repeated.

An adapter executes the step that ``ask`` returns: it plays an exchange, or sends the request to the upstream and
passes the response to the ``Recording``.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import unquote

from messages_tape.errors import Action, Report, UnsafeTapeError
from messages_tape.format.model import Exchange, Request, Tape
from messages_tape.secrets.known import SecretValues
from messages_tape.secrets.scan import hide, scan
from messages_tape.secrets.scrub import RawRequest, Rules

from .answers import made_up, model_entry, model_list, models_of, refusal
from .differ import explain
from .match import Playlist, key
from .recording import Recording, left_early
from .settle import settled
from .shape import differences
from .steps import Compare, Play, Record, Relay, Step

AMBIENT = (
    "GET */models", "GET */models/*", "GET */health", "GET */version", "GET */props", "GET */api/tags",
    "POST */v1/messages {}",
)  # fmt: skip
"""Calls that stacks make at startup and periodically, see ``Session``; never reported as unplayed or unexpected."""
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
        asked: The requests so far, ambient calls excluded.
        stamp: Hash of the file to replace, see ``store.py``; None if the file was not read.
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
        self.asked: list[RawRequest] = []
        self.stamp: str | None = None
        self._rules = rules or Rules()
        self._patterns = tuple(ambient)
        self._hint = hint
        self._strong: set[str] = set()  # changed by update() only: two threads may add at once
        self._weak: set[str] = set()
        self._playlist = Playlist(tape.exchanges, tape.ignore)
        self._tape = tape
        self._ambient = _by_key(tape.ambient, tape)
        self._recordings: list[Recording] = []
        self._ambient_recordings: dict[str, Recording] = {}
        self._unexpected: dict[str, int] = {}
        self._stayed: list[str] = []
        self._left: list[str] = []
        self._notes: list[str] = []
        self._differences: list[str] = []

    def ask(self, asked: RawRequest, at: float) -> Step:
        """Return the step for a request.

        Args:
            asked: The request.
            at: When it arrived; see ``Recording``.
        """
        if not self.is_ambient(asked):
            self.asked.append(asked)
        if self.action is Action.LIVE:
            return Relay()
        known = self._rules.known(asked)
        self._strong.update(known.strong)
        self._weak.update(known.weak)
        request = self._rules.request(asked, self.known)
        if self.is_ambient(asked):
            return self._ask_ambient(asked, request, at)
        if self.action is Action.RECORD:
            recording = Recording(asked, at)
            self._recordings.append(recording)
            return Record(recording)
        number = self._playlist.take(request)
        if number is None:
            return Play(refusal(request, self._refused(request)), "a refusal")
        return self._step(number, asked, at)

    def is_ambient(self, asked: RawRequest) -> bool:
        """Return whether a request is an ambient call."""
        return any(_fits(asked, *pattern.split(" ", 2)) for pattern in self._patterns)

    def has_ambient(self, asked: RawRequest) -> bool:
        """Return whether an ambient call is on the tape; others get a generated response."""
        return key(self._rules.request(asked, self.known), self._tape.ignore) in self._ambient

    def has_exchange(self, asked: RawRequest) -> bool:
        """Return whether a request, ambient or not, matches an exchange of the tape being played."""
        played = self.action in (Action.REPLAY, Action.VERIFY)
        return played and self._playlist.knows(self._rules.request(asked, self.known))

    def stayed(self, play: Play) -> None:
        """Record a failure: the client kept waiting where the recorded client disconnected."""
        request = play.exchange.request
        self._stayed.append(
            f"{play.place} ({request.method} {request.path}): when it was recorded the client left at this point; "
            "this time it waited for more"
        )

    def left(self, play: Play, taken: int, *, certain: bool) -> None:
        """Record that a client disconnected early where the recorded client read to the end, if it missed any content.

        Args:
            play: The exchange being played.
            taken: How many chunks the client received.
            certain: Whether ``taken`` is exact; then it is a failure, else a note. A server sends ahead and detects a
                disconnect late.
        """
        exchange = play.exchange
        counts = any(exchange is one for one in self._tape.exchanges)
        if not counts or not exchange.response or not left_early(exchange.response, taken):
            return
        (self._left if certain else self._notes).append(
            f"{play.place} ({exchange.request.method} {exchange.request.path}): when it was recorded the client "
            f"stayed to the end; this time it left at chunk {taken} of {len(exchange.response.chunks)}"
        )

    def compared(self, step: Compare) -> None:
        """Record how the shape of the live response differs from the recorded response."""
        live = step.recording.exchange(self._rules, self.known, 1)
        request = step.play.exchange.request
        place = f"{step.play.place} ({request.method} {request.path})"
        self._differences += [hide(f"{place}: {line}") for line in differences(step.play.exchange, live)]

    def recorded(self, old: Tape | None = None, **facts: str) -> Tape | None:
        """Return the recorded tape, or None if nothing was recorded.

        Args:
            old: The tape to replace; by default the one the session was opened with.
            facts: Facts about the upstream; see ``Upstream``. The default model is that of the first request with one.

        Raises:
            UnsafeTapeError: The tape holds a value that looks like a credential.
        """
        old = old or self._tape
        if not self._recordings and not self._ambient_recordings:
            return None
        exchanges = self._exchanges(self._recordings)
        ambient = [one for one in self._exchanges(self._ambient_recordings.values()) if one.response]
        calls = _by_key(old.ambient, old) | _by_key(ambient, old)
        upstream = old.upstream.model_copy(update={name: value for name, value in facts.items() if value})
        if not upstream.model:
            upstream = upstream.model_copy(update={"model": next(iter(models_of(exchanges)), "")})
        update = {"upstream": upstream, "exchanges": exchanges, "ambient": tuple(calls.values())}
        tape = settled(old.model_copy(update=update), old)
        if findings := scan(tape, self.known, self._rules.harmless):
            raise UnsafeTapeError(self.name, findings)
        return tape

    def rebase(self, tape: Tape, stamp: str) -> None:
        """Make the saved tape the base of the session, as if it had been opened with it.

        Args:
            tape: The saved tape.
            stamp: Hash of its file.
        """
        self._tape, self.stamp = tape, stamp

    @property
    def known(self) -> SecretValues:
        """Secret values found in the requests so far."""
        return SecretValues(frozenset(self._strong), frozenset(self._weak))

    @property
    def harmless(self) -> frozenset[str]:
        """Values that look like credentials but are not secret."""
        return self._rules.harmless

    @property
    def unplayed(self) -> list[int]:
        """The positions of the exchanges not played yet."""
        return self._playlist.unplayed if self.action in (Action.REPLAY, Action.VERIFY) else []

    def report(self) -> Report:
        """Return the report of the session so far."""
        played = self.action in (Action.REPLAY, Action.VERIFY)
        return Report(
            tape=self.name,
            action=self.action,
            exchanges=len(self._tape.exchanges) if played else len(self._recordings),
            unplayed=tuple(map(self._unplayed, self.unplayed)),
            unexpected=tuple(f"{text}{_times(count)}" for text, count in self._unexpected.items()),
            stayed=tuple(self._stayed),
            left=tuple(self._left),
            notes=tuple(self._notes),
            differences=tuple(dict.fromkeys(self._differences)),
        )

    def _ask_ambient(self, asked: RawRequest, request: Request, at: float) -> Step:
        wanted = key(request, self._tape.ignore)
        if self.action is Action.RECORD:
            recording = self._ambient_recordings[wanted] = Recording(asked, at)
            return Record(recording)
        number = self._playlist.take(request)
        number = self._playlist.last(request) if number is None else number
        if number is not None:
            return self._step(number, asked, at)
        return Play(self._ambient.get(wanted) or self._made_up(request), "an ambient call")

    def _step(self, number: int, asked: RawRequest, at: float) -> Step:
        play = Play(self._tape.exchanges[number], f"exchange {number + 1}")
        return play if self.action is Action.REPLAY else Compare(Recording(asked, at), play)

    def _made_up(self, request: Request) -> Exchange:
        """Return a generated response to an ambient call: model list, model entry, route probe or health check."""
        if request.path.endswith("/models"):
            names = dict.fromkeys([*filter(None, [self._tape.upstream.model]), *models_of(self._tape.exchanges)])
            return made_up(request, model_list(names))
        if request.method == "POST":  # probes whether the route exists
            there = any(exchange.request.path == request.path for exchange in self._tape.exchanges)
            error = {"type": "invalid_request_error" if there else "not_found_error", "message": "made up by a tape"}
            return made_up(request, {"type": "error", "error": error}, 400 if there else 404)
        _, found, name = request.path.partition("/models/")
        return made_up(request, model_entry(unquote(name)) if found else {"status": "ok"})

    def _refused(self, request: Request) -> str:
        text = (
            f'{request.method} {request.path} is not on tape "{self.name}".\n'
            f"{hide(explain(request, self._tape, self._playlist.unplayed))}\n{self._hint}"
        )
        self._unexpected[text] = self._unexpected.get(text, 0) + 1
        return text

    def _exchanges(self, recordings: Iterable[Recording]) -> tuple[Exchange, ...]:
        known = self.known
        return tuple(one.exchange(self._rules, known, number) for number, one in enumerate(recordings, 1))

    def _unplayed(self, number: int) -> str:
        request = self._tape.exchanges[number].request
        return f"exchange {number + 1} ({request.method} {request.path}) was not played"


def _by_key(exchanges: Iterable[Exchange], tape: Tape) -> dict[str, Exchange]:
    return {key(exchange.request, tape.ignore): exchange for exchange in exchanges}


def _fits(asked: RawRequest, method: str, path: str = "*", body: str = "") -> bool:
    """Return whether a request matches a pattern; a pattern without a body matches any body."""
    fits = fnmatchcase(asked.method, method) and fnmatchcase(asked.path, path)
    return fits and (not body or asked.body.strip() == body.encode())


def _times(count: int) -> str:
    return f"\n({count} times)" if count > 1 else ""
