"""The error tree and its wire form."""

import pytest

from llama_stack_api_messages import errors
from llama_stack_api_messages.errors import ERROR_BY_STATUS, MessagesError, UpstreamError, error_for_status
from llama_stack_api_messages.models import ERROR_TYPES, ErrorBody


def leaves(cls=MessagesError):
    """Return the classes with a status of their own; other packages have branches of theirs."""
    children = (
        child for child in cls.__subclasses__() if child.__module__ == errors.__name__ and child is not UpstreamError
    )
    return [cls, *(leaf for child in children for leaf in leaves(child))]


@pytest.mark.parametrize("cls", leaves())
def test_every_error_has_a_body_of_the_protocol(cls):
    """Its type is one of the protocol, and the models parse its body."""
    body = ErrorBody.model_validate(cls("it broke", details={"error_code": "x"}).body("req_1"))
    assert body.error.type in ERROR_TYPES
    assert body.error.details == {"error_code": "x"}
    assert body.request_id == "req_1"


@pytest.mark.parametrize("cls", leaves())
def test_every_error_is_drawn_in_the_tree(cls):
    """The module's docstring shows the whole tree with its statuses."""
    line = next(line for line in errors.__doc__.splitlines() if f" {cls.__name__}" in f" {line.strip(' |`-')} ")
    assert cls is MessagesError or str(cls.status_code) in line
    assert cls is MessagesError or cls.error_type in line


@pytest.mark.parametrize(("status", "kind"), [(418, 400), (422, 400), (501, 500), (599, 500), (302, 500)])
def test_a_status_without_a_class_gets_the_nearest(status, kind):
    """Other 4xx are bad requests, everything else is a server error."""
    assert error_for_status(status).status_code == kind


@pytest.mark.parametrize("status", sorted(ERROR_BY_STATUS))
def test_a_listed_status_gets_its_class(status):
    """As the table says."""
    assert error_for_status(status) is ERROR_BY_STATUS[status]


def test_retryability_may_differ_from_the_class():
    """An exhausted quota is a 429 that does not go away."""
    assert errors.RateLimitError("x").retryable
    assert not errors.RateLimitError("x", retryable=False).retryable


def test_an_upstreams_error_has_its_own_status_and_type():
    """Both may be unknown; whether a retry helps follows from the status."""
    error = UpstreamError(418, "teapot_error", "short and stout", headers={"retry-after": "1"}, raw=b"{}")
    assert (error.status_code, error.retryable, error.headers, error.raw) == (418, False, {"retry-after": "1"}, b"{}")
    assert error.body("req_1")["error"] == {"type": "teapot_error", "message": "short and stout"}
    assert UpstreamError(503, "x", "y").retryable
