"""Token counts of a response."""

from typing import Annotated, Literal

from pydantic import Field

from .base import ByType, Known, OpenModel, Unknown

CREDIT_REFUSALS = (
    "body_mismatch", "continuation_excluded", "continuation_only", "expired", "invalid_target_model", "not_enabled",
    "reprice_unavailable", "temporarily_unavailable", "variant_fields_present", "wrong_organization",
    "wrong_platform", "wrong_workspace",
)  # fmt: skip
"""Why a fallback credit is not applied."""


class CacheCreation(OpenModel):
    """Tokens written to the prompt cache, by lifetime."""

    ephemeral_5m_input_tokens: int = Field(default=0, description="Entries of five minutes.")
    ephemeral_1h_input_tokens: int = Field(default=0, description="Entries of one hour.")


class OutputTokensDetails(OpenModel):
    """A breakdown of the output tokens."""

    thinking_tokens: int = Field(default=0, description="Tokens of reasoning, part of `output_tokens`.")


class ServerToolUsage(OpenModel):
    """The number of uses of each server tool."""

    web_search_requests: int = Field(default=0, description="Web searches.")
    web_fetch_requests: int = Field(default=0, description="Fetched pages.")


class FallbackCreditRedeemed(OpenModel):
    """The credit was used."""

    type: Literal["redeemed"]


class FallbackCreditNotApplied(OpenModel):
    """The credit was not used."""

    type: Literal["not_applied"]
    reason: Annotated[str, Known(*CREDIT_REFUSALS)] = Field(description="Reason.")
    remove_to_redeem: list[str] | None = Field(
        default=None, description="Fields to remove from the request so that the credit applies."
    )


class UnknownCreditStatus(Unknown):
    """A state of the credit this server does not know."""


class FallbackCreditUsage(OpenModel):
    """The result of redeeming a fallback credit."""

    status: Annotated[FallbackCreditRedeemed | FallbackCreditNotApplied | UnknownCreditStatus, ByType()] = Field(
        description="Whether the credit was used."
    )


class _Iteration(OpenModel):
    """Counts of one model call inside a request."""

    input_tokens: int = Field(description="Uncached input tokens.")
    output_tokens: int = Field(description="Output tokens.")
    cache_creation_input_tokens: int = Field(default=0, description="Input tokens written to the cache.")
    cache_read_input_tokens: int = Field(default=0, description="Input tokens read from the cache.")
    cache_creation: CacheCreation | None = Field(default=None, description="Cache writes by lifetime.")


class MessageIteration(_Iteration):
    """A call that produced a part of the response."""

    type: Literal["message"]
    model: str | None = Field(default=None, description="Model that was called.")


class CompactionIteration(_Iteration):
    """A call that summarised the conversation; not part of the totals."""

    type: Literal["compaction"]


class AdvisorMessageIteration(_Iteration):
    """A call of the advisor."""

    type: Literal["advisor_message"]
    model: str = Field(description="Model that was called.")


class FallbackMessageIteration(_Iteration):
    """A call of a fallback model."""

    type: Literal["fallback_message"]
    model: str = Field(description="Model that was called.")


class UnknownIteration(Unknown):
    """A call of a type this server does not know."""


type Iteration = Annotated[
    MessageIteration | CompactionIteration | AdvisorMessageIteration | FallbackMessageIteration | UnknownIteration,
    ByType(),
]


class _Usage(OpenModel):
    """The common counts of a message and of the last `message_delta`."""

    output_tokens: int = Field(description="Tokens produced, thinking included.")
    cache_creation_input_tokens: int | None = Field(default=None, description="Input tokens written to the cache.")
    cache_read_input_tokens: int | None = Field(default=None, description="Input tokens read from the cache.")
    output_tokens_details: OutputTokensDetails | None = Field(
        default=None, description="Breakdown of the output tokens."
    )
    server_tool_use: ServerToolUsage | None = Field(default=None, description="Uses of server tools.")
    iterations: list[Iteration] | None = Field(default=None, description="Counts by model call (beta).")
    fallback_credit: FallbackCreditUsage | None = Field(
        default=None, description="Result of redeeming a fallback credit (beta)."
    )


class Usage(_Usage):
    """Token counts of a message; the whole input is `input_tokens` plus both cache counts."""

    input_tokens: int = Field(description="Input tokens neither read from nor written to the cache.")
    cache_creation: CacheCreation | None = Field(default=None, description="Cache writes by lifetime.")
    service_tier: Annotated[str, Known("standard", "priority", "batch")] | None = Field(
        default=None, description="Capacity that served the request."
    )
    inference_geo: str | None = Field(default=None, description="Region in which the model ran.")
    speed: Annotated[str, Known("standard", "fast")] | None = Field(default=None, description="Speed delivered.")


class MessageDeltaUsage(_Usage):
    """The counts of a `message_delta`; cumulative, each replaces the earlier one."""

    input_tokens: int | None = Field(default=None, description="Uncached input tokens, if known only at the end.")
