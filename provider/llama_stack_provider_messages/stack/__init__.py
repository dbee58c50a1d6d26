"""The interface to the platform. The rest of this package imports the platform only from here.

Each supported platform has one module with the same small interface. ``inference.py`` has the additional names that
inference providers need.
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
