"""Repairs lone UTF-16 surrogates, which JSON allows and UTF-8 does not; a stream may split a surrogate pair."""

_FIRST_HALF = ("\ud800", "\udbff")


def replace_lone_surrogates(text: str) -> str:
    """Return a text with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class SurrogateJoiner:
    """Joins surrogate pairs across pieces of a text: a high surrogate at the end of a piece is held for the next."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, piece: str) -> str:
        """Add a piece; return the text that is complete."""
        text = self._held + piece
        self._held = text[-1:] if _FIRST_HALF[0] <= text[-1:] <= _FIRST_HALF[1] else ""
        return replace_lone_surrogates(text.removesuffix(self._held))

    def rest(self) -> str:
        """Return U+FFFD for a held surrogate at the end of the text, ``""`` if none is held."""
        held, self._held = self._held, ""
        return replace_lone_surrogates(held)
