"""Records requests in the platform's metrics: duration, time to the first byte, tokens per second.

The platform's router records these for its own chat completions. Both lanes send requests without that router, so they
record the same three figures under the same names here.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any

from llama_stack_api_messages import Call
from llama_stack_api_messages.errors import MessagesError
from llama_stack_provider_messages.stack import Platform, Target, get_logger

logger = get_logger(__name__)


class RequestMetrics:
    """Records one request in the platform's metrics, once.

    Args:
        platform: Records the metrics.
        target: The model and its provider.
        call: The request's metadata.
        stream: Whether the response is a stream.
    """

    def __init__(self, platform: Platform, target: Target, call: Call, *, stream: bool) -> None:
        self._platform = platform
        self._target = target
        self._call = call
        self._stream = stream
        self._ended = False
        self._began = time.perf_counter()
        self._first: float | None = None

    def first_bytes(self) -> None:
        """Take the time of the first bytes; further calls do nothing."""
        self._first = self._first or time.perf_counter() - self._began

    def fail(self, error: MessagesError) -> None:
        """Log a failure, and record the request as failed."""
        log_failure(error, self._target, self._call)
        self.end({}, success=False)

    def end(self, usage: Mapping[str, Any], *, success: bool) -> None:
        """Record the request; only the first call counts."""
        if self._ended:
            return
        self._ended = True
        seconds = time.perf_counter() - self._began
        tokens = usage.get("output_tokens")
        self._platform.record(
            self._target,
            stream=self._stream,
            success=success,
            seconds=seconds,
            first_seconds=self._first,
            tokens=tokens if type(tokens) is int else None,
        )
        if logger.isEnabledFor(logging.DEBUG):  # a suppressed log call still costs 20 us
            logger.debug(
                "request recorded", request_id=self._call.request_id, model=self._target.model_id, usage=dict(usage)
            )


def log_failure(error: MessagesError, target: Target, call: Call) -> None:
    """Log a failure of the upstream, in one line."""
    logger.warning(
        "upstream failed",
        request_id=call.request_id,
        provider_id=target.provider_id,
        model=target.resource_id,
        status=error.status_code,
        message=error.message[:500],
    )
