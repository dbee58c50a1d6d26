"""The platform. Nothing else in this package imports it, and everything else imports it from here.

One module for each platform over the same small interface; ``inference.py`` has what only inference providers need.
"""

from .llama_stack import (
    STATE_FOLDER,
    AccessDeniedError,
    Api,
    AuthenticationRequiredError,
    Connection,
    HealthResponse,
    HealthStatus,
    InlineProviderSpec,
    Model,
    ModelNotFoundError,
    ModelTypeError,
    Network,
    OpenAIMixin,
    Platform,
    ProviderSpec,
    Target,
    check_allowed,
    connection_of,
    get_logger,
    network_of,
    register_routes,
)

__all__ = [
    "STATE_FOLDER",
    "AccessDeniedError",
    "Api",
    "AuthenticationRequiredError",
    "Connection",
    "HealthResponse",
    "HealthStatus",
    "InlineProviderSpec",
    "Model",
    "ModelNotFoundError",
    "ModelTypeError",
    "Network",
    "OpenAIMixin",
    "Platform",
    "ProviderSpec",
    "Target",
    "check_allowed",
    "connection_of",
    "get_logger",
    "network_of",
    "register_routes",
]
