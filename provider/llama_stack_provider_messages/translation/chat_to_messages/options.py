"""What a request's translation is told about the upstream and the model."""

from dataclasses import dataclass, field

from .models import Traits


@dataclass(frozen=True, slots=True)
class TranslationOptions:
    """How one request is translated.

    Args:
        model: The upstream's name of the model.
        max_tokens: Tokens of output when the request names no limit, which the Messages API needs; best the model's
            own maximum.
        traits: What the model can; see ``traits_of``.
        strict: Answer 400 instead of leaving out what changes the answer, and instead of repairing the history.
        max_output: Tokens the model can put out at most; none: unknown, and nothing is lowered.
    """

    model: str
    max_tokens: int = 4096
    traits: Traits = field(default_factory=Traits)
    strict: bool = False
    max_output: int | None = None
