"""Runs ``messages serve``, ``messages run`` or ``scripts/serve`` as a user does."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psutil

MESSAGES = str(Path(sys.executable).with_name("messages"))
READY = "Ctrl-C stops it"
"""How the last line of the banner begins."""
START_SECONDS = 300
STOP_SECONDS = 60


class ServeProcess:
    """A command in a process group of its own.

    Args:
        command: The command line.
        folder: Its home and working directory, and the place of the platform's databases.
        env: Additional environment variables.
        mark: It is ready when a line begins with this.

    Attributes:
        lines: What it has printed so far, both streams together.
    """

    def __init__(self, command: Sequence[str], folder: Path, mark: str = READY, **env: str) -> None:
        self.lines: list[str] = []
        self._mark = mark
        self._ready = threading.Event()
        self.process = subprocess.Popen(
            list(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**os.environ, "SQLITE_STORE_DIR": str(folder), "HOME": str(folder), **env},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.append(line)
            if line.startswith(self._mark):
                self._ready.set()
        self._ready.set()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_until_ready(self) -> None:
        """Wait until it is ready; fail with its output if it ended."""
        assert self._ready.wait(START_SECONDS), self.output
        assert any(line.startswith(self._mark) for line in self.lines), self.output

    def end(self) -> int:
        """Wait until it ends by itself; return its exit code."""
        code = self.process.wait(START_SECONDS)
        self._reader.join(STOP_SECONDS)
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it if it is running; return its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)
        if self.process.stdout:
            self.process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def kill(self) -> None:
        """Kill the command alone, and wait until the processes that it had started have ended by themselves."""
        others = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        deadline = time.monotonic() + STOP_SECONDS
        while not all(_has_ended(process) for process in others):
            assert time.monotonic() < deadline, others
            time.sleep(0.1)
        self.end()

    def group_is_gone(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False


def _has_ended(process: psutil.Process) -> bool:
    """Return whether a process has ended, even if nobody has asked for its exit code."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
