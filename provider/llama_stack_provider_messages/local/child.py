"""The program of the child process: runs llama.cpp's server until the parent ends.

It is started as a file, not as a module, and imports only the standard library and the engine, so that the platform
takes no memory in it. It reads one JSON line of options from stdin and writes one to stdout: ``{"address": ...}``.
Stdin stays open; its end means that the parent has ended.
"""

import ctypes
import json
import os
import select
import signal
import sys
import threading
from typing import Any

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Make the kernel kill this process when the parent thread ends; exit now if it has already ended.

    A thread that waits for the end of stdin is not enough, because loading a model holds the interpreter's lock.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([0], [], [], 0)[0]:
        os._exit(0)


def exit_at_end_of_stdin() -> None:
    """Wait for the end of the parent; exit without llama.cpp's destructor, which can hang."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def parameters(engine: Any, options: dict[str, Any]) -> Any:  # noqa: ANN401 - the engine has no types
    """Return the engine's parameters with the options set; option names may be dotted."""
    params = engine.CommonParams()
    for name, value in options.items():
        *path, last = name.split(".")
        target = params
        for part in path:
            target = getattr(target, part)
        setattr(target, last, value)
    return params


def main() -> None:
    """Serve until stdin ends or a signal arrives."""
    options = json.loads(sys.stdin.buffer.readline() or b"{}")
    die_with_parent()
    watcher = threading.Thread(target=exit_at_end_of_stdin, daemon=True)
    watcher.start()
    report = os.dup(1)
    os.dup2(2, 1)  # all output of the engine is log
    import xllamacpp

    try:
        server = xllamacpp.Server(parameters(xllamacpp, options))
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)
    os.write(report, json.dumps({"address": server.listening_address}).encode() + b"\n")
    os.close(report)
    watcher.join()


if __name__ == "__main__":
    main()
