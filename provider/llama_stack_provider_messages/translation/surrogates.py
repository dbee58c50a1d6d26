"""Repairs lone UTF-16 surrogates, which JSON allows and UTF-8 does not; a stream may be cut inside of a pair."""

_FIRST_HALF = ("\ud800", "\udbff")


def replace_lone_surrogates(text: str) -> str:
    """Return a text whose halves are joined where they belong together, and U+FFFD where they are alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class SurrogateJoiner:
    """Joins a text that comes in pieces; half a character at the end of one waits for the next."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, piece: str) -> str:
        """Take a piece; return what is whole."""
        text = self._held + piece
        self._held = text[-1:] if _FIRST_HALF[0] <= text[-1:] <= _FIRST_HALF[1] else ""
        return replace_lone_surrogates(text.removesuffix(self._held))

    def rest(self) -> str:
        """Return what stands for the half that nothing followed, ``""`` for none."""
        held, self._held = self._held, ""
        return replace_lone_surrogates(held)
