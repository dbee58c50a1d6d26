"""The key that signs thinking blocks: configured, or generated once and kept in a file.

If the key changes, older signatures do not verify, and the reasoning in them is lost. So the key has to survive
restarts and be the same in all workers: the first process creates the file atomically, and all processes read it.
"""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from llama_stack_provider_messages.stack import get_logger

logger = get_logger(__name__)

_KEY_BYTES = 32


def signing_key(secret: str | None, path: Path) -> bytes:
    """Return the key; if the file cannot be used, a random one, with a warning in the log.

    Args:
        secret: The configured secret; None: use the file.
        path: The key file; if it does not exist it is created, readable by its owner only.
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
        return secrets.token_bytes(_KEY_BYTES)


def _read(path: Path) -> bytes:
    key = bytes.fromhex(path.read_text())
    if len(key) < _KEY_BYTES:
        raise ValueError("the file does not contain a key")
    return key


def _create(path: Path) -> None:
    """Create the key file atomically, unless another process has created it first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)  # readable by its owner only
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(_KEY_BYTES))
    try:
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(name)
    finally:
        Path(name).unlink()
