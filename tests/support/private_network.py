"""A network of its own for commands that name a fixed port: what they listen on is free, and nothing else is reached.

It is a network namespace of Linux. ``python private_network.py hold`` makes one and waits; ``python private_network.py
enter PID COMMAND`` runs a command in it.
"""

import contextlib
import os
import socket
import struct
import subprocess
import sys
from typing import Self

_SET_INTERFACE_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41


class PrivateNetwork:
    """Holds a network while the block runs.

    Attributes:
        is_available: Whether this machine permits one.
    """

    def __enter__(self) -> Self:
        command = [sys.executable, __file__, "hold"]
        self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._holder.stdout
        self.is_available = self._holder.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.communicate()

    def command(self, *words: str) -> list[str]:
        """Return the command that runs a command in this network."""
        return [sys.executable, __file__, "enter", str(self._holder.pid), *words]


def _hold() -> None:
    import fcntl

    try:
        os.unshare(os.CLONE_NEWNET)
    except PermissionError:
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_INTERFACE_FLAGS, struct.pack("16sH14x", b"lo", _UP_AND_RUNNING))
    print("ready", flush=True)
    sys.stdin.read()


def _enter(pid: str, command: list[str]) -> None:
    for kind in ("user", "net"):
        handle = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
        with contextlib.suppress(OSError):  # root is in the holder's user namespace already
            os.setns(handle, 0)
        os.close(handle)
    os.execvp(command[0], command)


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        _hold()
    else:
        _enter(sys.argv[2], sys.argv[3:])
