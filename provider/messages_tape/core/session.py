"""A tape in use: decides what becomes of each request, and knows in the end what went wrong. Sans-IO.

              replay          record            verify                    live
  asked       Play            Record            Compare                   Relay
  not on it   Play a 409      -                 Play a 409                -
  ambient     Play, again     Record, no order  Play, again               Relay

A call that could be ambient and is among the exchanges of the tape is one of them, which can be played again.

An adapter does what ``ask`` returns: it plays an exchange, or asks the upstream and tells the ``Recording`` what comes.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import unquote

from messages_tape.errors import UnsafeTapeError
from messages_tape.format.model import Exchange, Request, Tape
from messages_tape.report import Action, Report
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
"""Calls that stacks make at their start and every now and then, see ``Session``; never unplayed or unexpected."""
HINT = 'To record the tape again, run this with mode "rewrite" while the upstream can be reached.'


class Session:
    """Plays or records one tape.

    Args:
        name: Of the tape.
        tape: What is played; when recording, what is replaced, whose ignore lists and facts are kept.
        action: What is done with it.
        rules: What stays on it.
        ambient: Calls that do not count, as patterns of ``METHOD path`` or ``METHOD path body``.
        hint: What a person does about a request that is not on the tape.

    Attributes:
        asked: What the program asked so far, ambient calls apart.
        stamp: Of the file that is replaced, see ``store.py``; None where nobody looked.
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
        self._strong: set[str] = set()  # grows by update(), which two threads may call at once
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
        """Return what to do with a request.

        Args:
            asked: The request.
            at: When it came; see ``Recording``.
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
        """Say whether a call is one that does not count."""
        return any(_fits(asked, *pattern.split(" ", 2)) for pattern in self._patterns)

    def has_ambient(self, asked: RawRequest) -> bool:
        """Say whether an ambient call is on the tape; another one is answered with something made up."""
        return key(self._rules.request(asked, self.known), self._tape.ignore) in self._ambient

    def has_exchange(self, asked: RawRequest) -> bool:
        """Say whether a call, ambient or not, is among the exchanges that are played."""
        played = self.action in (Action.REPLAY, Action.VERIFY)
        return played and self._playlist.knows(self._rules.request(asked, self.known))

    def stayed(self, play: Play) -> None:
        """Note that a client waited for more than was recorded before its predecessor left."""
        request = play.exchange.request
        self._stayed.append(
            f"{play.place} ({request.method} {request.path}): when it was recorded the client left at this point; "
            "this time it waited for more"
        )

    def left(self, play: Play, taken: int, *, certain: bool) -> None:
        """Note that a client left before an end that its predecessor waited for, if it missed anything.

        Args:
            play: What is played.
            taken: How many chunks of it the client has.
            certain: Whether they are what it took; a server sends ahead and hears of a client's leaving late.
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
        """Note how the answer that the upstream gave now differs in shape from the recorded one."""
        live = step.recording.exchange(self._rules, self.known, 1)
        request = step.play.exchange.request
        place = f"{step.play.place} ({request.method} {request.path})"
        self._differences += [hide(f"{place}: {line}") for line in differences(step.play.exchange, live)]

    def recorded(self, old: Tape | None = None, **facts: str) -> Tape | None:
        """Return the tape that was recorded, None if nothing was.

        Args:
            old: What is replaced; by default the tape that the session began with.
            facts: What is known of the upstream; see ``Upstream``. The model is taken from the requests if not given.

        Raises:
            UnsafeTapeError: It holds what looks like a credential.
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
        """Take the tape that was saved for the one that the session began with: what comes now is added to it.

        Args:
            tape: As it was saved.
            stamp: Of its file.
        """
        self._tape, self.stamp = tape, stamp

    @property
    def known(self) -> SecretValues:
        """What the requests so far showed to be secret."""
        return SecretValues(frozenset(self._strong), frozenset(self._weak))

    @property
    def harmless(self) -> frozenset[str]:
        """Values that look like credentials and are none."""
        return self._rules.harmless

    @property
    def unplayed(self) -> list[int]:
        """The positions of the exchanges that are still to be played."""
        return self._playlist.unplayed if self.action in (Action.REPLAY, Action.VERIFY) else []

    def report(self) -> Report:
        """Return what happened so far."""
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
        """Return what an upstream of this tape could have said: its models, its routes, or that it is well."""
        if request.path.endswith("/models"):
            names = dict.fromkeys([*filter(None, [self._tape.upstream.model]), *models_of(self._tape.exchanges)])
            return made_up(request, model_list(names))
        if request.method == "POST":  # asks whether there is such a route
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
    """Say whether a call is one of a pattern; a pattern without a body is for any."""
    fits = fnmatchcase(asked.method, method) and fnmatchcase(asked.path, path)
    return fits and (not body or asked.body.strip() == body.encode())


def _times(count: int) -> str:
    return f"\n({count} times)" if count > 1 else ""
