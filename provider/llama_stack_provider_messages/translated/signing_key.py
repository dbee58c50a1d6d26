"""The key of this server's signatures: configured, or made once and kept.

A key that changes makes every signature somebody else's, and the reasoning in it is lost. So it has to outlive
restarts and be the same in all workers: whoever comes first puts it in place whole, and everybody reads it from there.
"""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from llama_stack_provider_messages.stack import get_logger

logger = get_logger(__name__)

_KEY_BYTES = 32


def random_key() -> bytes:
    """Return a new key."""
    return secrets.token_bytes(_KEY_BYTES)


def signing_key(secret: str | None, path: Path) -> bytes:
    """Return the key.

    Args:
        secret: As configured; without one the file is used.
        path: Of the file; it is created, readable for its owner only, when it does not exist.
    """
    if secret:
        return secret.encode()
    try:
        if not path.exists():
            _create(path)
        return _read(path)
    except (OSError, ValueError) as error:
        logger.warning(
            "using a temporary signing key: thinking signatures will not verify in other workers or after a restart; "
            "set signing_secret, or make the file usable",
            file=str(path),
            problem=type(error).__name__,
        )
        return random_key()


def _read(path: Path) -> bytes:
    key = bytes.fromhex(path.read_text())
    if len(key) < _KEY_BYTES:
        raise ValueError("the file holds no key")
    return key


def _create(path: Path) -> None:
    """Put a new key in place, unless another process was faster; nobody ever sees half of one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)  # only its owner may read it
    with os.fdopen(handle, "w") as file:
        file.write(random_key().hex())
    try:
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(name)
    finally:
        Path(name).unlink()
