"""Options of a request's translation: settings of the upstream and the model."""

from dataclasses import dataclass, field

from .models import Traits


@dataclass(frozen=True, slots=True)
class TranslationOptions:
    """Options for the translation of one request.

    Args:
        model: The upstream's name of the model.
        max_tokens: Output limit in tokens for requests without one, because the Messages API requires a limit;
            preferably the model's own maximum.
        traits: The settings the model supports; see ``traits_of``.
        strict: Answer 400 instead of dropping parts that change the response, and instead of repairing the history.
        max_output: The model's maximum output in tokens; None if unknown: no limit is lowered then.
    """

    model: str
    max_tokens: int = 4096
    traits: Traits = field(default_factory=Traits)
    strict: bool = False
    max_output: int | None = None
